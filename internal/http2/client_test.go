package http2

import (
	"errors"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	frame "golang.org/x/net/http2"
)

// An end is a client with the wire that stands for its endpoint.
type end struct {
	*wire
	client *Client
	stats  *Stats
	ran    chan error
}

func toEndpoint(t *testing.T, o Options, story func(*end)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := pipe(t)
		e := &end{wire: newWire(t, theirs), stats: new(Stats), ran: make(chan error, 1)}
		o.Stats = e.stats
		e.client = NewClient(ours, &o)
		go func() { e.ran <- e.client.Run() }()
		preface := make([]byte, len(Preface))
		if _, err := io.ReadFull(theirs, preface); err != nil || string(preface) != Preface {
			t.Fatalf("heard %q, %v", preface, err)
		}
		go e.listen()
		e.want("SETTINGS", "WINDOW_UPDATE 0 983041")
		story(e)
		theirs.Close()
		e.client.Close()
		<-e.ran
	})
}

func (e *end) greet(settings ...frame.Setting) *end {
	_ = e.framer.WriteSettings(settings...)
	_ = e.framer.WriteSettingsAck()
	e.want("SETTINGS ack")
	return e
}

func getHead(method string) *Head {
	return &Head{Method: []byte(method), Scheme: []byte("http"), Authority: []byte("a"), Path: []byte("/"), Fields: fieldsOf("User-Agent", "t")}
}

