package http2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/http1"
)

// An exchanged is what went over the wire one way.
type exchanged struct {
	body     []byte
	pieces   []int // how it is cut
	trailers map[string]string
	sized    bool
}

func drawMessage(t *rapid.T, label string) (m exchanged) {
	size := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 300_000), rapid.Just(1<<20)).Draw(t, label+" size")
	m.body = make([]byte, size)
	seed := rapid.Byte().Draw(t, label+" seed")
	for i := range m.body {
		m.body[i] = seed + byte(i*7>>3)
	}
	for left := size; left > 0; {
		n := min(left, rapid.OneOf(rapid.IntRange(1, 64), rapid.IntRange(1, 100_000)).Draw(t, label+" piece"))
		if len(m.pieces) > 20 {
			n = left
		}
		m.pieces = append(m.pieces, n)
		left -= n
	}
	m.sized = rapid.Bool().Draw(t, label+" sized")
	m.trailers = map[string]string{}
	for i := range rapid.IntRange(0, 3).Draw(t, label+" trailers") {
		m.trailers[fmt.Sprintf("t-%d", i)] = rapid.StringMatching(`[a-z0-9]{0,30}`).Draw(t, label+" trailer")
	}
	return m
}

func (m *exchanged) fields() (fields []http1.Field) {
	for _, name := range slices.Sorted(maps.Keys(m.trailers)) {
		fields = append(fields, fieldsOf(name, m.trailers[name])...)
	}
	return fields
}

// sum is what two sides compare: the body's hash, and the trailers.
func sum(body []byte, trailers map[string]string) string {
	h := sha256.Sum256(body)
	return fmt.Sprintf("%d %x %v", len(body), h[:8], trailers) // a map is shown in order
}

func (m *exchanged) sum() string { return sum(m.body, m.trailers) }

// write sends m on s; the head has gone.
func (m *exchanged) write(s *Stream) error {
	b := m.body
	for i, n := range m.pieces {
		if _, err := s.WriteBody(b[:n], i == len(m.pieces)-1 && len(m.trailers) == 0); err != nil {
			return err
		}
		b = b[n:]
	}
	switch {
	case len(m.trailers) > 0:
		return s.WriteTrailers(m.fields())
	case len(m.pieces) == 0:
		_, err := s.WriteBody(nil, true)
		return err
	}
	return nil
}

func read(s *Stream) (string, error) {
	body, err := io.ReadAll(readerOf(s))
	trailers := map[string]string{}
	for _, f := range s.Trailers() {
		trailers[string(f.Name)] = string(f.Value)
	}
	return sum(body, trailers), err
}

func readStd(r io.Reader, trailer *http.Header) string {
	body, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	trailers := map[string]string{}
	for k, v := range *trailer {
		trailers[strings.ToLower(k)] = strings.Join(v, ",")
	}
	return sum(body, trailers)
}

// pieceReader gives a body piece by piece.
type pieceReader struct {
	m    *exchanged
	b    []byte
	i    int
	done func()
}

func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		if r.i == len(r.m.pieces) {
			r.done()
			return 0, io.EOF
		}
		from := 0
		for _, n := range r.m.pieces[:r.i] {
			from += n
		}
		r.b = r.m.body[from : from+r.m.pieces[r.i]]
		r.i++
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

// Whatever a client of another make sends arrives at our server as it was, and back.
func TestServerAgainstTransport(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("tls=", secure), func(t *testing.T) {
			var mu sync.Mutex
			answers := map[string]*exchanged{}
			l := listen(t, secure)
			go acceptAll(l, &Options{StreamWindow: 70_000}, func(s *Stream) {
				mu.Lock()
				m := answers[string(s.Request().Path)]
				mu.Unlock()
				heard, err := read(s)
				if err != nil {
					heard = err.Error()
				}
				h := &Head{Status: 200, Fields: fieldsOf("Heard", heard), Sized: m.sized, ContentLength: int64(len(m.body))}
				_ = s.WriteHead(h, false)
				_ = m.write(s)
			})
			transport := &http.Transport{
				Protocols:       new(http.Protocols),
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			}
			transport.Protocols.SetUnencryptedHTTP2(true)
			transport.Protocols.SetHTTP2(true)
			t.Cleanup(transport.CloseIdleConnections)
			n := 0
			rapid.Check(t, func(t *rapid.T) {
				ask, answer := drawMessage(t, "request"), drawMessage(t, "answer")
				n++
				path := fmt.Sprint("/", n)
				mu.Lock()
				answers[path] = &answer
				mu.Unlock()
				trailer := http.Header{}
				for k := range ask.trailers {
					trailer[http.CanonicalHeaderKey(k)] = nil
				}
				body := &pieceReader{m: &ask, done: func() {
					for k, v := range ask.trailers {
						trailer.Set(k, v)
					}
				}}
				scheme := "http"
				if secure {
					scheme = "https"
				}
				req, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, scheme+"://"+l.Addr().String()+path, body)
				req.Trailer = trailer
				if ask.sized {
					req.ContentLength = int64(len(ask.body))
				}
				if len(ask.body) == 0 && len(ask.trailers) == 0 {
					req.Body = http.NoBody
				}
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if got := resp.Header.Get("Heard"); got != ask.sum() && len(ask.body) > 0 {
					t.Fatalf("the server heard %q, want %q", got, ask.sum())
				}
				if got := readStd(resp.Body, &resp.Trailer); got != answer.sum() {
					t.Fatalf("the client heard %q, want %q", got, answer.sum())
				}
			})
		})
	}
}

