package http2

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	frame "golang.org/x/net/http2"
)

func TestLeaveInTwoSteps(t *testing.T) {
	var hold chan struct{}
	inBubble(t, Options{}, func(s *Stream) {
		if s.ID() == 3 {
			<-hold
		}
		_ = s.WriteHead(&Head{Status: 200}, true)
	}, func(s *site) {
		hold = make(chan struct{})
		s.greet().get(1)
		s.get(3)
		s.want("HEADERS 1" + ok200)
		s.server.Leave()
		s.server.Leave()
		s.want("GOAWAY 2147483647 NO_ERROR")
		s.get(5) // sent before the client heard it
		s.want("HEADERS 5" + ok200)
		s.server.LeaveNow()
		s.want("GOAWAY 5 NO_ERROR")
		s.get(7)
		s.want("RST_STREAM 7 REFUSED_STREAM")
		s.post(9)
		_ = s.framer.WriteData(9, true, []byte("x"))
		s.want("RST_STREAM 9 REFUSED_STREAM")
		close(hold)
		s.want("HEADERS 3"+ok200, "closed")
		if err := <-s.ended; err != nil {
			t.Errorf("got %v, want an end in order", err)
		}
		s.ended <- nil
		if got := s.stats.Refused.Load(); got != 2 {
			t.Errorf("got %d refused, want 2", got)
		}
	})
}

// A stream whose head was half here is served: GOAWAY said so.
func TestLeaveInTheMiddleOfAHead(t *testing.T) {
	inBubble(t, Options{}, nil, func(s *site) {
		s.greet()
		block := s.encode(getFields...)
		_ = s.framer.WriteRawFrame(frame.FrameHeaders, frame.FlagHeadersEndStream, 1, block[:2])
		s.want()
		s.server.LeaveNow()
		s.want("GOAWAY 1 NO_ERROR")
		_ = s.framer.WriteContinuation(1, true, block[2:])
		s.want("HEADERS 1"+ok200, "closed")
	})
}

func TestLeaveAfter(t *testing.T) {
	inBubble(t, Options{LeaveAfter: 3 * time.Second}, nil, func(s *site) {
		s.greet()
		time.Sleep(time.Hour)
		s.server.Leave()
		s.want("GOAWAY 2147483647 NO_ERROR", "PING ack=false")
		_ = s.framer.WritePing(true, [8]byte{}) // an answer to something else
		time.Sleep(time.Second)
		s.get(1)
		s.want("HEADERS 1" + ok200)
		_ = s.framer.WritePing(true, [8]byte([]byte(leavePing)))
		time.Sleep(1999 * time.Millisecond)
		s.want()
		time.Sleep(2 * time.Millisecond)
		s.want("GOAWAY 1 NO_ERROR", "closed")
	})
}

// A peer that has only just come is told with its first stream, which is served; one that opens none, after a while.
func TestLeaveBeforeTheFirstStream(t *testing.T) {
	for name, leave := range map[string]func(*site){
		"before anything was said":   func(s *site) { s.server.Leave(); s.greet() },
		"after the SETTINGS":         func(s *site) { s.greet().server.Leave() },
		"a moment later, once again": func(s *site) { s.greet(); time.Sleep(firstStream / 2); s.server.Leave(); s.server.Leave() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{LeaveAfter: time.Second}, nil, func(s *site) {
				leave(s)
				s.want()
				time.Sleep(firstStream / 4)
				s.want()
				s.get(1)
				s.want("GOAWAY 2147483647 NO_ERROR", "PING ack=false", "HEADERS 1"+ok200)
				s.get(3)
				_ = s.framer.WritePing(true, [8]byte([]byte(leavePing)))
				s.want("HEADERS 3" + ok200)
				time.Sleep(time.Second + time.Millisecond)
				s.want("GOAWAY 3 NO_ERROR", "closed")
			})
			inBubble(t, Options{LeaveAfter: time.Second}, nil, func(s *site) {
				began := time.Now()
				leave(s)
				time.Sleep(time.Until(began.Add(firstStream - time.Millisecond)))
				s.want()
				time.Sleep(2 * time.Millisecond)
				s.want("GOAWAY 2147483647 NO_ERROR", "PING ack=false")
				s.get(1)
				s.want("HEADERS 1" + ok200)
			})
		})
	}
}

// A peer that is far away is waited for, one that gives no answer for a while.
func TestLeaveAfterARoundTrip(t *testing.T) {
	for _, after := range []time.Duration{4 * time.Second, time.Hour} {
		inBubble(t, Options{LeaveAfter: time.Second}, nil, func(s *site) {
			s.greet()
			time.Sleep(firstStream)
			s.server.Leave()
			s.want("GOAWAY 2147483647 NO_ERROR", "PING ack=false")
			time.Sleep(min(after, leaveBound) - time.Millisecond)
			s.get(1) // sent before it heard
			s.want("HEADERS 1" + ok200)
			time.Sleep(time.Millisecond)
			if after < leaveBound {
				_ = s.framer.WritePing(true, [8]byte([]byte(leavePing)))
			}
			time.Sleep(time.Millisecond)
			s.want("GOAWAY 1 NO_ERROR", "closed")
		})
	}
}