// ask opens a stream whose request has no body, and gives up if it cannot.
func (e *end) ask(method string) *Stream {
	e.t.Helper()
	s, err := e.client.Open(getHead(method), true)
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

func TestClientAsksAndReads(t *testing.T) {
	toEndpoint(t, Options{}, func(e *end) {
		e.greet()
		s, err := e.client.Open(getHead("POST"), false)
		if err != nil {
			t.Fatal(err)
		}
		e.want()
		_, _ = s.WriteBody([]byte("question"), false)
		_ = s.WriteTrailers(fieldsOf("Sum", "1"))
		e.want("HEADERS 1 :method=POST :scheme=http :authority=a :path=/ user-agent=t", `DATA 1 "question"`, "HEADERS 1 end sum=1")
		e.headers(1, false, ":status=103", "link=1")
		e.headers(1, false, ":status=200", "content-length=6")
		_ = e.framer.WriteData(1, false, []byte("answer"))
		e.headers(1, true, "grpc-status=0")
		e.take()
		first, _ := s.ReadHead()
		final, err := s.ReadHead()
		if first.Status != 103 || final.Status != 200 || !final.Sized || final.ContentLength != 6 || err != nil {
			t.Errorf("got %v, %v, %v", first, final, err)
		}
		body, err := io.ReadAll(readerOf(s))
		if string(body) != "answer" || err != nil || len(s.Trailers()) != 1 || string(s.Trailers()[0].Name) != "grpc-status" {
			t.Errorf("got %q, %v, %q", body, err, s.Trailers())
		}
		s.Close()
		e.want()
	})
}

func TestAnswersThatBreakARule(t *testing.T) {
	cases := map[string]func(*end){
		"no status":         func(e *end) { e.headers(1, true, "x=1") },
		"two statuses":      func(e *end) { e.headers(1, true, ":status=200", ":status=200") },
		"status 101":        func(e *end) { e.headers(1, false, ":status=101") },
		"status 20":         func(e *end) { e.headers(1, true, ":status=20") },
		"status 2x0":        func(e *end) { e.headers(1, true, ":status=2x0") },
		"path":              func(e *end) { e.headers(1, true, ":status=200", ":path=/") },
		"interim that ends": func(e *end) { e.headers(1, true, ":status=103") },
		"connection":        func(e *end) { e.headers(1, true, ":status=200", "connection=close") },
		"te":                func(e *end) { e.headers(1, true, ":status=200", "te=trailers") },
		"DATA first":        func(e *end) { _ = e.framer.WriteData(1, true, []byte("x")) },
		"too short":         func(e *end) { e.headers(1, true, ":status=200", "content-length=1") },
		"capitals":          func(e *end) { e.headers(1, true, ":status=200", "X=1") },
	}
	for name, say := range cases {
		t.Run(name, func(t *testing.T) {
			toEndpoint(t, Options{}, func(e *end) {
				s := e.greet().ask("GET")
				e.take()
				say(e)
				if _, err := s.ReadHead(); !errors.As(err, new(*StreamError)) {
					t.Errorf("got %v, want a failure", err)
				}
				if heard := e.take(); len(heard) != 1 || !strings.HasPrefix(heard[0], "RST_STREAM 1 PROTOCOL_ERROR") {
					t.Errorf("heard %q, want a reset", heard)
				}
			})
		})
	}
}

func TestAnswersWithoutBody(t *testing.T) {
	toEndpoint(t, Options{}, func(e *end) {
		e.greet()
		head, notModified := e.ask("HEAD"), e.ask("GET")
		e.headers(1, true, ":status=200", "content-length=10")
		e.headers(3, true, ":status=304", "content-length=10")
		for _, s := range []*Stream{head, notModified} {
			h, err := s.ReadHead()
			if err != nil || h.ContentLength != 10 {
				t.Errorf("got %v, %v", h, err)
			}
			if _, err := s.ReadBody(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("got %v, want the end", err)
			}
		}
		e.take()
	})
}

func TestLimit(t *testing.T) {
	var changes atomic.Int32
	toEndpoint(t, Options{Changed: func() { changes.Add(1) }}, func(e *end) {
		wantLimit(e, 100, true) // before SETTINGS
		e.greet(frame.Setting{ID: frame.SettingMaxConcurrentStreams, Val: 2})
		a := e.ask("GET")
		e.ask("GET")
		wantLimit(e, 2, true)
		if _, err := e.client.Open(getHead("GET"), true); !errors.Is(err, ErrNoRoom) {
			t.Errorf("got %v, want ErrNoRoom", err)
		}
		changes.Store(0)
		e.headers(1, true, ":status=200")
		e.take()
		if _, err := a.ReadHead(); err != nil || changes.Load() != 0 {
			t.Errorf("got %v, %d changes; want none: the limit is what it was", err, changes.Load())
		}
		e.ask("GET").Close()
		e.want("HEADERS 5 end :method=GET :scheme=http :authority=a :path=/ user-agent=t", "RST_STREAM 5 CANCEL")
		e.ask("GET")
		_ = e.framer.WriteGoAway(7, NoError, nil)
		e.take()
		if wantLimit(e, 2, false); changes.Load() != 1 {
			t.Errorf("got %d changes, want 1: the peer leaves", changes.Load())
		}
	})
	toEndpoint(t, Options{}, func(e *end) {
		e.greet()
		wantLimit(e, math.MaxInt32, true) // it has said that it has none
	})
}

func wantLimit(e *end, streams int, ok bool) {
	e.t.Helper()
	if n, takes := e.client.Limit(); n != streams || takes != ok {
		e.t.Errorf("got a limit of %d, %v; want %d, %v", n, takes, streams, ok)
	}
}

func TestCheck(t *testing.T) {
	var changes atomic.Int32
	toEndpoint(t, Options{Changed: func() { changes.Add(1) }}, func(e *end) {
		e.greet()
		changes.Store(0)
		e.client.Check(time.Second)
		e.client.Check(time.Second)
		wantLimit(e, 0, true)
		if _, err := e.client.Open(getHead("GET"), true); !errors.Is(err, ErrNoRoom) || changes.Load() != 1 {
			t.Errorf("got %v, %d changes; want ErrNoRoom, 1", err, changes.Load())
		}
		e.want("PING ack=false")
		time.Sleep(999 * time.Millisecond)
		_ = e.framer.WritePing(true, [8]byte{})
		e.want()
		if wantLimit(e, math.MaxInt32, true); changes.Load() != 2 {
			t.Errorf("got %d changes, want 2", changes.Load())
		}
		e.ask("GET").Close()
		e.take()
		time.Sleep(time.Hour)
		wantLimit(e, math.MaxInt32, true)
		e.client.Check(time.Second)
		time.Sleep(time.Second)
		e.want("PING ack=false", `GOAWAY 0 PROTOCOL_ERROR`, "closed")
		if wantLimit(e, 0, false); e.stats.TimedOut.Load() != 1 {
			t.Error("not counted as timed out")
		}
	})
}

// What the endpoint cannot have looked at may be sent elsewhere; what it may have looked at may not.
func TestUnprocessed(t *testing.T) {
	unprocessed := func(s *Stream) bool {
		_, err := s.ReadHead()
		var f *StreamError
		return errors.As(err, &f) && f.Unprocessed
	}
	toEndpoint(t, Options{}, func(e *end) {
		e.greet()
		first, second, third := e.ask("GET"), e.ask("POST"), e.ask("POST")
		_ = e.framer.WriteRSTStream(1, RefusedStream)
		_ = e.framer.WriteGoAway(3, NoError, nil)
		e.take()
		if !unprocessed(first) || !unprocessed(third) {
			t.Error("refused and beyond GOAWAY, yet processed")
		}
		if _, err := e.client.Open(getHead("GET"), true); !errors.Is(err, ErrLeaving) {
			t.Errorf("got %v, want ErrLeaving", err)
		}
		e.headers(3, true, ":status=200")
		e.want("closed") // nothing is left to do
		if h, err := second.ReadHead(); err != nil || h.Status != 200 {
			t.Errorf("got %v, %v, want the answer", h, err)
		}
		if err := <-e.ran; err != nil {
			t.Errorf("got %v, want an end in order", err)
		}
		e.ran <- nil
	})
	toEndpoint(t, Options{}, func(e *end) {
		s := e.greet().ask("GET")
		_ = e.framer.WriteRSTStream(1, InternalError)
		e.take()
		if unprocessed(s) {
			t.Error("an internal error may come after work")
		}
	})
	toEndpoint(t, Options{}, func(e *end) {
		e.greet()
		sent := e.ask("GET")
		e.take()
		waiting, _ := e.client.Open(getHead("POST"), false) // its head has not left
		e.nc.Close()
		synctest.Wait()
		if unprocessed(sent) || !unprocessed(waiting) {
			t.Errorf("got %v, %v; want only what was never written unprocessed", sent.Err(), waiting.Err())
		}
	})
}

func TestEarlyAnswer(t *testing.T) {
	toEndpoint(t, Options{}, func(e *end) {
		e.greet()
		s, _ := e.client.Open(getHead("POST"), false)
		_, _ = s.WriteBody([]byte("x"), false)
		s.Flush()
		e.headers(1, false, ":status=413")
		_ = e.framer.WriteData(1, true, []byte("no"))
		_ = e.framer.WriteRSTStream(1, NoError)
		e.take()
		if _, err := s.WriteBody([]byte("y"), true); !errors.As(err, new(*StreamError)) {
			t.Errorf("got %v, want a failure", err)
		}
		h, err := s.ReadHead()
		body, _ := io.ReadAll(readerOf(s))
		if err != nil || h.Status != 413 || string(body) != "no" {
			t.Errorf("got %v, %v, %q; want the whole answer", h, err, body)
		}
	})
}

func TestClientLeaves(t *testing.T) {
	toEndpoint(t, Options{}, func(e *end) {
		s := e.greet().ask("GET")
		e.take()
		e.client.Leave()
		e.want("GOAWAY 0 NO_ERROR")
		if _, err := e.client.Open(getHead("GET"), true); !errors.Is(err, ErrLeaving) {
			t.Errorf("got %v, want ErrLeaving", err)
		}
		e.headers(1, true, ":status=200")
		e.want("closed")
		if h, err := s.ReadHead(); err != nil || h.Status != 200 {
			t.Errorf("got %v, %v", h, err)
		}
	})
}

func TestDeadEndpoint(t *testing.T) {
	toEndpoint(t, Options{PingAfter: 10 * time.Second, PingTimeout: time.Second}, func(e *end) {
		s := e.greet().ask("GET")
		e.take()
		time.Sleep(12 * time.Second)
		e.want("PING ack=false", "GOAWAY 0 PROTOCOL_ERROR", "closed")
		var broken *ConnError
		if _, err := s.ReadHead(); !errors.As(err, &broken) || e.stats.TimedOut.Load() != 1 {
			t.Errorf("got %v, %d timeouts", err, e.stats.TimedOut.Load())
		}
	})
}

func TestEndpointThatPushes(t *testing.T) {
	toEndpoint(t, Options{}, func(e *end) {
		e.greet().ask("GET")
		e.take()
		_ = e.framer.WritePushPromise(frame.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: e.encode(getFields...), EndHeaders: true})
		e.want("GOAWAY 0 PROTOCOL_ERROR", "closed")
	})
}

