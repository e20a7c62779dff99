package serve

import (
	"net"
	"syscall"
	"testing"
)

// Clients that vanish are noticed: their connections are probed, though nobody asks it of each of them. Those that never
// read cost little of the kernel's memory.
func TestAcceptedConnectionsArePrepared(t *testing.T) {
	nl, err := Options{}.withDefaults().Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	client, err := net.Dial("tcp", nl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatalf("got a %T, want TCP", c)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]struct{ level, option, want int }{
		"SO_KEEPALIVE":      {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE":      {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15},
		"TCP_KEEPINTVL":     {syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15},
		"TCP_KEEPCNT":       {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 9},
		"TCP_NODELAY":       {syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		"TCP_NOTSENT_LOWAT": {syscall.IPPROTO_TCP, 25, 128 << 10},
	} {
		err := raw.Control(func(fd uintptr) {
			if got, err := syscall.GetsockoptInt(int(fd), o.level, o.option); got != o.want || err != nil {
				t.Errorf("%s: got %d, %v, want %d", name, got, err, o.want)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
