package wire

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Work is what clients ask for, and how.
type Work struct {
	Port     int      // of the proxy, on 127.0.0.1
	Requests [][]byte // sent in turn, each complete
	Size     int      // of the body that must come back
	Conns    int      // connections open at once
	Anew     bool     // a new connection for each request; the requests ask the proxy to close it
	TLS      *TLS     // nil: plaintext
	HTTP2    *HTTP2   // nil: HTTP/1.1; else instead of Requests, Anew and Rate
	Rate     int      // requests per second, due at equal distances whatever comes back; 0: as fast as answers come
	Warm     time.Duration
	Measure  time.Duration
	PIDs     []int // the proxy's processes
}

// A Result is what was measured between the end of the warm-up and the end of the work.
type Result struct {
	Requests  int           // answered, all of them with 200 and the right length
	All       int           // likewise, from the first connection to the last
	Wall      time.Duration // how long it took
	Proxy     Usage         // what the proxy's processes used
	Load      time.Duration // how long clients and endpoints had something to do
	Latencies []int64       // with a rate: nanoseconds from when each request was due, in order of completion
	Late      int           // with a rate: requests that were due and never sent, because all connections were busy
}

const (
	stalled = 3 * time.Second // without any answer: the proxy hangs
	drained = 2 * time.Second // how long what is out may take when the time is over
)

var errStalled = errors.New("no answer for 3 s")

type job struct {
	Work
	next    int     // request
	free    []*conn // with a rate: connections that wait
	backlog []int64 // with a rate: requests that are due and have no connection
	out     int     // requests that are out
	count   int     // answers
	last    int64   // when the last answer came
	ended   bool    // nothing new is sent
	timed   bool    // latencies are kept
	once    bool    // a connection carries one request and stays open
	result  Result
}

// Do does the work and says what it cost. The first wrong answer ends it.
func (l *Loop) Do(w Work) (Result, error) {
	j := &job{Work: w}
	if w.Rate > 0 {
		j.result.Latencies = make([]int64, 0, int(float64(w.Rate)*w.Measure.Seconds())+w.Conns)
	}
	l.job = j
	defer l.hangUp()
	if err := l.connectAll(w.Conns); err != nil {
		return Result{}, err
	}
	if err := l.drive(w.Warm); err != nil {
		return Result{}, err
	}
	before, err := l.sample()
	if err != nil {
		return Result{}, err
	}
	j.timed = true
	if err := l.drive(w.Measure); err != nil {
		return Result{}, err
	}
	after, err := l.sample()
	if err != nil {
		return Result{}, err
	}
	j.timed, j.ended = false, true
	j.result.Requests = after.count - before.count
	j.result.Wall = after.at - before.at
	j.result.Load = j.result.Wall - (after.vain - before.vain)
	j.result.Proxy = after.proxy.minus(before.proxy)
	j.result.Late = len(j.backlog)
	err = l.finish()
	j.result.All = j.count
	return j.result, err
}

type sample struct {
	count int
	at    time.Duration
	vain  time.Duration
	proxy Usage
}

func (l *Loop) sample() (sample, error) {
	s := sample{count: l.job.count, at: time.Since(l.started), vain: time.Duration(l.vain)}
	var err error
	s.proxy, err = Used(l.job.PIDs)
	return s, err
}

