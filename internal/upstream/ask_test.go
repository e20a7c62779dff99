package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/evidence"
)

// asker is a connection to an endpoint that the test plays.
func asker(t testing.TB) (ours *Conn, theirs net.Conn) {
	t.Helper()
	e := listen(t)
	p := New(e.addr, Options{}, new(evidence.Traffic))
	ours = get(t, p, time.Now())
	theirs = <-e.conns
	t.Cleanup(func() {
		_ = ours.Close()
		_ = theirs.Close()
	})
	if !ours.Asks() {
		t.Fatal("a plaintext socket cannot ask")
	}
	return ours, theirs
}

func TestAskBringsTheFirstOfTheAnswer(t *testing.T) {
	ours, theirs := asker(t)
	go func() {
		word := make([]byte, 4)
		_, _ = io.ReadFull(theirs, word)
		_, _ = fmt.Fprintf(theirs, "%s yes", word)
	}()
	sent, err := ours.Ask([]byte("well"), 1<<10)
	if sent != 4 || err != nil || string(ours.Buffer.Bytes()) != "well yes" {
		t.Errorf("got %d sent, %v, %q, want 4 and the answer", sent, err, ours.Buffer.Bytes())
	}
}

// An answer that is late is heard afterwards.
func TestAskObeysTheDeadline(t *testing.T) {
	ours, theirs := asker(t)
	if err := ours.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	sent, err := ours.Ask([]byte("well"), 1<<10)
	if sent != 4 || !errors.Is(err, os.ErrDeadlineExceeded) || len(ours.Buffer.Bytes()) > 0 {
		t.Fatalf("got %d sent, %v, %q, want 4 and the deadline", sent, err, ours.Buffer.Bytes())
	}
	if err := ours.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Write([]byte("yes")); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Buffer.Fill(ours, 1<<10); err != nil || string(ours.Buffer.Bytes()) != "yes" {
		t.Errorf("got %q, %v, want the answer", ours.Buffer.Bytes(), err)
	}
}

// A request that the socket does not take whole is the caller's again, from the byte on that it stopped at.
func TestAskSaysHowMuchWasTaken(t *testing.T) {
	ours, theirs := asker(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	sent, err := ours.Ask(want, 1<<10)
	if sent == 0 || sent >= len(want) || !errors.Is(err, ErrLater) {
		t.Fatalf("got %d sent, %v, want a part of %d and ErrLater", sent, err, len(want))
	}
	go func() { _, _ = ours.Write(want[sent:]) }()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got other bytes, or %v", err)
	}
}

func TestAskHearsTheEnd(t *testing.T) {
	for name, end := range map[string]func(c *net.TCPConn) error{
		"closed":      func(c *net.TCPConn) error { return c.Close() },
		"half closed": func(c *net.TCPConn) error { return c.CloseWrite() },
		"reset":       func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := asker(t)
			tcp, ok := theirs.(*net.TCPConn)
			if !ok {
				t.Fatal("not TCP")
			}
			ended := make(chan error)
			go func() {
				_, _ = io.ReadFull(tcp, make([]byte, 4))
				ended <- end(tcp)
			}()
			sent, err := ours.Ask([]byte("well"), 1<<10)
			if sent != 4 || err == nil || len(ours.Buffer.Bytes()) > 0 {
				t.Errorf("got %d sent, %v, want 4 and the end", sent, err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAskAllocatesNothing(t *testing.T) {
	ours, theirs := asker(t)
	go func() { _, _ = io.Copy(theirs, theirs) }()
	word := []byte("well")
	once := func() {
		if _, err := ours.Ask(word, 1<<10); err != nil {
			t.Fatal(err)
		}
		ours.Buffer.Skip(len(ours.Buffer.Bytes()))
	}
	once()
	if got := testing.AllocsPerRun(500, once); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

// What Lead returns is the head and the bytes that were unread, whatever was read and skipped before.
func TestLead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		read := rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(t, "read")
		skipped := rapid.IntRange(0, len(read)).Draw(t, "skipped")
		taken := rapid.IntRange(0, len(read)-skipped).Draw(t, "taken")
		head := rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "head")
		b := new(Buffers).Get()
		if _, err := b.Fill(bytes.NewReader(read), 1<<20); err != nil {
			t.Fatal(err)
		}
		b.Skip(skipped)
		piece, ok := b.Lead(head, taken)
		rest := read[skipped:]
		if ok {
			want := append(append([]byte{}, head...), rest[:taken]...)
			if !bytes.Equal(piece, want) {
				t.Fatalf("got %d other bytes, want %d", len(piece), len(want))
			}
			rest = rest[taken:]
		} else if len(head) <= bufferLead {
			t.Fatalf("there is no room for a head of %d", len(head))
		}
		if !bytes.Equal(b.Bytes(), rest) {
			t.Fatalf("got %d others unread, want %d", len(b.Bytes()), len(rest))
		}
	})
}

func BenchmarkAsk(b *testing.B) {
	ours, theirs := asker(b)
	go func() { _, _ = io.Copy(theirs, theirs) }()
	word := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ours.Ask(word, 1<<10); err != nil {
			b.Fatal(err)
		}
		ours.Buffer.Skip(len(ours.Buffer.Bytes()))
	}
}
