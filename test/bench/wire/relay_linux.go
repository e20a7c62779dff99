package wire

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

// nap is how long a wait for events may be, in milliseconds.
const nap = 100

// Relay copies bytes between the connections to one port of 127.0.0.1 and connections to another, and does nothing
// else: the least that anything in between can cost. It returns only an error.
func Relay(from, to int) error {
	runtime.LockOSThread()
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create: %w", err)
	}
	at, err := listen(local(from))
	if err != nil {
		return err
	}
	if err := watch(epfd, at, syscall.EPOLLIN); err != nil {
		return err
	}
	r := relay{epfd: epfd, scratch: make([]byte, 64<<10)}
	events := make([]syscall.EpollEvent, 256)
	for {
		n, err := wait(epfd, events, nap)
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			if int(e.Fd) == at {
				err = r.accept(at, local(to))
			} else {
				err = r.move(int(e.Fd), e.Events)
			}
			if err != nil {
				return err
			}
		}
	}
}

// A relay knows the other end of every connection.
type relay struct {
	epfd    int
	scratch []byte
	peer    []int    // by file descriptor: the other end, 0 for none
	unsent  [][]byte // by file descriptor: what could not be written to it yet
}

func (r *relay) accept(at int, to *syscall.SockaddrInet4) error {
	for {
		a, err := accept(at)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ECONNABORTED) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		b, err := dial(to)
		if err != nil {
			return err
		}
		for len(r.peer) <= max(a, b) {
			r.peer = append(r.peer, 0)
			r.unsent = append(r.unsent, nil)
		}
		r.peer[a], r.peer[b] = b, a
		if err := errors.Join(watch(r.epfd, a, syscall.EPOLLIN), watch(r.epfd, b, syscall.EPOLLIN)); err != nil {
			return err
		}
	}
}

func (r *relay) move(fd int, events uint32) error {
	other := r.peer[fd]
	if other == 0 {
		return nil // closed earlier in this batch
	}
	if events&syscall.EPOLLOUT != 0 && len(r.unsent[fd]) > 0 {
		b := r.unsent[fd]
		r.unsent[fd] = nil
		if err := rewatch(r.epfd, fd, syscall.EPOLLIN); err != nil {
			return err
		}
		return r.push(fd, b)
	}
	if len(r.unsent[other]) > 0 {
		return nil // it is full; level-triggered, we come again
	}
	n, failed := read(fd, r.scratch)
	switch {
	case failed == later:
		return nil
	case failed != 0 || n == 0:
		r.peer[fd], r.peer[other] = 0, 0
		return errors.Join(syscall.Close(fd), syscall.Close(other))
	}
	return r.push(other, r.scratch[:n])
}

func (r *relay) push(fd int, b []byte) error {
	n, failed := write(fd, b)
	switch {
	case failed == later:
		n = 0
	case failed != 0:
		return nil // the end is noticed when it is read
	}
	if n < len(b) {
		r.unsent[fd] = append([]byte(nil), b[n:]...)
		return rewatch(r.epfd, fd, syscall.EPOLLIN|syscall.EPOLLOUT)
	}
	return nil
}
