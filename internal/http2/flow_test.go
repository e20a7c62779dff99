package http2

import (
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	frame "golang.org/x/net/http2"
)

// What the application does not read is not replaced; what it reads is, by half windows.
func TestWindowFollowsTheReader(t *testing.T) {
	var stream *Stream
	var hold chan struct{}
	inBubble(t, Options{StreamWindow: firstWindow, ConnWindow: firstWindow}, func(s *Stream) { stream = s; <-hold }, func(s *site) {
		hold = make(chan struct{})
		defer close(hold)
		s.greet().post(1)
		for range 3 {
			_ = s.framer.WriteData(1, false, make([]byte, 16000))
		}
		s.want()
		buf := make([]byte, 32767)
		n, err := io.ReadFull(readerOf(stream), buf)
		if n != len(buf) || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		s.want()
		_, _ = stream.ReadBody(buf[:1])
		s.want("WINDOW_UPDATE 0 32768", "WINDOW_UPDATE 1 32768")
		// Padding is nobody's to read.
		_ = s.framer.WriteRawFrame(frame.FrameData, frame.FlagDataPadded, 1, append([]byte{200}, make([]byte, 200)...))
		s.want()
		if got := stream.consumed; got != 201 {
			t.Errorf("got %d bytes of padding given back, want 201", got)
		}
		// What is dropped unread is given back to the other streams.
		stream.Reset(Cancel)
		s.want("RST_STREAM 1 CANCEL")
		if got := s.server.consumed; got != 48000-32768+201 {
			t.Errorf("got %d, want all that was not read", got)
		}
	})
}

func readerOf(s *Stream) io.Reader { return readFunc(s.ReadBody) }

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

func TestMoreThanTheWindow(t *testing.T) {
	t.Run("stream", func(t *testing.T) {
		inBubble(t, Options{StreamWindow: 100}, lie, func(s *site) {
			s.greet().post(1)
			_ = s.framer.WriteData(1, false, make([]byte, 100))
			s.want()
			_ = s.framer.WriteData(1, false, make([]byte, 1))
			s.want("RST_STREAM 1 FLOW_CONTROL_ERROR")
		})
	})
	t.Run("stream, before our SETTINGS were heard", func(t *testing.T) {
		inBubble(t, Options{StreamWindow: 100}, lie, func(s *site) {
			_, _ = s.nc.Write([]byte(Preface))
			_ = s.framer.WriteSettings()
			s.take()
			s.post(1)
			_ = s.framer.WriteData(1, false, make([]byte, 101))
			s.want()
		})
	})
	t.Run("connection", func(t *testing.T) {
		inBubble(t, Options{StreamWindow: 1 << 20, ConnWindow: firstWindow}, lie, func(s *site) {
			s.greet().post(1)
			for range 4 {
				_ = s.framer.WriteData(1, false, make([]byte, firstWindow/4))
			}
			_ = s.framer.WriteData(1, false, make([]byte, 3))
			s.want()
			_ = s.framer.WriteData(1, false, make([]byte, 1))
			s.want("GOAWAY 1 FLOW_CONTROL_ERROR", "closed")
		})
	})
}

// A body leaves as fast as both windows allow, SETTINGS and negative windows included.
func TestPeersWindows(t *testing.T) {
	inBubble(t, Options{}, func(s *Stream) {
		_ = s.WriteHead(&Head{Status: 200}, false)
		if n, err := s.WriteBody(make([]byte, 100), true); n != 100 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}, func(s *site) {
		s.greet(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 3}).get(1)
		s.want("HEADERS 1 :status=200", `DATA 1 "\x00\x00\x00"`)
		_ = s.framer.WriteWindowUpdate(1, 2)
		s.want(`DATA 1 "\x00\x00"`)
		_ = s.framer.WriteSettings(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 0})
		s.want("SETTINGS ack")
		_ = s.framer.WriteWindowUpdate(1, 3) // now at 0
		s.want()
		_ = s.framer.WriteWindowUpdate(1, 1)
		s.want(`DATA 1 "\x00"`)
		_ = s.framer.WriteSettings(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 1000})
		s.want("SETTINGS ack", "DATA 1 end 94 bytes")
	})
}

func TestConnectionWindowIsShared(t *testing.T) {
	inBubble(t, Options{}, func(s *Stream) {
		_ = s.WriteHead(&Head{Status: 200}, false)
		_, _ = s.WriteBody(make([]byte, firstWindow-10), false)
		_, _ = s.WriteBody([]byte("0123456789abcdef"), true)
	}, func(s *site) {
		s.greet(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 1 << 20})
		s.get(1)
		total := 0
		for _, line := range s.take() {
			total += len(line)
		}
		s.get(3)
		s.want("HEADERS 3 :status=200")
		_ = s.framer.WriteWindowUpdate(0, 6)
		heard := s.take()
		if len(heard) != 1 || heard[0] != `DATA 1 end "abcdef"` && heard[0] != `DATA 3 "\x00\x00\x00\x00\x00\x00"` {
			t.Errorf("heard %q, want six bytes of one stream", heard)
		}
	})
}

