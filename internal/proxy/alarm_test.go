package proxy

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/upstream"
)

// Who takes nothing has the whole of its time and no more, although the alarm may ring early; who takes a little at a
// time has all the time it needs.
func TestAWriterWaitsForAsLongAsItSays(t *testing.T) {
	const stall = time.Minute
	for _, tc := range []struct {
		name  string
		reads func(net.Conn)
		sent  int
		err   error
		after time.Duration
	}{
		{"nothing is taken", func(net.Conn) {}, 0, os.ErrDeadlineExceeded, stall},
		{"a byte, then nothing", func(c net.Conn) { read(c, 50*time.Second, 1) }, 1, os.ErrDeadlineExceeded, 60*time.Second + stall},
		{"a byte now and then", func(c net.Conn) { read(c, 50*time.Second, 10) }, 10, nil, 500 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer near.Close()
				defer far.Close()
				var a upstream.Alarm
				a.Move(time.Now(), time.Now().Add(stall))
				if err := near.SetWriteDeadline(time.Now().Add(stall)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(stall / 4) // the alarm was set for something earlier
				began := time.Now()
				go tc.reads(far)
				sent, err := writeAll(near, &a, make([]byte, 10), patience{stall: stall})
				if took := time.Since(began); sent != tc.sent || !errors.Is(err, tc.err) || took != tc.after {
					t.Errorf("got %d, %v after %v; want %d, %v after %v", sent, err, took, tc.sent, tc.err, tc.after)
				}
			})
		})
	}
}

// read takes one byte after each pause.
func read(c net.Conn, pause time.Duration, times int) {
	for range times {
		time.Sleep(pause)
		_, _ = c.Read(make([]byte, 1))
	}
}

// Somebody else's deadline ends the writing at once: it is how one is roused who writes.
func TestAWriterIsRoused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			_ = near.SetWriteDeadline(time.Now().Add(time.Second))
		}()
		var a upstream.Alarm
		sent, err := writeAll(near, &a, make([]byte, 10), patience{stall: time.Minute})
		if took := time.Since(began); sent != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || took != 2*time.Second {
			t.Errorf("got %d, %v after %v; want nothing after 2 s", sent, err, took)
		}
	})
}