// connectAll opens n connections and puts a request on each, or with a rate none.
func (l *Loop) connectAll(n int) error {
	for range n {
		if err := l.connect(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop) connect() error {
	j := l.job
	if j.TLS != nil {
		fd, s, err := j.TLS.dial(local(j.Port))
		if err != nil {
			return err
		}
		c := &conn{fd: fd, role: client, open: true, secret: s}
		l.add(c)
		if err := watch(l.epfd, fd, syscall.EPOLLIN); err != nil {
			return err
		}
		return l.ready(c)
	}
	fd, err := dial(local(j.Port))
	if err != nil {
		return err
	}
	l.add(&conn{fd: fd, role: client})
	return watch(l.epfd, fd, syscall.EPOLLOUT)
}

// ready is called when a connection can take a request.
func (l *Loop) ready(c *conn) error {
	j := l.job
	switch {
	case j.ended:
		return nil
	case j.HTTP2 != nil:
		return l.greet(c)
	case j.Rate == 0:
		return l.send(c, l.now)
	case len(j.backlog) > 0:
		due := j.backlog[0]
		j.backlog = j.backlog[1:]
		return l.send(c, due)
	default:
		j.free = append(j.free, c)
		return nil
	}
}

func (l *Loop) send(c *conn, due int64) error {
	j := l.job
	request := j.Requests[j.next]
	if j.next++; j.next == len(j.Requests) {
		j.next = 0
	}
	if c.secret != nil {
		request = c.secret.seal(request)
	}
	n, failed := write(c.fd, request)
	if failed != 0 || n < len(request) {
		return fmt.Errorf("a client sends: wrote %d of %d bytes: %w", n, len(request), syscall.Errno(failed))
	}
	c.due, c.waiting = due, true
	j.out++
	return nil
}

// receive handles what happened at a client's connection.
func (l *Loop) receive(c *conn) error {
	if !c.open {
		if failed, err := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err != nil || failed != 0 {
			return fmt.Errorf("a client connects: %w", errors.Join(err, syscall.Errno(failed)))
		}
		c.open = true
		if err := rewatch(l.epfd, c.fd, syscall.EPOLLIN); err != nil {
			return err
		}
		return l.ready(c)
	}
	n, failed := read(c.fd, l.scratch)
	switch {
	case failed == later:
		return nil
	case failed != 0:
		return fmt.Errorf("a client reads: %w", syscall.Errno(failed))
	case n == 0:
		return l.gone(c)
	}
	hear := l.heard
	if c.session != nil {
		hear = l.answered
	}
	var err error
	if c.secret == nil {
		err = hear(c, l.scratch[:n])
	} else {
		err = c.secret.each(l.scratch[:n], func(plain []byte) error { return hear(c, plain) })
	}
	if err != nil || c.session == nil {
		return err
	}
	return l.call(c)
}

// heard takes bytes of an answer.
func (l *Loop) heard(c *conn, b []byte) error {
	h, done, err := c.in.next(b)
	if err != nil {
		return fmt.Errorf("an answer: %w", err)
	}
	if h.size > 0 {
		if !bytes.HasPrefix(h.first, []byte("HTTP/1.1 200")) || h.length != l.job.Size || !c.waiting {
			return fmt.Errorf("an answer: %q with length %d, want 200 with %d", h.first, h.length, l.job.Size)
		}
	}
	if !done {
		return nil
	}
	j := l.job
	c.waiting = false
	j.out--
	j.count++
	j.last = l.now
	if j.timed && j.Rate > 0 {
		j.result.Latencies = append(j.result.Latencies, int64(time.Since(l.started))-c.due)
	}
	if j.Anew || j.once {
		return nil // the next comes when the proxy has closed, or not at all
	}
	return l.ready(c)
}

// gone handles the end of a connection: wanted when each request has its own, else an error.
func (l *Loop) gone(c *conn) error {
	j := l.job
	if c.waiting {
		return errors.New("the proxy closed a connection on which a request was out")
	}
	l.drop(c)
	if j.ended {
		return nil
	}
	if j.Anew {
		return l.connect()
	}
	return errors.New("the proxy closed a connection that was to be kept alive")
}

// drive turns the loop for a while, and never sleeps: whoever writes to one that sleeps pays for waking it, and the
// proxy would pay the more the less it left us to do.
func (l *Loop) drive(d time.Duration) error {
	j := l.job
	l.now = int64(time.Since(l.started))
	end := l.now + int64(d)
	j.last = max(j.last, l.now)
	if j.Rate > 0 {
		return l.pace(end)
	}
	for l.now < end {
		if err := l.turn(0); err != nil {
			return err
		}
		if l.now-j.last > int64(stalled) {
			return errStalled
		}
	}
	return nil
}

// pace sends requests when they are due; those that fell due while the thread was away, too.
func (l *Loop) pace(end int64) error {
	j := l.job
	every := int64(time.Second) / int64(j.Rate)
	for due := l.now; due < end; {
		for ; due < min(end, l.now+1); due += every {
			last := len(j.free) - 1
			if last < 0 {
				j.backlog = append(j.backlog, due)
				continue
			}
			c := j.free[last]
			j.free = j.free[:last]
			if err := l.send(c, due); err != nil {
				return err
			}
		}
		if err := l.turn(0); err != nil {
			return err
		}
		if j.out > 0 && l.now-j.last > int64(stalled) {
			return errStalled
		}
	}
	return nil
}

// Hold opens n connections, sends one request on each, keeps them open without a word for as long as settle, and
// calls look.
func (l *Loop) Hold(w Work, n int, settle time.Duration, look func() error) error {
	l.job = &job{Work: w, once: true}
	defer l.hangUp()
	l.job.last = int64(time.Since(l.started))
	for opened := 0; l.job.count < n; {
		for opened < n && opened-l.job.count < w.Conns {
			if err := l.connect(); err != nil {
				return err
			}
			opened++
		}
		if err := l.turn(nap); err != nil {
			return err
		}
		if l.now-l.job.last > int64(stalled) {
			return errStalled
		}
	}
	for end := l.now + int64(settle); l.now < end; {
		if err := l.turn(nap); err != nil {
			return err
		}
	}
	return look()
}

// Idle serves the endpoints for a while, without clients.
func (l *Loop) Idle(d time.Duration) error {
	l.now = int64(time.Since(l.started))
	for end := l.now + int64(d); l.now < end; {
		if err := l.turn(10); err != nil {
			return err
		}
	}
	return nil
}

// finish waits for what is still out.
func (l *Loop) finish() error {
	for end := l.now + int64(drained); l.job.out > 0; {
		if err := l.turn(nap); err != nil {
			return err
		}
		if l.now > end {
			return fmt.Errorf("%d requests were not answered %v after the end", l.job.out, drained)
		}
	}
	return nil
}

// hangUp closes the clients' connections.
func (l *Loop) hangUp() {
	for _, c := range l.conns {
		if c != nil && c.role == client {
			l.drop(c)
		}
	}
	l.job = nil
}
