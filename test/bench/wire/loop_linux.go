// Package wire is the two ends of a measurement in one thread: the clients that ask a proxy, and the endpoints that
// answer it. One epoll loop serves both, so that the core they share has no switches between them and costs less
// per request than any proxy: what is measured is the proxy.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

type role uint8

const (
	listener role = iota + 1
	endpoint
	client
)

// A conn is one socket of the loop.
type conn struct {
	fd       int
	role     role
	endpoint int // of a listener and an endpoint's connection: which endpoint
	in       follower
	answer   []byte // endpoint: to be sent when the request is complete
	unsent   []byte // endpoint: what the socket did not take
	last     bool   // endpoint: the request asked to close the connection
	open     bool   // client: connected
	waiting  bool   // client: a request is out
	due      int64  // client: when the request was due, by the loop's clock
	secret   *secret
	session  *session // of HTTP/2, else nil
}

// A Loop serves endpoints and drives clients. It belongs to one goroutine, whose thread it keeps.
type Loop struct {
	// Served counts the requests that each endpoint has answered.
	Served []int

	epfd    int
	conns   []*conn // by file descriptor
	events  [512]syscall.EpollEvent
	scratch []byte
	answers map[int][]byte // by size of the body
	last    int            // the size that was asked for last,
	lastRaw []byte         // and its answer
	replies map[string]*reply
	started time.Time
	now     int64 // nanoseconds since started, as of the last return of epoll_wait
	vain    int64 // nanoseconds that went by in looking for events when there were none
	job     *job
}

// New returns a loop whose endpoints listen on these ports of 127.0.0.1, 0 for any. Only the goroutine that called New
// may use it.
func New(ports []int) (*Loop, error) {
	runtime.LockOSThread()
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	l := &Loop{
		epfd: epfd, started: time.Now(), scratch: make([]byte, 64<<10), answers: map[int][]byte{}, last: -1,
		replies: map[string]*reply{},
		Served:  make([]int, len(ports)),
	}
	for i, port := range ports {
		fd, err := listen(local(port))
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.add(&conn{fd: fd, role: listener, endpoint: i})
		if err := watch(epfd, fd, syscall.EPOLLIN); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// Port returns the port of an endpoint; useful where it was 0.
func (l *Loop) Port(endpoint int) (int, error) {
	for _, c := range l.conns {
		if c == nil || c.role != listener || c.endpoint != endpoint {
			continue
		}
		name, err := syscall.Getsockname(c.fd)
		if at, ok := name.(*syscall.SockaddrInet4); ok {
			return at.Port, err
		}
		return 0, err
	}
	return 0, fmt.Errorf("there is no endpoint %d", endpoint)
}

// Close closes every socket of the loop.
func (l *Loop) Close() error {
	for _, c := range l.conns {
		if c != nil {
			l.drop(c)
		}
	}
	return syscall.Close(l.epfd)
}

func local(port int) *syscall.SockaddrInet4 {
	return &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}

func (l *Loop) add(c *conn) {
	for len(l.conns) <= c.fd {
		l.conns = append(l.conns, nil)
	}
	l.conns[c.fd] = c
}

func (l *Loop) drop(c *conn) {
	l.conns[c.fd] = nil
	_ = syscall.Close(c.fd) // a socket that is done with has nothing to say
}

// turn waits for events, at most timeout milliseconds, and handles them.
func (l *Loop) turn(timeout int) error {
	before := l.now
	n, err := wait(l.epfd, l.events[:], timeout)
	l.now = int64(time.Since(l.started))
	if err != nil {
		return err
	}
	if n == 0 {
		l.vain += l.now - before
	}
	for _, e := range l.events[:n] {
		c := l.conns[e.Fd]
		if c == nil {
			continue // closed earlier in this batch
		}
		switch c.role {
		case listener:
			err = l.accept(c)
		case endpoint:
			err = l.serve(c, e.Events)
		case client:
			err = l.receive(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop) accept(from *conn) error {
	for {
		fd, err := accept(from.fd)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ECONNABORTED) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("an endpoint accepts: %w", err)
		}
		l.add(&conn{fd: fd, role: endpoint, endpoint: from.endpoint})
		if err := watch(l.epfd, fd, syscall.EPOLLIN); err != nil {
			return err
		}
	}
}

// serve handles what happened at an endpoint's connection.
func (l *Loop) serve(c *conn, events uint32) error {
	if events&syscall.EPOLLOUT != 0 && len(c.unsent) > 0 {
		return l.reply(c, c.unsent)
	}
	n, failed := read(c.fd, l.scratch)
	switch {
	case failed == later:
		return nil
	case failed != 0 || n == 0: // the proxy closed it, as it may
		l.drop(c)
		return nil
	}
	if c.session == nil && c.in.fresh() && bytes.HasPrefix(l.scratch[:n], []byte(preface)[:3]) {
		c.session = newSession(false)
	}
	if c.session != nil {
		return l.asked(c, l.scratch[:n])
	}
	h, done, err := c.in.next(l.scratch[:n])
	if err != nil {
		return fmt.Errorf("an endpoint reads a request: %w", err)
	}
	if h.size > 0 {
		if c.answer, err = l.answerTo(h.first); err != nil {
			return err
		}
		c.last = h.close
	}
	if !done {
		return nil
	}
	l.Served[c.endpoint]++
	return l.reply(c, c.answer)
}

func (l *Loop) reply(c *conn, b []byte) error {
	n, failed := write(c.fd, b)
	switch {
	case failed == later:
		n = 0
	case failed != 0:
		l.drop(c)
		return nil
	}
	switch {
	case n < len(b):
		c.unsent = b[n:]
		return rewatch(l.epfd, c.fd, syscall.EPOLLIN|syscall.EPOLLOUT)
	case c.last:
		l.drop(c)
	case c.unsent != nil:
		c.unsent = nil
		return rewatch(l.epfd, c.fd, syscall.EPOLLIN)
	}
	return nil
}

// answerTo returns the answer to "GET /b/SIZE HTTP/1.1": 200 with a body of that size.
func (l *Loop) answerTo(first []byte) ([]byte, error) {
	_, after, ok := bytes.Cut(first, []byte("/b/"))
	size := 0
	for ok && len(after) > 0 && after[0] >= '0' && after[0] <= '9' {
		size = size*10 + int(after[0]-'0')
		after = after[1:]
	}
	if !ok || size > 64<<20 {
		return nil, fmt.Errorf("an endpoint was asked for %q", first)
	}
	if size != l.last {
		raw, known := l.answers[size]
		if !known {
			raw = []byte("HTTP/1.1 200 OK\r\nServer: endpoint\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\n" +
				"Content-Type: application/octet-stream\r\nCache-Control: no-store\r\nContent-Length: " +
				strconv.Itoa(size) + "\r\n\r\n")
			raw = append(raw, Body(size)...)
			l.answers[size] = raw
		}
		l.last, l.lastRaw = size, raw
	}
	return l.lastRaw, nil
}

// Body is the body of this size that endpoints send.
func Body(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return b
}
