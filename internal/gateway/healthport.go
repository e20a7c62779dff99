package gateway

import (
	"bufio"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"crossfade.dev/internal/sockets"
)

// A healthPort answers the checks of load balancers: GET /healthz/ready is 200 while the gateway serves, and 503 from
// the moment on in which it is told to leave. It says nothing else, to nobody: it is not for loopback alone.
type healthPort struct {
	*loop

	nl socket

	mu     sync.Mutex
	asking list.List // of net.Conn that are not answered yet, the oldest first
}

// A socket is a listening one that can be left, as [sockets.Listener] says.
type socket interface {
	Accept() (net.Conn, error)
	SetDeadline(t time.Time) error
	Leave(admit func(net.Conn), shared bool) error
}

const (
	healthPatience = 5 * time.Second // for a check's question, and its end
	healthLast     = time.Second     // likewise, once the port is left: nobody is to hold up the end of the gateway
	healthAtOnce   = 256             // are asking; one more ends the oldest, or the slow would keep out those who are in earnest
	healthMost     = 8 << 10         // bytes of a question
)

// openHealth opens the health port; nil where there is none.
func (l *loop) openHealth(ctx context.Context) (*healthPort, error) {
	if l.Health == "" {
		return nil, nil
	}
	nl, err := l.listen(ctx, l.Health)
	if err != nil {
		return nil, fmt.Errorf("listen for health checks: %w", err)
	}
	return &healthPort{loop: l, nl: nl}, nil
}

// listen opens a socket, or borrows it.
func (l *loop) listen(ctx context.Context, address string) (socket, error) {
	if l.Loan == nil {
		return sockets.Open(ctx, address)
	}
	nl, err := l.Loan.Listen(ctx, address)
	if err != nil {
		return nil, err
	}
	s, ok := nl.(socket)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a lent %T cannot be left", nl), nl.Close())
	}
	return s, nil
}

// run answers until ctx ends, or others do in our place.
func (h *healthPort) run(ctx context.Context) error {
	if h.Loan != nil { // until we are ready, others who are may answer
		select {
		case <-h.ready:
		case <-h.relieved:
		case <-ctx.Done():
		}
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() {
		select {
		case <-h.relieved:
		case <-ctx.Done():
		}
		_ = h.nl.SetDeadline(time.Unix(1, 0)) // it is ours, and open
	})
	admit := func(nc net.Conn) {
		asked := h.begin(nc)
		tasks.Go(func() {
			defer asked()
			h.answer(nc)
		})
	}
	for {
		nc, err := h.nl.Accept()
		switch {
		case err == nil:
			admit(nc)
		case isClosed(h.relieved), ctx.Err() != nil:
			if err := h.nl.Leave(admit, isClosed(h.relieved)); err != nil { // that is no matter of those who are served
				h.Log.WarnContext(ctx, "health checks that connect now may be lost", "error", err)
			}
			h.hasten()
			return nil
		default: // no descriptors, no memory
			h.Log.WarnContext(ctx, "cannot accept health checks", "error", err)
			pause(ctx, retryAfter)
		}
	}
}

// begin notes that a check is asking. It is over when the function that is returned has been called.
func (h *healthPort) begin(nc net.Conn) (over func()) {
	_ = nc.SetDeadline(time.Now().Add(healthPatience)) // a closed connection says so when it is read
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asking.Len() >= healthAtOnce {
		if oldest, ok := h.asking.Remove(h.asking.Front()).(net.Conn); ok {
			_ = oldest.Close()
		}
	}
	place := h.asking.PushBack(nc)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asking.Remove(place) // or it has been, and this does nothing
	}
}

// hasten has those who are asking come to an end.
func (h *healthPort) hasten() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.asking.Front(); e != nil; e = e.Next() {
		if nc, ok := e.Value.(net.Conn); ok {
			_ = nc.SetDeadline(time.Now().Add(healthLast))
		}
	}
}

// answer answers one check, and closes its connection: the next one may be for somebody else.
func (h *healthPort) answer(nc net.Conn) {
	defer nc.Close() //nolint:errcheck // nobody waits for more
	r, err := http.ReadRequest(bufio.NewReaderSize(io.LimitReader(nc, healthMost), 512))
	status := http.StatusOK
	switch {
	case err != nil:
		return // it has left, as those do who only look whether they can connect, or speaks something else
	case r.URL.Path != "/healthz/ready":
		status = http.StatusNotFound
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		status = http.StatusMethodNotAllowed
	case !isClosed(h.ready) || h.unready() != "":
		status = http.StatusServiceUnavailable
	}
	// An error here is the check's own.
	_, _ = fmt.Fprintf(nc, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, http.StatusText(status))
}
