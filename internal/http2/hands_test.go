package http2

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who has served a stream serves the next one, of whatever connection, and goes home with the last connection: a
// goroutine that did not would keep the bubble from ending.
func TestHandsAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Options{Memory: new(Memory)}
		h := &o.Memory.hands
		clients, ended := make([]*Client, 2), make(chan error, 4)
		for i := range clients {
			ours, theirs := pipe(t)
			server := NewServer(ours, nil, o)
			clients[i] = NewClient(theirs, o)
			go func() { ended <- server.Serve(echo) }()
			go func() { ended <- clients[i].Run() }()
		}
		buf := make([]byte, 512)
		for i := range 20 {
			if err := call(clients[i%2], buf); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if len(h.resting) != 1 {
			t.Errorf("after calls one by one %d hands rest, want 1", len(h.resting))
		}
		clients[0].Leave()
		_, _ = <-ended, <-ended
		if len(h.resting) != 1 {
			t.Errorf("with one of two connections left %d hands rest, want 1", len(h.resting))
		}
		clients[1].Leave()
		_, _ = <-ended, <-ended
		if len(h.resting) != 0 || h.conns != 0 {
			t.Errorf("in the end %d hands rest, for %d connections", len(h.resting), h.conns)
		}
	})
}

// However many streams there are at a time, no more hands rest than may.
func TestFewHandsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Options{MaxStreams: 2 * maxResting, Memory: new(Memory)}
		ours, theirs := pipe(t)
		server, client := NewServer(ours, nil, o), NewClient(theirs, o)
		ended := make(chan error, 2)
		go func() {
			ended <- server.Serve(func(s *Stream) {
				time.Sleep(time.Second)
				_ = s.WriteHead(&Head{Status: 200}, true)
			})
		}()
		go func() { ended <- client.Run() }()
		synctest.Wait()
		var streams []*Stream
		for range 2 * maxResting {
			s, err := client.Open(getHead("GET"), true)
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, s)
		}
		for _, s := range streams {
			if _, err := s.ReadHead(); err != nil {
				t.Error(err)
			}
			s.Close()
		}
		synctest.Wait()
		if got := len(o.Memory.hands.resting); got != maxResting {
			t.Errorf("%d hands rest, want %d", got, maxResting)
		}
		client.Leave()
		_, _ = <-ended, <-ended
	})
}
