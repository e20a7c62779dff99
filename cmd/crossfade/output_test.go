package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestOutputNeverKeepsAWriterWaiting(t *testing.T) {
	r, w := io.Pipe() // nobody reads yet
	o := newOutput(w)
	for i := range 2 * queued {
		if n, err := fmt.Fprintf(o, "line %d\n", i); n == 0 || err != nil {
			t.Fatalf("write %d: %d bytes, %v", i, n, err)
		}
	}
	var got bytes.Buffer
	read := make(chan error, 1)
	go func() {
		_, err := got.ReadFrom(r)
		read <- err
	}()
	o.Close(nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(got.String(), "line ")
	var missing int
	for line := range strings.Lines(got.String()) {
		var n int
		if _, err := fmt.Sscanf(line, "crossfade: %d lines are missing here", &n); err == nil {
			missing += n
		}
	}
	if lines+missing != 2*queued {
		t.Errorf("%d lines came and %d were told missing, want %d in all", lines, missing, 2*queued)
	}
	if missing == 0 || lines < queued {
		t.Errorf("%d lines came and %d are missing, want at least %d and some", lines, missing, queued)
	}
}

func TestOutputDoesNotWaitForEverAtTheEnd(t *testing.T) {
	_, w := io.Pipe()
	o := newOutput(w)
	fmt.Fprintln(o, "nobody reads this")
	over := make(chan struct{})
	close(over)
	o.Close(over)
	if n, err := fmt.Fprintln(o, "nor this, and it does no harm"); n == 0 || err != nil {
		t.Errorf("write after the end: %d bytes, %v, want no error", n, err)
	}
}