func TestTimeouts(t *testing.T) {
	preface := func(s *site) { _, _ = s.nc.Write([]byte(Preface)) }
	cases := []struct {
		name  string
		o     Options
		say   func(*site)
		after time.Duration
		want  []string
	}{
		{"no preface", Options{}, func(*site) {}, 10 * time.Second, []string{"GOAWAY 0 PROTOCOL_ERROR", "closed"}},
		{"half a preface", Options{}, func(s *site) { _, _ = s.nc.Write([]byte(Preface[:9])) }, 10 * time.Second, []string{"GOAWAY 0 PROTOCOL_ERROR", "closed"}},
		{"SETTINGS not acknowledged", Options{}, func(s *site) { preface(s); _ = s.framer.WriteSettings(); s.take() }, 10 * time.Second, []string{"GOAWAY 0 SETTINGS_TIMEOUT", "closed"}},
		{"half a frame", Options{}, func(s *site) { s.greet(); time.Sleep(time.Hour); _, _ = s.nc.Write([]byte{0, 0}) }, 10 * time.Second, []string{"GOAWAY 0 PROTOCOL_ERROR", "closed"}},
		{"a frame's header alone", Options{}, func(s *site) {
			s.greet()
			time.Sleep(time.Hour)
			_, _ = s.nc.Write([]byte{0, 0, 8, byte(frame.FramePing), 0, 0, 0, 0, 0})
		}, 10 * time.Second, []string{"GOAWAY 0 PROTOCOL_ERROR", "closed"}},
		{"half a block", Options{FrameTimeout: 5 * time.Second}, func(s *site) {
			s.greet()
			time.Sleep(time.Hour)
			_ = s.framer.WriteRawFrame(frame.FrameHeaders, 0, 1, []byte{0x82})
		}, 5 * time.Second, []string{"GOAWAY 1 PROTOCOL_ERROR", "closed"}},
		{"idle", Options{IdleTimeout: time.Minute}, func(s *site) { s.greet(); time.Sleep(30 * time.Second); s.get(1); s.take() }, time.Minute, []string{"GOAWAY 1 NO_ERROR", "closed"}},
		{"silent", Options{PingAfter: time.Minute, PingTimeout: 3 * time.Second}, func(s *site) {
			s.greet()
			time.Sleep(30 * time.Second)
			s.post(1)
			time.Sleep(59 * time.Second)
			s.want()
			time.Sleep(time.Second)
			s.want("PING ack=false")
		}, 3 * time.Second, []string{"GOAWAY 1 PROTOCOL_ERROR", "closed"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			handle := lie
			if c.o.IdleTimeout > 0 {
				handle = sink
			}
			inBubble(t, c.o, handle, func(s *site) {
				synctest.Wait()
				c.say(s)
				s.take()
				time.Sleep(c.after - 2*time.Millisecond)
				s.want()
				time.Sleep(4 * time.Millisecond)
				s.want(c.want...)
			})
		})
	}
}

func TestPeerThatAnswersPingsStays(t *testing.T) {
	inBubble(t, Options{PingAfter: time.Minute}, nil, func(s *site) {
		s.greet()
		for range 50 {
			time.Sleep(time.Minute)
			s.want("PING ack=false")
			_ = s.framer.WritePing(true, [8]byte{})
		}
	})
}

func TestTooManyAtATime(t *testing.T) {
	var hold chan struct{}
	inBubble(t, Options{MaxStreams: 2}, func(s *Stream) { <-hold; sink(s) }, func(s *site) {
		hold = make(chan struct{})
		s.greet()
		s.post(1)
		s.post(3)
		s.get(5)
		s.want("RST_STREAM 5 REFUSED_STREAM")
		_ = s.framer.WriteRSTStream(1, Cancel)
		s.post(7)
		s.want() // there is room on the wire
		_ = s.framer.WriteRSTStream(3, Cancel)
		s.post(9)
		s.want()
		_ = s.framer.WriteRSTStream(7, Cancel)
		s.get(11) // but four handlers are at work
		s.want("RST_STREAM 11 REFUSED_STREAM")
		close(hold)
		s.want()
		s.get(13)
		s.want("HEADERS 13" + ok200)
	})
}

func TestOnGone(t *testing.T) {
	var why error
	for name, end := range map[string]func(*site){
		"reset":      func(s *site) { _ = s.framer.WriteRSTStream(1, Cancel) },
		"closed":     func(s *site) { s.nc.Close() },
		"wrong DATA": func(s *site) { _ = s.framer.WriteData(1, true, make([]byte, 10)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, func(s *Stream) { lie(s); why = s.Err() }, func(s *site) {
				s.greet().post(1, "content-length=3")
				s.take()
				end(s)
				synctest.Wait()
				var failure *StreamError
				if !errors.As(why, &failure) || !failure.Remote {
					t.Errorf("got %v, want a failure of the peer", why)
				}
			})
		})
	}
}

