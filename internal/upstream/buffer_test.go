package upstream

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// What goes in comes out, in order, whatever is read, skipped and bounded.
func TestBufferKeepsEveryByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 100_000).Draw(t, "size")
		limit := rapid.IntRange(1, 64<<10).Draw(t, "limit")
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i * 7 >> 3)
		}
		source := iotest.DataErrReader(bytes.NewReader(want))
		if rapid.Bool().Draw(t, "halves") {
			source = iotest.HalfReader(source)
		}
		var s Buffers
		b := s.Get()
		var got []byte
		for step, ended := 0, false; !ended || len(b.Bytes()) > 0; step++ {
			before := len(b.Bytes())
			n, err := b.Fill(source, limit)
			ended = ended || errors.Is(err, io.EOF)
			switch {
			case errors.Is(err, ErrTooLarge) != (before >= limit):
				t.Fatalf("got %v with %d of %d unread", err, before, limit)
			case len(b.Bytes()) != before+n || len(b.Bytes()) > limit:
				t.Fatalf("got %d unread after %d and %d", len(b.Bytes()), before, n)
			}
			take := len(b.Bytes())
			if step%3 != 0 && take > 1 {
				take /= 2
			}
			got = append(got, b.Bytes()[:take]...)
			b.Skip(take)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got %d other bytes, want %d", len(got), len(want))
		}
		s.Put(b)
	})
}

func TestBuffersForget(t *testing.T) {
	var s Buffers
	b := s.Get()
	if _, err := b.Fill(bytes.NewReader([]byte("secret")), 1<<10); err != nil {
		t.Fatal(err)
	}
	s.Put(b)
	s.Put(nil)
	if got := s.Get().Bytes(); len(got) != 0 {
		t.Errorf("got %q from the user before", got)
	}
}

func TestSkipBeyondPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("got no panic")
		}
	}()
	new(Buffer).Skip(1)
}
