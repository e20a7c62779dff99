package http2

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"

	"crossfade.dev/internal/http1"
)

// A dialogue is an encoder with the decoder that heard everything it said.
type dialogue struct {
	enc *encoder
	dec *hpack.Decoder
	got []string
}

func newDialogue() *dialogue {
	d := &dialogue{enc: newEncoder(false)}
	d.dec = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { d.got = append(d.got, f.Name+"="+f.Value) })
	return d
}

// say returns how many bytes the fields take, and what the decoder makes of them.
func (d *dialogue) say(fields []http1.Field) (size int, got []string, err error) {
	d.enc.begin(nil, &d.enc.first)
	d.enc.fields(fields, false)
	b := d.enc.end()
	d.got = nil
	if _, err = d.dec.Write(b); err == nil {
		err = d.dec.Close()
	}
	return len(b), d.got, err
}

func TestFieldsAreLearnedAtSecondSight(t *testing.T) {
	d := newDialogue()
	size := func(pairs ...string) int {
		n, _, err := d.say(fieldsOf(pairs...))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first, second, third := size("x-common", "every time"), size("x-common", "every time"), size("x-common", "every time")
	if first != second || third != 1 {
		t.Errorf("took %d, %d and %d bytes, want an index of the table the third time", first, second, third)
	}
	secret := size("authorization", "every time")
	for range 3 {
		if again := size("authorization", "every time"); again != secret {
			t.Errorf("a secret takes %d bytes, then %d: it was put into the table", secret, again)
		}
	}
	for i := range 10_000 { // what comes once displaces nothing
		size("x-request-id", strconv.Itoa(i))
	}
	if again := size("x-common", "every time"); again != 1 {
		t.Errorf("took %d bytes after many strangers, want an index of the table", again)
	}
}

// Whatever is written, in whatever order, is read as it was; names in small letters. It is, too, when the table
// overflows, and when the peer changes its size.
func TestEncoderIsUnderstood(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDialogue()
		name := rapid.SampledFrom([]string{"a", "X-Long-Name", "cookie", "date", "etag", "set-cookie", "Server"})
		value := rapid.OneOf(rapid.SampledFrom([]string{"", "1", "common", strings.Repeat("x", 600), strings.Repeat("y", 400), strings.Repeat("z", 450)}), rapid.StringMatching(`[ -~]{0,40}`))
		for range rapid.IntRange(1, 60).Draw(t, "heads") {
			if rapid.IntRange(0, 9).Draw(t, "resize") == 0 {
				d.enc.resize(rapid.SampledFrom([]int{0, 40, 1000, tableSize}).Draw(t, "size"))
			}
			var fields []http1.Field
			var want []string
			for range rapid.IntRange(0, 12).Draw(t, "fields") {
				n, v := name.Draw(t, "name"), value.Draw(t, "value")
				fields = append(fields, fieldsOf(n, v)...)
				want = append(want, strings.ToLower(n)+"="+v)
			}
			_, got, err := d.say(fields)
			for i := range fields { // the encoder must have kept nothing of these
				clear(fields[i].Name)
				clear(fields[i].Value)
			}
			if d.enc.size > d.enc.most {
				t.Fatalf("the table holds %d bytes, want %d at most", d.enc.size, d.enc.most)
			}
			if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		}
	})
}

// A field of the fixed table is one byte once it has been seen; before that, its name is short at least.
func TestFixedTable(t *testing.T) {
	const name, value = "accept-encoding", "gzip, deflate"
	d := newDialogue()
	for i, want := range []int{2 + 1 + len(value), 1, 1} {
		n, _, err := d.say(fieldsOf(name, value))
		if err != nil || n > want {
			t.Errorf("time %d: took %d bytes, %v, want %d at most", i+1, n, err, want)
		}
	}
}
