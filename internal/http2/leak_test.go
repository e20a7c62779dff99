package http2

import (
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// moody serves as the first letter of the path says.
func moody(s *Stream) {
	buf := make([]byte, 3000)
	switch mood := s.Request().Path[1]; mood {
	case 'e': // echo
		if s.WriteHead(&Head{Status: 200}, false) != nil {
			return
		}
		for {
			n, err := s.ReadBody(buf)
			if _, wrong := s.WriteBody(buf[:n], false); wrong != nil || err != nil && !errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				break
			}
		}
		_ = s.WriteTrailers(fieldsOf("sum", "1"))
	case 'i': // indifferent: an answer without reading
		_ = s.WriteHead(&Head{Status: 413}, false)
		_, _ = s.WriteBody(buf, true)
	case 'r':
		_, _ = s.ReadBody(buf)
		s.Reset(InternalError)
	case 'h': // half an answer
		_ = s.WriteHead(&Head{Status: 200}, false)
		_, _ = s.WriteBody(buf, false)
	default: // patient: waits, and reads a little
		s.SetReadDeadline(time.Now().Add(time.Duration(mood) * time.Millisecond))
		_, _ = s.ReadBody(buf)
		_ = s.WriteHead(&Head{Status: 200}, true)
	}
}

// ask opens streams and gives up on some, wherever they are.
func ask(t *testing.T, c *Client, random *rand.Rand) {
	t.Helper()
	body := make([]byte, 100_000)
	for range 60 {
		h := getHead("POST")
		h.Path = []byte{'/', "eirhpe"[random.IntN(6)]}
		s, err := c.Open(h, false)
		if err != nil {
			t.Error(err)
			return
		}
		var wrote sync.WaitGroup
		send, take := body[:random.IntN(len(body))], random.IntN(150_000)
		end := random.IntN(4) > 0
		wrote.Go(func() { _, _ = s.WriteBody(send, end) })
		if random.IntN(3) > 0 {
			s.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			_, _ = s.ReadHead()
			_, _ = io.CopyN(io.Discard, readerOf(s), int64(take))
		}
		if random.IntN(3) == 0 {
			s.Reset(Cancel)
		} else {
			s.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		}
		wrote.Wait()
		s.Close()
	}
}

// However streams end, on whichever side: no stream, no handler and not a byte of a window is lost.
func TestNothingLeaks(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := pipe(t)
			o := &Options{StreamWindow: 20_000, ConnWindow: 100_000}
			server, client := NewServer(ours, nil, o), NewClient(theirs, o)
			ended := make(chan error, 2)
			go func() { ended <- server.Serve(moody) }()
			go func() { ended <- client.Run() }()
			var all sync.WaitGroup
			for i := range uint64(8) {
				all.Go(func() { ask(t, client, rand.New(rand.NewPCG(seed, i))) })
			}
			all.Wait()
			time.Sleep(time.Second)
			synctest.Wait()
			if server.cause != nil || client.cause != nil {
				t.Fatalf("the connection ended: %v, %v", server.cause, client.cause)
			}
			for _, c := range []struct {
				name      string
				conn, far *Conn
			}{{"client", &client.Conn, &server.Conn}, {"server", &server.Conn, &client.Conn}} {
				if c.conn.open != 0 || len(c.conn.streams) != 0 || c.conn.running != 0 {
					t.Errorf("%s: %d open, %d streams, %d handlers", c.name, c.conn.open, len(c.conn.streams), c.conn.running)
				}
				if c.conn.recv+c.conn.consumed != int64(o.ConnWindow) || c.conn.send != c.far.recv {
					t.Errorf("%s: window %d and %d to tell, of %d; sends %d, where %d are taken",
						c.name, c.conn.recv, c.conn.consumed, o.ConnWindow, c.conn.send, c.far.recv)
				}
			}
			client.Leave()
			if a, b := <-ended, <-ended; a != nil || b != nil {
				t.Errorf("ended with %v and %v, want order", a, b)
			}
		})
	}
}