// Likewise for our client, at servers of another make.
func TestClientAgainstServers(t *testing.T) {
	var mu sync.Mutex
	answers := map[string]*exchanged{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		m := answers[r.URL.Path]
		mu.Unlock()
		w.Header().Set("Heard", readStd(r.Body, &r.Trailer))
		if m.sized {
			w.Header().Set("Content-Length", strconv.Itoa(len(m.body)))
		}
		for k := range m.trailers {
			w.Header().Add("Trailer", k)
		}
		b := m.body
		for i, n := range m.pieces {
			_, _ = w.Write(b[:n])
			if b = b[n:]; i%2 == 0 {
				w.(http.Flusher).Flush()
			}
		}
		for k, v := range m.trailers {
			w.Header().Set(k, v)
		}
	})
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("tls=", secure), func(t *testing.T) {
			server := httptest.NewUnstartedServer(handler)
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			server.Config.Protocols.SetHTTP2(true)
			server.EnableHTTP2 = true
			if secure {
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			client := dial(t, server.Listener, &Options{StreamWindow: 70_000}, secure)
			n := 0
			rapid.Check(t, func(t *rapid.T) {
				ask, answer := drawMessage(t, "request"), drawMessage(t, "answer")
				n++
				path := fmt.Sprint("/", n)
				mu.Lock()
				answers[path] = &answer
				mu.Unlock()
				h := &Head{Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte("a"), Path: []byte(path), Sized: ask.sized, ContentLength: int64(len(ask.body))}
				for k := range ask.trailers {
					h.Fields = append(h.Fields, fieldsOf("Trailer", k)...)
				}
				s, err := client.Open(h, false)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if err := ask.write(s); err != nil {
					t.Fatal(err)
				}
				got, err := s.ReadHead()
				if err != nil {
					t.Fatal(err)
				}
				if heard, _ := http1.Lookup(got.Fields, "heard"); string(heard) != ask.sum() {
					t.Fatalf("the server heard %q, want %q", heard, ask.sum())
				}
				if heard, err := read(s); err != nil || heard != answer.sum() {
					t.Fatalf("the client heard %q, %v, want %q", heard, err, answer.sum())
				}
			})
		})
	}
}

func dial(t testing.TB, l net.Listener, o *Options, secure bool) *Client {
	t.Helper()
	var d interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = new(net.Dialer)
	if secure {
		d = &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	}
	nc, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(nc, o)
	ended := make(chan error, 1)
	go func() { ended <- c.Run() }()
	t.Cleanup(func() { c.Close(); <-ended })
	return c
}

// Many streams at a time, each with a body both ways larger than every window: nothing waits for ever.
func TestManyAtATime(t *testing.T) {
	l := listen(t, false)
	go acceptAll(l, &Options{StreamWindow: 10_000, ConnWindow: firstWindow}, func(s *Stream) {
		_ = s.WriteHead(&Head{Status: 200}, false)
		buf := make([]byte, 5000)
		for {
			n, err := s.ReadBody(buf)
			if _, err := s.WriteBody(buf[:n], false); err != nil {
				return
			}
			if err != nil {
				break
			}
			if !s.Ready() {
				s.Flush()
			}
		}
		_, _ = s.WriteBody(nil, true)
	})
	client := dial(t, l, &Options{StreamWindow: 10_000, ConnWindow: firstWindow}, false)
	body := bytes.Repeat([]byte("0123456789"), 30_000)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			s, err := client.Open(getHead("POST"), false)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			go func() { _, _ = s.WriteBody(body, true) }()
			if got, err := io.ReadAll(readerOf(s)); err != nil || !bytes.Equal(got, body) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
}
