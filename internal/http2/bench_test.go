package http2

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

// echo answers a request with its body and a trailer, as a unary gRPC call is.
func echo(s *Stream) {
	var buf [512]byte
	n := 0
	for {
		k, err := s.ReadBody(buf[n:])
		if n += k; err != nil {
			break
		}
	}
	if s.WriteHead(answerHead, false) == nil {
		_, _ = s.WriteBody(buf[:n], false)
		_ = s.WriteTrailers(answerTrailers)
	}
}

var (
	answerHead     = &Head{Status: 200, Fields: fieldsOf("content-type", "application/grpc")}
	answerTrailers = fieldsOf("grpc-status", "0", "grpc-message", "")
	callHead       = &Head{
		Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte("a.example"), Path: []byte("/package.Service/Method"),
		Fields: fieldsOf("content-type", "application/grpc", "te", "trailers", "user-agent", "bench", "grpc-timeout", "1S"),
	}
	callBody = make([]byte, 100)
)

func call(c *Client, buf []byte) error {
	s, err := c.Open(callHead, false)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.WriteBody(callBody, true); err != nil {
		return err
	}
	if _, err := s.ReadHead(); err != nil {
		return err
	}
	for {
		if _, err := s.ReadBody(buf); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// One operation is a whole call: our client and our server, over the loopback.
func BenchmarkUnary(b *testing.B) {
	for _, secure := range []bool{false, true} {
		l := listen(b, secure)
		go acceptAll(l, &Options{}, echo)
		c := dial(b, l, &Options{}, secure)
		b.Run(fmt.Sprintf("one at a time, tls=%v", secure), func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 512)
			for b.Loop() {
				if err := call(c, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("fifty at a time, tls=%v", secure), func(b *testing.B) {
			b.ReportAllocs()
			var all sync.WaitGroup
			left := make(chan struct{}, 1000)
			for range 50 {
				all.Go(func() {
					buf := make([]byte, 512)
					for range left {
						if err := call(c, buf); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			all.Wait()
		})
	}
}

func BenchmarkDownload(b *testing.B) {
	const size = 1 << 20
	body := make([]byte, size)
	l := listen(b, false)
	go acceptAll(l, &Options{}, func(s *Stream) {
		_ = s.WriteHead(answerHead, false)
		_, _ = s.WriteBody(body, true)
	})
	c := dial(b, l, &Options{}, false)
	b.SetBytes(size)
	b.ReportAllocs()
	buf := make([]byte, 32<<10)
	for b.Loop() {
		if err := call(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCallsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l := listen(t, false)
	go acceptAll(l, &Options{}, echo)
	c := dial(t, l, &Options{}, false)
	buf := make([]byte, 512)
	for range 100 {
		if err := call(c, buf); err != nil {
			t.Fatal(err)
		}
	}
	// Both sides are counted. Everything is used again, the goroutine of the handler too.
	if got := testing.AllocsPerRun(500, func() { _ = call(c, buf) }); got != 0 {
		t.Errorf("a call allocates %v times, want 0", got)
	}
}
