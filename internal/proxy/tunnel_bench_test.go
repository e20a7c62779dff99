package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// BenchmarkTunnel carries frames from the endpoint to a client, with both in the same process: one after another, each
// when the one before has come, and a stream of them.
func BenchmarkTunnel(b *testing.B) {
	for _, c := range []struct {
		name  string
		frame int // bytes of one
		burst int // frames at a time
	}{{"a small frame", 20, 1}, {"small frames", 20, 1600}, {"large frames", 32 << 10, 1}} {
		b.Run(c.name, func(b *testing.B) {
			frame := append([]byte{0x82, 126, byte((c.frame - 4) >> 8), byte(c.frame - 4)}, bytes.Repeat([]byte{'x'}, c.frame-4)...)
			burst := bytes.Repeat(frame, c.burst)
			w := newWorld(b, Options{}, script(b, func(_ int, c *net.TCPConn, r *bufio.Reader) {
				_, _ = readHead(r)
				fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				for {
					if _, err := r.ReadByte(); err != nil {
						return
					}
					if _, err := c.Write(burst); err != nil {
						return
					}
				}
			}))
			c := w.dial()
			c.say("GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n")
			if head, err := readHead(c.r); err != nil || !strings.Contains(head[0], "101") {
				b.Fatal(head, err)
			}
			got := make([]byte, len(burst))
			b.SetBytes(int64(len(burst)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(burst[:1]); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c.r, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
