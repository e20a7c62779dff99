package http2

import (
	"testing"

	"pgregory.net/rapid"
)

// However the bytes lie, what is looked at eight at a time is judged as one by one.
func TestCleanIsClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.OneOf(rapid.ByteRange('a', 'z'), rapid.SampledFrom([]byte("\x00\t\n\r\x1f \x7e\x7f\x80\xa0\xff"))), 0, 40).Draw(t, "s"))
		if got, want := clean(s), all(s, inValue); got != want {
			t.Errorf("clean(%q) is %v, want %v", s, got, want)
		}
	})
}
