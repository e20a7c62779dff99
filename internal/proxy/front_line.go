package proxy

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// A line hands the places at an application out, in the order in which they were asked for. Where nobody waits, taking
// one and giving it back is one atomic step each.
type line struct {
	limit   atomic.Int64 // places there are; 0: as many as are asked for
	taken   atomic.Int64
	waiting atomic.Int64 // tickets in the queue

	mu    sync.Mutex
	queue list.List // of *ticket, the first who came in front
}

// A ticket is somebody's turn in a line.
type ticket struct {
	given chan struct{} // has room for one: the place is theirs
	look  chan struct{} // likewise: there are other orders
	at    *list.Element // nil once it is in the queue no more; the line's mu guards it
}

// got says whether the place has been given. It says so once.
func (t *ticket) got() bool {
	select {
	case <-t.given:
		return true
	default:
		return false
	}
}

// take takes a place if there is one, and nobody waits for it.
func (l *line) take() bool {
	for {
		limit, n := l.limit.Load(), l.taken.Load()
		if limit > 0 && (n >= limit || l.waiting.Load() > 0) {
			return false
		}
		if l.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// give gives a place back, to whoever has waited longest.
func (l *line) give() {
	l.taken.Add(-1)
	if l.waiting.Load() > 0 { // who joins after this sees that the place is free
		l.mu.Lock()
		defer l.mu.Unlock()
		l.hand()
	}
}

// join is for who could not take a place: theirs comes through the ticket, perhaps at once.
func (l *line) join() *ticket {
	t := &ticket{given: make(chan struct{}, 1), look: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.at = l.queue.PushBack(t)
	l.waiting.Add(1) // before places are counted: one that is given back after that is handed on
	l.hand()
	return t
}

// quit takes a ticket out of the queue. Where its place has been given meanwhile, that goes to the next one.
func (l *line) quit(t *ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.at == nil {
		l.taken.Add(-1)
		l.hand()
		return
	}
	l.queue.Remove(t.at)
	t.at = nil
	l.waiting.Add(-1)
}

// setLimit changes how many places there are. Who has one keeps it.
func (l *line) setLimit(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit.Store(int64(max(0, n)))
	l.hand()
}

// hand gives the places that are free to those in front. The caller holds mu.
func (l *line) hand() {
	for l.queue.Len() > 0 && l.free() {
		t, _ := l.queue.Remove(l.queue.Front()).(*ticket)
		t.at = nil
		l.waiting.Add(-1)
		t.given <- struct{}{}
	}
}

// free is take for who is in front of the queue.
func (l *line) free() bool {
	for {
		limit, n := l.limit.Load(), l.taken.Load()
		if limit > 0 && n >= limit {
			return false
		}
		if l.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// call has everybody who waits look at what is ordered.
func (l *line) call() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.queue.Front(); e != nil; e = e.Next() {
		if t, ok := e.Value.(*ticket); ok {
			select {
			case t.look <- struct{}{}:
			default: // it has still to look
			}
		}
	}
}
