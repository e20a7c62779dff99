package main

import (
	"fmt"
	"io"
	"sync"
)

// queued is how many lines wait for a reader that is slow.
const queued = 4096

// An output passes lines on to w without ever keeping a writer waiting: when the reader of w does not read (a
// terminal that was stopped, a full pipe), lines are dropped, and their number is told when it reads again.
// Whoever writes to it would otherwise stand still, and instances with it.
type output struct {
	lines chan []byte
	done  chan struct{}

	mu      sync.Mutex // guards the following
	dropped int
	closed  bool
}

func newOutput(w io.Writer) *output {
	o := &output{lines: make(chan []byte, queued), done: make(chan struct{})}
	go func() {
		defer close(o.done)
		for line := range o.lines {
			if n := o.missed(); n > 0 {
				_, _ = fmt.Fprintf(w, "crossfade: %d lines are missing here: nobody read them in time\n", n)
			}
			_, _ = w.Write(line) // nobody is left to tell
		}
	}()
	return o
}

// Write takes one line. It never fails and never waits.
func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return len(line), nil
	}
	select {
	case o.lines <- append([]byte(nil), line...):
	default:
		o.dropped++
	}
	return len(line), nil
}

func (o *output) missed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.dropped
	o.dropped = 0
	return n
}

// Close takes no more lines and waits until the last is written, for as long as the reader reads: at most
// until patience says so.
func (o *output) Close(patience <-chan struct{}) {
	o.mu.Lock()
	o.closed = true
	close(o.lines)
	o.mu.Unlock()
	select {
	case <-o.done:
	case <-patience:
	}
}
