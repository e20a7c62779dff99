package warmer

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	barWidth  = 24
	lineEvery = 5 * time.Second // where there is no terminal
)

// A Bar shows the progress of one warm-up to people: on a terminal a bar that grows, elsewhere a line now and then.
// Its methods are called one at a time.
type Bar struct {
	out      io.Writer
	terminal bool
	shown    float64       // the bar does not go back
	next     time.Duration // of the warm-up: when the next line is due
}

// NewBar returns a bar that writes to out.
func NewBar(out io.Writer, terminal bool) *Bar {
	return &Bar{out: out, terminal: terminal, next: lineEvery}
}

// Terminal says whether somebody looks at f.
func Terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Progress shows how far the warm-up has come.
func (b *Bar) Progress(p Progress) {
	if b.terminal {
		b.shown = max(b.shown, p.Part())
		full := int(b.shown * barWidth)
		fmt.Fprintf(b.out, "\r\x1b[Kwarm-up [%s%s] %s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), p)
		return
	}
	if p.Elapsed >= b.next {
		b.next = p.Elapsed + lineEvery
		fmt.Fprintf(b.out, "warm-up: %s, %s of at most %s\n", p, p.Elapsed.Round(time.Second), p.Time)
	}
}

// End shows what it came to. Nothing is shown of a warm-up that had nothing to send.
func (b *Bar) End(r Result) {
	if r.Ending == None {
		return
	}
	if b.terminal {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
	fmt.Fprintf(b.out, "warm-up: %s\n", r)
}