func TestInterimFlood(t *testing.T) {
	toEndpoint(t, Options{}, func(e *end) {
		e.greet().ask("GET")
		e.take()
		for range maxInterim + 1 {
			e.headers(1, false, ":status=103")
		}
		e.want("GOAWAY 0 ENHANCE_YOUR_CALM", "closed")
	})
}

func TestAnswerWithALargeHead(t *testing.T) {
	toEndpoint(t, Options{MaxHead: 8 << 10}, func(e *end) {
		s := e.greet().ask("GET")
		e.take()
		e.headers(1, true, ":status=200", "a="+strings.Repeat("a", 7000), "b="+strings.Repeat("b", 7000))
		e.want("RST_STREAM 1 ENHANCE_YOUR_CALM")
		if _, err := s.ReadHead(); !errors.As(err, new(*StreamError)) {
			t.Errorf("got %v, want a failure", err)
		}
	})
}

func TestOpenRefusesWhatWouldSplit(t *testing.T) {
	toEndpoint(t, Options{}, func(e *end) {
		e.greet()
		for name, spoil := range map[string]func(*Head){
			"method":    func(h *Head) { h.Method = []byte("GET /") },
			"no method": func(h *Head) { h.Method = nil },
			"path":      func(h *Head) { h.Path = []byte("/ HTTP/1.1") },
			"authority": func(h *Head) { h.Authority = []byte("a\r\nb: c") },
			"scheme":    func(h *Head) { h.Scheme = []byte("ht tp") },
			"protocol":  func(h *Head) { h.Protocol = []byte("web socket") },
			"field":     func(h *Head) { h.Fields = fieldsOf("a", "\x00") },
		} {
			h := getHead("GET")
			spoil(h)
			if _, err := e.client.Open(h, true); !errors.Is(err, ErrField) {
				t.Errorf("%s: got %v, want ErrField", name, err)
			}
		}
		e.want()
	})
}

