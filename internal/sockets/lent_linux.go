package sockets

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lookEvery bounds for how long a connection waits for whom nobody looks: because who was woken for it was killed
// before.
const lookEvery = time.Second

// lent is a socket that other processes accept from too; see the package comment. It is Go's own but for when and
// how Go's poller, which is an epoll set, hears of connections: while somebody accepts, and then exclusively.
type lent struct {
	*net.TCPListener
	raw   syscall.RawConn
	set   int // Go's poller; -1 where we have not found it: connections then wake all who wait
	event unix.EpollEvent

	mu      sync.Mutex
	armed   bool        // the poller hears of connections
	waiting bool        // it is to
	again   *time.Timer // for look, while waiting
}

// adopt makes a lent socket of f, with a descriptor of its own.
func adopt(f *os.File) (source, error) {
	var failed error
	err := control(f, func(fd int) {
		if _, failed = listeningAt(fd); failed == nil {
			failed = errors.Join(neverBlock(fd), prepare(fd))
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	nl, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := nl.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("got a %T", nl), nl.Close())
	}
	l, err := newLent(tcp)
	if err != nil {
		return nil, errors.Join(err, nl.Close())
	}
	return l, nil
}

func newLent(tcp *net.TCPListener) (*lent, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &lent{TCPListener: tcp, raw: raw}
	l.again = time.AfterFunc(lookEvery, l.look) // which does nothing before wait
	l.again.Stop()
	var registered uint64
	err = l.control(func(fd int) { l.set, registered = takeOut(fd) })
	l.event = eventOf(registered)
	return l, err
}

// eventOf returns what the poller is to hear of connections, as what. x/sys has that value in two halves.
func eventOf(registered uint64) unix.EpollEvent {
	halves := binary.NativeEndian.AppendUint64(nil, registered)
	return unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLET | unix.EPOLLEXCLUSIVE,
		Fd:     int32(binary.NativeEndian.Uint32(halves)),
		Pad:    int32(binary.NativeEndian.Uint32(halves[4:])),
	}
}

// takeOut takes fd out of the epoll set that it is in. It returns that set, and what fd was registered as there: the
// runtime's word for it, which is to be handed back as it is. The set is -1 if there is none. One that names the same
// number and cannot let go of fd is somebody else's, whose program has left it to us.
func takeOut(fd int) (set int, registered uint64) {
	for _, set := range descriptors() {
		link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(set))
		if err != nil || link != "anon_inode:[eventpoll]" {
			continue
		}
		info, err := os.Open("/proc/self/fdinfo/" + strconv.Itoa(set))
		if err != nil {
			continue
		}
		registered, found := registrationOf(fd, bufio.NewScanner(info))
		_ = info.Close() // it was only read
		if found && unix.EpollCtl(set, unix.EPOLL_CTL_DEL, fd, nil) == nil {
			return set, registered
		}
	}
	return -1, 0
}

// descriptors returns those that are open, in order: the poller's is among the first that a program opens.
func descriptors() []int {
	names, _ := os.ReadDir("/proc/self/fd") // none, where there is no /proc
	all := make([]int, 0, len(names))
	for _, name := range names {
		if fd, err := strconv.Atoi(name.Name()); err == nil {
			all = append(all, fd)
		}
	}
	slices.Sort(all)
	return all
}

// registrationOf finds fd in what the kernel says of an epoll set: for each descriptor a line as
// "tfd: 5 events: 8000201d data: 7f2c5a3dff00 pos:0 ino:1a2b sdev:9", numbers but the first in base 16.
func registrationOf(fd int, lines *bufio.Scanner) (registered uint64, found bool) {
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 6 || words[0] != "tfd:" || words[1] != strconv.Itoa(fd) || words[4] != "data:" {
			continue
		}
		events, err := strconv.ParseUint(words[3], 16, 32)
		if err != nil || events&unix.EPOLLET == 0 {
			return 0, false // that is not how the runtime does it
		}
		registered, err = strconv.ParseUint(words[5], 16, 64)
		return registered, err == nil
	}
	return 0, false
}

// Accept is source's.
func (l *lent) Accept() (net.Conn, error) {
	if err := l.wait(); err != nil {
		return nil, err
	}
	defer l.rest()
	return l.TCPListener.Accept()
}

// wait has the poller hear of connections. Whoever comes last is woken last.
func (l *lent) wait() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.arm(); err != nil {
		return err
	}
	l.waiting = true
	l.again.Reset(lookEvery)
	return nil
}

// rest ends that: who does not accept is not to be woken in the place of somebody who does.
func (l *lent) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	l.again.Stop()
	l.disarm()
}

// look has the kernel look whether somebody waits in the queue, as it does whenever it is told of a descriptor.
func (l *lent) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.waiting {
		return
	}
	l.disarm()
	_ = l.arm() // when it fails, for want of memory, there is a next time
	l.again.Reset(lookEvery)
}

// arm is called with mu.
func (l *lent) arm() error {
	err := l.change(unix.EPOLL_CTL_ADD)
	l.armed = err == nil
	return err
}

// disarm is called with mu.
func (l *lent) disarm() {
	if l.armed {
		l.armed = false
		_ = l.change(unix.EPOLL_CTL_DEL) // when it fails the listener is closed, and has done it itself
	}
}

// change tells the poller of the socket, or to forget it. That is safe for as long as the listener is open, and no
// longer: its word is a pointer. Control sees to that.
func (l *lent) change(how int) error {
	if l.set < 0 {
		return nil
	}
	var failed error
	err := l.control(func(fd int) {
		failed = os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.set, how, fd, &l.event))
	})
	return errors.Join(err, failed)
}

func (l *lent) control(f func(fd int)) error {
	return l.raw.Control(func(fd uintptr) { f(int(fd)) })
}