func TestZeroWindowHoldingEnds(t *testing.T) {
	outcome := make(chan error, 1)
	inBubble(t, Options{StallTimeout: time.Minute}, func(s *Stream) {
		_ = s.WriteHead(&Head{Status: 200}, false)
		_, err := s.WriteBody(make([]byte, 100), true)
		outcome <- err
	}, func(s *site) {
		s.greet(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 0}).get(1)
		s.want("HEADERS 1 :status=200")
		time.Sleep(59 * time.Second)
		_ = s.framer.WriteWindowUpdate(1, 1) // a peer that takes some is patient, not hostile
		s.want(`DATA 1 "\x00"`)
		time.Sleep(59 * time.Second)
		s.want()
		time.Sleep(2 * time.Second)
		s.want("RST_STREAM 1 ENHANCE_YOUR_CALM")
		if err := <-outcome; !errors.Is(err, ErrStalled) {
			t.Errorf("got %v, want ErrStalled", err)
		}
		if got := s.stats.Stalled.Load(); got != 1 {
			t.Errorf("got %d stalled streams, want 1", got)
		}
	})
}

// What is written without waiting goes as far as the peer's window, and the rest later.
func TestReadyWritesWhatIsTaken(t *testing.T) {
	inBubble(t, Options{}, func(s *Stream) {
		start := time.Now()
		_ = s.WriteHead(&Head{Status: 200}, false)
		n, err := Ready{s}.WriteBody([]byte("abc"), true)
		if n != 2 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 0 {
			t.Errorf("got %d, %v after %v; want 2 taken, and no waiting", n, err, time.Since(start))
		}
		if n, err := s.WriteBody([]byte("c"), true); n != 1 || err != nil || time.Since(start) != time.Second {
			t.Errorf("got %d, %v after %v; want the rest a second later", n, err, time.Since(start))
		}
	}, func(s *site) {
		s.greet(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 2}).get(1)
		s.want("HEADERS 1 :status=200", `DATA 1 "ab"`)
		time.Sleep(time.Second)
		_ = s.framer.WriteWindowUpdate(1, 5)
		s.want(`DATA 1 end "c"`)
	})
}

func TestDeadlines(t *testing.T) {
	inBubble(t, Options{}, func(s *Stream) {
		start := time.Now()
		s.SetReadDeadline(start.Add(time.Second))
		if _, err := s.ReadBody(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		s.SetReadDeadline(start.Add(time.Hour))
		time.AfterFunc(time.Second, func() { s.SetReadDeadline(start.Add(3 * time.Second)) })
		if _, err := s.ReadBody(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		s.SetWriteDeadline(start.Add(4 * time.Second))
		_ = s.WriteHead(&Head{Status: 200}, false)
		if n, err := s.WriteBody([]byte("abc"), true); n != 2 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 4*time.Second {
			t.Errorf("got %d, %v after %v", n, err, time.Since(start))
		}
		s.SetWriteDeadline(time.Time{})
		_, _ = s.WriteBody([]byte("c"), true)
	}, func(s *site) {
		s.greet(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 2}).post(1)
		time.Sleep(10 * time.Second)
		s.want("HEADERS 1 :status=200", `DATA 1 "ab"`)
		_ = s.framer.WriteWindowUpdate(1, 5)
		s.want(`DATA 1 end "c"`, "RST_STREAM 1 NO_ERROR")
	})
}

// The peer that reads nothing at all loses its connection, and its streams their handlers.
func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		ours, theirs := pipe(t)
		server := NewServer(ours, nil, &Options{StallTimeout: time.Minute})
		start := time.Now()
		go func() {
			ended <- server.Serve(func(s *Stream) {
				_ = s.WriteHead(&Head{Status: 200}, false)
				if _, err := s.WriteBody(make([]byte, 1000), true); err == nil {
					_, err = s.ReadBody(nil)
					if err == nil {
						t.Error("got no error from a stream whose peer is deaf")
					}
				}
			})
		}()
		w := newWire(t, theirs)
		_, _ = theirs.Write([]byte(Preface))
		_ = w.framer.WriteSettings()
		_ = w.framer.WriteSettingsAck()
		w.post(1)
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if took := time.Since(start); took < 30*time.Second || took > 62*time.Second {
			t.Errorf("took %v, want a minute at most", took)
		}
	})
}
