package http2

import "sync"

// Hands are goroutines that serve streams, one after another: the stack of one that has served has grown, and to grow
// another costs a good part of a request. Some rest while there is a server's connection; who rested last is the next.
type hands struct {
	mu      sync.Mutex // taken alone, or after that of a Conn
	resting []chan *Stream
	conns   int
}

// maxResting is how many rest at most: streams come in bursts.
const maxResting = 128

// serve has s served.
func (h *hands) serve(s *Stream) {
	h.mu.Lock()
	n := len(h.resting)
	if n == 0 {
		h.mu.Unlock()
		go h.work(s)
		return
	}
	next := h.resting[n-1]
	h.resting[n-1] = nil
	h.resting = h.resting[:n-1]
	h.mu.Unlock()
	next <- s // there is room: nobody else has it
}

func (h *hands) work(s *Stream) {
	next := make(chan *Stream, 1)
	for more := true; more; s, more = <-next {
		s.c.serve(s)
		if !h.rest(next) {
			return
		}
	}
}

// rest says whether another stream may come.
func (h *hands) rest(next chan *Stream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns == 0 || len(h.resting) == maxResting {
		return false
	}
	h.resting = append(h.resting, next)
	return true
}

// come is called when a server's connection begins.
func (h *hands) come() {
	h.mu.Lock()
	h.conns++
	h.mu.Unlock()
}

// leave is called when it has ended. With the last one, those end who rest.
func (h *hands) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns--; h.conns == 0 {
		for _, next := range h.resting {
			close(next)
		}
		h.resting = nil
	}
}
