package sockets

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Clients that vanish are noticed: their connections are probed, though nobody asks it of each of them. Those that never
// read cost little of the kernel's memory. It is the same whoever opened the socket.
func TestAcceptedConnectionsArePrepared(t *testing.T) {
	own, err := Open(t.Context(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	_, lent := lend(t, OwnerOptions{}).borrow(anyPort)
	f, _ := socketFile(t, "tcp", anyPort)
	foreign, err := listening(f, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, nl := range map[string]*Listener{"own": own, "lent": lent, "foreign": foreign} {
		client, err := net.Dial("tcp", nl.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := nl.Accept()
		if err != nil {
			t.Fatal(err)
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			t.Fatalf("%s: got a %T, want TCP", name, c)
		}
		options(t, name, tcp)
		client.Close()
		c.Close()
		if err := nl.Leave(refuse(t), false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func options(t *testing.T, name string, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, o := range map[string]struct{ level, option, want int }{
		"SO_KEEPALIVE":      {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE":      {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		"TCP_KEEPINTVL":     {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		"TCP_KEEPCNT":       {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
		"TCP_NODELAY":       {unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		"TCP_NOTSENT_LOWAT": {unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 128 << 10},
	} {
		err := raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.option); got != o.want || err != nil {
				t.Errorf("%s, %s: got %d, %v, want %d", name, option, got, err, o.want)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Where there are no filters, a socket that is left demands a time to live that nobody's segments have, and drops what
// would begin a handshake. Whoever ended one after that is spoken with all the same.
func TestConnectionsDoNotInheritDeafness(t *testing.T) {
	k, err := Open(t.Context(), "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	_, port, err := net.SplitHostPort(k.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var deaf error
	err = k.control(func(fd int) {
		deaf = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1), deafen(fd))
	})
	if err := errors.Join(err, deaf); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		address := net.JoinHostPort(host, port)
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		if nc, err := d.Dial("tcp", address); err == nil {
			nc.Close()
			t.Errorf("%s: a handshake began with a socket that is deaf", host)
		}
		d = net.Dialer{Timeout: 20 * time.Second, Control: func(_, _ string, raw syscall.RawConn) error { return reach(raw, farthest) }}
		client, err := d.Dial("tcp", address) // as if its handshake had begun before
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		raw, err := client.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var accepted net.Conn
		taken := k.control(func(fd int) { accepted, err = acceptNow(fd) })
		if err := errors.Join(err, taken, reach(raw, 64)); err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		if _, err := client.Write([]byte("?")); err != nil {
			t.Fatal(err)
		}
		if err := accepted.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := accepted.Read(make([]byte, 1)); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// reach sets the time to live of what a socket sends.
func reach(raw syscall.RawConn, ttl int) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, ttl)
		if domain, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); domain == unix.AF_INET6 {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
		}
	})
	return errors.Join(err, failed)
}

// What the kernel says of an epoll set is taken only where it is as the runtime does it.
func TestRegistrationOf(t *testing.T) {
	const info = `pos:	0
flags:	02
mnt_id:	15
tfd:        3 events:       19 data: 7f0000000001  pos:0 ino:1 sdev:9
tfd:       11 events: 80002019 data: 3f9edce14c000001  pos:0 ino:35d2e8b sdev:9
tfd:       12 events: 80002019 data: no number  pos:0 ino:35d2e8b sdev:9
tfd:       13 events:
`
	for fd, want := range map[int]uint64{3: 0, 11: 0x3f9edce14c000001, 12: 0, 13: 0, 1: 0} {
		got, found := registrationOf(fd, bufio.NewScanner(strings.NewReader(info)))
		if got != want || found != (want != 0) {
			t.Errorf("descriptor %d: got %x, %t; want %x", fd, got, found, want)
		}
	}
}