func TestHandlerThatStopsInTheMiddle(t *testing.T) {
	inBubble(t, Options{}, func(s *Stream) { _ = s.WriteHead(&Head{Status: 200}, false) }, func(s *site) {
		s.greet().get(1)
		s.want("HEADERS 1 :status=200", "RST_STREAM 1 INTERNAL_ERROR")
	})
	inBubble(t, Options{}, func(s *Stream) { _ = s.WriteHead(&Head{Status: 413}, true) }, func(s *site) {
		s.greet().post(1)
		s.want("HEADERS 1 end :status=413", "RST_STREAM 1 NO_ERROR")
		_ = s.framer.WriteData(1, false, []byte("x"))
		s.want()
	})
}

// What a handler sees of a request, and a client of an answer.
func TestHeads(t *testing.T) {
	var got Head
	keep := func(s *Stream) {
		got = s.Request().clone()
		_ = s.WriteHead(&Head{Status: 103, Fields: fieldsOf("Link", "</a>")}, false)
		_ = s.WriteHead(&Head{Status: 200, ContentLength: 2, Sized: true, Fields: fieldsOf(
			"Content-Type", "text/plain", "Connection", "close", "Keep-Alive", "1", "Transfer-Encoding", "chunked", "content-length", "7", "Set-Cookie", "a=b",
		)}, false)
		_, _ = s.WriteBody([]byte("ok"), false)
		_ = s.WriteTrailers(fieldsOf("Grpc-Status", "0"))
		if err := s.WriteTrailers(nil); !errors.Is(err, ErrEnded) {
			t.Errorf("got %v, want ErrEnded", err)
		}
	}
	inBubble(t, Options{ExtendedConnect: true}, keep, func(s *site) {
		s.greet().get(1, "cookie=a=1", "x=2", "cookie=b=2", "cookie=c=3")
		s.want("HEADERS 1 :status=103 link=</a>", "HEADERS 1 :status=200 content-type=text/plain set-cookie=a=b content-length=2", `DATA 1 "ok"`, "HEADERS 1 end grpc-status=0")
		if len(got.Fields) != 2 || string(got.Fields[0].Value) != "a=1; b=2; c=3" || string(got.Fields[1].Name) != "x" {
			t.Errorf("got %q, want one cookie", got.Fields)
		}
		s.headers(3, false, ":method=CONNECT", ":protocol=websocket", ":scheme=https", ":path=/chat", ":authority=a.example")
		s.take()
		if string(got.Protocol) != "websocket" || string(got.Path) != "/chat" {
			t.Errorf("got %q %q", got.Protocol, got.Path)
		}
		s.headers(5, true, ":method=GET", ":scheme=https", ":path=/", "host=b.example:80")
		s.take()
		if string(got.Authority) != "b.example:80" || len(got.Fields) != 0 || !got.End {
			t.Errorf("got %q with %q, want Host as the authority", got.Authority, got.Fields)
		}
	})
}

func TestWriteRefusesWhatWouldSplit(t *testing.T) {
	inBubble(t, Options{}, func(s *Stream) {
		for _, h := range []*Head{
			{Status: 200, Fields: fieldsOf("a b", "1")},
			{Status: 200, Fields: fieldsOf("a", "1\r\nb: 2")},
			{Status: 200, Fields: fieldsOf("", "1")},
			{Status: 101},
			{Status: 99},
			{Status: 1000},
		} {
			if err := s.WriteHead(h, false); !errors.Is(err, ErrField) {
				t.Errorf("got %v for %v, want ErrField", err, h)
			}
		}
		_ = s.WriteHead(&Head{Status: 200}, true)
	}, func(s *site) {
		s.greet().get(1)
		s.want("HEADERS 1" + ok200)
	})
}

// A request that came over HTTP/1.1 becomes stream 1.
func TestUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := pipe(t)
		server := NewServer(ours, []byte(Preface[:10]), &Options{})
		err := server.Upgrade(&Head{Method: []byte("GET"), Scheme: []byte("http"), Path: []byte("/"), Authority: []byte("a")}, []byte{0, 4, 0, 0, 0, 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Upgrade(&Head{}, []byte{1}); err == nil {
			t.Error("got no error for half a setting")
		}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(hello) }()
		w := newWire(t, theirs)
		go w.listen()
		w.want("SETTINGS", "WINDOW_UPDATE 0 983041", "HEADERS 1 :status=200 content-type=text/plain", `DATA 1 "he"`)
		_, _ = theirs.Write([]byte(Preface[10:]))
		_ = w.framer.WriteSettings(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 100})
		w.want("SETTINGS ack", `DATA 1 end "llo, world\n"`)
		w.get(3)
		w.want("HEADERS 3 :status=200 content-type=text/plain", `DATA 3 end "hello, world\n"`)
		theirs.Close()
		<-ended
	})
}
