package proxy

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawFabric draws bytes with seams, and where those are; the beginning is one.
func drawFabric(t *rapid.T, of fabric) (b []byte, at []int) {
	at = []int{0}
	for range rapid.IntRange(0, 8).Draw(t, "pieces") {
		payload := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload")
		if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			payload = make([]byte, 1<<16+3)
		}
		switch of {
		case messages:
			b = binary.BigEndian.AppendUint32(append(b, rapid.Byte().Draw(t, "flags")&1), uint32(len(payload))) //nolint:gosec // short
			b = append(b, payload...)
		case frames:
			b = append(appendFrameHead(b, rapid.SampledFrom([]byte{0, 1, 2, 9, 0x80, 0x81, 0x8a, 0xc1}).Draw(t, "first"), len(payload), rapid.Bool().Draw(t, "mask")), payload...)
		case events:
			end := rapid.SampledFrom([]string{"\n", "\r", "\r\n"})
			for range rapid.IntRange(1, 3).Draw(t, "lines") {
				line := rapid.StringMatching(`[a-z: ]{1,9}`).Draw(t, "line")
				b = append(b, line...)
				b = append(b, end.Draw(t, "end")...)
			}
			// Of a line feed that may belong to the CR before it, nobody knows whether it ends another line: it does not.
			last := end.Draw(t, "end")
			if b[len(b)-1] == '\r' && last == "\n" {
				last = "\r"
			}
			b = append(b, last...)
		case seamless:
		}
		at = append(at, len(b))
	}
	return b, at
}

// appendFrameHead writes the head of a frame, in a length that need not be the shortest.
func appendFrameHead(b []byte, first byte, n int, mask bool) []byte {
	second := byte(0)
	if mask {
		second = 0x80
	}
	switch b = append(b, first); {
	case n < 126:
		b = append(b, second|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, second|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, second|127), uint64(n)) //nolint:gosec // a length
	}
	if mask {
		b = append(b, 1, 2, 3, 4)
	}
	return b
}

// Seams are found wherever they are, in whatever pieces the bytes come; and who is to stop does at the first one.
func TestSeamsAreFound(t *testing.T) {
	for _, of := range []fabric{frames, messages, events} {
		rapid.Check(t, func(t *rapid.T) {
			b, at := drawFabric(t, of)
			var s seams
			s.start(of)
			stops := rapid.IntRange(0, len(b)).Draw(t, "stops")
			pos := 0
			for pos < len(b) {
				if s.at() != slices.Contains(at, pos) && (of != events || !betweenCRLF(b, pos)) {
					t.Fatalf("%d: after %d of %d bytes: at a seam is %t, want %t of %v", of, pos, len(b), s.at(), !s.at(), at)
				}
				stop := pos >= stops
				end := min(len(b), pos+rapid.IntRange(1, 70_000).Draw(t, "piece"))
				n := s.pass(b[pos:end], stop)
				if stop {
					next, _ := slices.BinarySearch(at, pos)
					if want := min(at[next], end) - pos; n != want && (of != events || !betweenCRLF(b, pos+n) && !betweenCRLF(b, pos)) {
						t.Fatalf("%d: from %d to %d: %d passed before the stop, want %d: seams at %v", of, pos, end, n, want, at)
					}
					if s.at() {
						return
					}
				} else if n != end-pos {
					t.Fatalf("%d: %d of %d passed", of, n, end-pos)
				}
				pos += n
			}
			if !s.at() {
				t.Fatalf("%d: the end is no seam after %q", of, b[max(0, len(b)-20):])
			}
		})
	}
}

// betweenCRLF says whether the two bytes of an end of line lie on either side of a place: a seam is on both.
func betweenCRLF(b []byte, at int) bool {
	return at > 0 && at < len(b) && b[at-1] == '\r' && b[at] == '\n'
}

// Frames that close are known, at whatever byte they are parted.
func TestSeamsKnowAClose(t *testing.T) {
	for _, text := range []string{hi + away, hi + reply, fragment + ping + bye} {
		var s seams
		s.start(frames)
		for i := range len(text) {
			s.pass([]byte{text[i]}, false)
		}
		if !s.over || !s.at() {
			t.Errorf("%q: got over %t, at %t; want both", text, s.over, s.at())
		}
	}
	var s seams
	s.start(frames)
	if s.pass([]byte(hi+hi+ping), false); s.over {
		t.Error("nobody has closed")
	}
}

// To follow frames costs next to nothing, and no memory.
func BenchmarkSeams(b *testing.B) {
	for _, c := range []struct {
		name string
		of   fabric
		text []byte
	}{
		{"small frames", frames, bytes.Repeat([]byte("\x81\x10................"), 32<<10/18)},
		{"a large frame", frames, append(appendFrameHead(nil, 0x82, 32<<10-4, false), make([]byte, 32<<10-4)...)},
		{"small messages", messages, bytes.Repeat([]byte("\x00\x00\x00\x00\x10................"), 32<<10/21)},
		{"events", events, bytes.Repeat([]byte("data: ................\n\n"), 32<<10/24)},
	} {
		b.Run(c.name, func(b *testing.B) {
			var s seams
			s.start(c.of)
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				s.pass(c.text, false)
			}
		})
	}
}