// RFC 8441: a stream that is a tunnel.
func TestExtendedConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := pipe(t)
		server, client := NewServer(ours, nil, &Options{ExtendedConnect: true}), NewClient(theirs, &Options{})
		ended := make(chan error, 2)
		go func() {
			ended <- server.Serve(func(s *Stream) {
				if string(s.Request().Protocol) != "websocket" {
					return
				}
				_ = s.WriteHead(&Head{Status: 200}, false)
				buf := make([]byte, 10)
				for {
					n, err := s.ReadBody(buf) // what was written leaves when this waits
					if _, wrong := s.WriteBody(buf[:n], err != nil); err != nil || wrong != nil {
						return
					}
				}
			})
		}()
		go func() { ended <- client.Run() }()
		synctest.Wait()
		if !client.Extended() {
			t.Fatal("the client has not heard that extended CONNECT is served")
		}
		h := getHead("CONNECT")
		h.Protocol = []byte("websocket")
		s, err := client.Open(h, false)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := s.ReadHead(); err != nil || answer.Status != 200 || answer.End {
			t.Fatalf("got %v, %v", answer, err)
		}
		buf := make([]byte, 10)
		for range 3 {
			_, _ = s.WriteBody([]byte("ping"), false)
			if n, err := s.ReadBody(buf); string(buf[:n]) != "ping" || err != nil {
				t.Fatalf("got %q, %v", buf[:n], err)
			}
		}
		_, _ = s.WriteBody(nil, true)
		if _, err := s.ReadBody(buf); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end", err)
		}
		s.Close()
		client.Leave()
		if a, b := <-ended, <-ended; a != nil || b != nil {
			t.Errorf("ended with %v and %v, want order", a, b)
		}
	})
}

// What a stream said that ends as one that was never sent is not sent after all when its connection ends.
func TestUnprocessedIsNotWritten(t *testing.T) {
	toEndpoint(t, Options{}, func(e *end) {
		e.greet()
		s, err := e.client.Open(getHead("POST"), false) // waits for its body
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.WriteBody([]byte("once"), false)
		_ = e.framer.WriteRawFrame(frame.FramePing, 0, 1, make([]byte, 8)) // PING on a stream: the connection is over
		e.want("GOAWAY 0 PROTOCOL_ERROR", "closed")
		if s.failure == nil || !s.failure.Unprocessed {
			t.Errorf("got %v, want a stream that was not processed", s.failure)
		}
		s.Close()
	})
}
