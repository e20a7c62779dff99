package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// versions are those of HTTP that a side may speak.
var versions = []fleet.HTTP{fleet.HTTP1, fleet.HTTP2}

// translate runs a test for every pair of versions, with a client and a world whose endpoint is h.
func translate(t *testing.T, h http.HandlerFunc, test func(t *testing.T, w *world, c *http.Client, asks, answers fleet.HTTP)) {
	t.Helper()
	for _, asks := range versions {
		for _, answers := range versions {
			t.Run(fmt.Sprintf("%s to %s", asks, answers), func(t *testing.T) {
				w := newWorld(t, Options{HalfCloseTimeout: 20 * time.Millisecond}, handleBoth(t, h))
				w.speak(answers)
				test(t, w, w.client(asks), asks, answers)
				w.wantConserved()
			})
		}
	}
}

// handleBoth starts an endpoint on net/http that speaks both versions.
func handleBoth(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// speak has the endpoints spoken to in a version.
func (w *world) speak(version fleet.HTTP) {
	v := w.view()
	v.Services = w.p.State().View().Services
	for i := range v.Services {
		for j := range v.Services[i].Pools {
			v.Services[i].Pools[j].Policy.HTTP = version
		}
	}
	w.apply(v)
}

// client is one on net/http.
func (w *world) client(version fleet.HTTP) *http.Client {
	t := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	t.Protocols.SetHTTP1(version == fleet.HTTP1)
	t.Protocols.SetUnencryptedHTTP2(version == fleet.HTTP2)
	w.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// A message is what one side says to the other.
type message struct {
	size     int
	seed     uint64
	sized    bool // its length is announced
	trailers map[string]string
}

func drawMessage(t *rapid.T, name string) message {
	m := message{
		size:  rapid.SampledFrom([]int{0, 0, 1, 100, 4095, 16384, 16385, 65535, 65536, 300_000}).Draw(t, name+" size"),
		seed:  rapid.Uint64().Draw(t, name+" seed"),
		sized: rapid.Bool().Draw(t, name+" sized"),
	}
	if !m.sized {
		m.trailers = map[string]string{}
		for range rapid.IntRange(0, 3).Draw(t, name+" trailers") {
			m.trailers["X-T"+strconv.Itoa(rapid.IntRange(0, 9).Draw(t, "name"))] = rapid.StringMatching(`[!-~]([ -~]{0,20}[!-~])?`).Draw(t, "value")
		}
	}
	return m
}

// body returns the body, a piece at a time where it is not sized.
func (m *message) body() io.Reader {
	b := make([]byte, m.size)
	random := rand.New(rand.NewPCG(m.seed, 1))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	if m.sized {
		return bytes.NewReader(b)
	}
	return &pieces{b: b, random: random}
}

func (m *message) sum() string {
	h := sha256.New()
	_, _ = io.Copy(h, m.body())
	return hex.EncodeToString(h.Sum(nil))
}

// pieces is a body whose length nobody knows.
type pieces struct {
	b      []byte
	random *rand.Rand
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(to, p.b[:1+p.random.IntN(len(p.b))])
	p.b = p.b[n:]
	return n, nil
}

// hear reads a body and returns its hash.
func hear(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), err
}

// Bodies and trailers arrive as they were sent, whichever versions the two sides speak.
func TestTranslationsKeepBodies(t *testing.T) {
	type request struct {
		sum      string
		major    int
		trailers http.Header
		length   int64
	}
	answers, requests := make(chan message, 1), make(chan request, 1)
	endpoint := func(rw http.ResponseWriter, r *http.Request) {
		back := <-answers
		sum, _ := hear(r.Body)
		requests <- request{sum, r.ProtoMajor, r.Trailer, r.ContentLength}
		if back.sized {
			rw.Header().Set("Content-Length", strconv.Itoa(back.size))
		}
		rw.WriteHeader(http.StatusAccepted)
		if !back.sized {
			_ = http.NewResponseController(rw).Flush()
		}
		_, _ = io.Copy(rw, back.body())
		for name, value := range back.trailers {
			rw.Header().Set(http.TrailerPrefix+name, value)
		}
	}
	translate(t, endpoint, func(t *testing.T, w *world, c *http.Client, _, version fleet.HTTP) {
		t.Helper()
		rapid.Check(t, func(t *rapid.T) {
			there := drawMessage(t, "request")
			back := drawMessage(t, "answer")
			answers <- back
			var body io.Reader
			if there.size > 0 || !there.sized {
				body = there.body()
			}
			r, err := http.NewRequest(http.MethodPost, "http://"+w.addr+"/x", body)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = "app"
			if !there.sized {
				r.ContentLength = -1
				r.Trailer = http.Header{}
				for name := range there.trailers {
					r.Trailer[name] = nil
				}
				r.Body = &last{r.Body, func() {
					for name, value := range there.trailers {
						r.Trailer.Set(name, value)
					}
				}}
			}
			a, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			sum, err := hear(a.Body)
			_ = a.Body.Close()
			if err != nil || sum != back.sum() || a.StatusCode != http.StatusAccepted {
				t.Fatalf("got %s, %v and %q, want 202 and the body that was sent", a.Status, err, sum)
			}
			if back.sized && a.ContentLength != int64(back.size) {
				t.Fatalf("got a length of %d, want %d", a.ContentLength, back.size)
			}
			wantTrailers(t, "answer", a.Trailer, back.trailers)
			heard := <-requests
			if heard.sum != there.sum() || heard.major != 1+int(version) {
				t.Fatalf("the endpoint heard %q over HTTP/%d, want the body that was sent over %s", heard.sum, heard.major, version)
			}
			if there.sized && heard.length != int64(there.size) {
				t.Fatalf("the endpoint heard a length of %d, want %d", heard.length, there.size)
			}
			wantTrailers(t, "request", heard.trailers, there.trailers)
		})
	})
}

func wantTrailers(t *rapid.T, what string, got http.Header, want map[string]string) {
	for name, value := range want {
		if got.Get(name) != value {
			t.Fatalf("%s: got the trailers %v, want %v", what, got, want)
		}
	}
}

// last calls end when its body has ended.
type last struct {
	io.ReadCloser
	end func()
}

func (l *last) Read(b []byte) (int, error) {
	n, err := l.ReadCloser.Read(b)
	if err == io.EOF {
		l.end()
	}
	return n, err
}

// What is nobody's body has none in the other version either.
func TestTranslationsOfNothing(t *testing.T) {
	translate(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			rw.Header().Set("Content-Length", "7")
		}
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		rw.WriteHeader(status)
	}, func(t *testing.T, w *world, c *http.Client, _, _ fleet.HTTP) {
		t.Helper()
		for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS"} {
			for _, status := range []int{200, 204, 304, 404} {
				r, _ := http.NewRequest(method, fmt.Sprintf("http://%s/?status=%d", w.addr, status), nil)
				a, err := c.Do(r)
				if err != nil {
					t.Fatalf("%s, %d: %v", method, status, err)
				}
				b, err := io.ReadAll(a.Body)
				if a.StatusCode != status || len(b) > 0 || err != nil {
					t.Errorf("%s: got %d, %q and %v, want %d", method, a.StatusCode, b, err, status)
				}
			}
		}
		r, _ := http.NewRequest("HEAD", fmt.Sprintf("http://%s/length?status=200", w.addr), nil)
		a, err := c.Do(r)
		if err != nil || a.ContentLength != 7 {
			t.Errorf("HEAD: got %+v and %v, want a length of 7", a, err)
		}
	})
}

// A client that waits for 100 Continue gets it, and interim answers pass.
func TestTranslationsOfInterimAnswers(t *testing.T) {
	translate(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", "</style.css>")
		rw.WriteHeader(http.StatusEarlyHints)
		b, _ := io.ReadAll(r.Body) // which says 100 Continue
		_, _ = rw.Write(b)
	}, func(t *testing.T, w *world, c *http.Client, _, _ fleet.HTTP) {
		t.Helper()
		r, _ := http.NewRequest("POST", "http://"+w.addr+"/", bytes.NewReader([]byte("patience")))
		r.Header.Set("Expect", "100-continue")
		var seen []int
		r = r.WithContext(watchInterim(r.Context(), &seen))
		a, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(a.Body)
		if string(b) != "patience" {
			t.Errorf("got %q, want what was sent", b)
		}
		if len(seen) == 0 || seen[0] != http.StatusEarlyHints {
			t.Errorf("got the interim answers %v, want 103 first", seen)
		}
	})
}

// watchInterim notes the status of interim answers.
func watchInterim(ctx context.Context, seen *[]int) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			*seen = append(*seen, code)
			return nil
		},
	})
}
