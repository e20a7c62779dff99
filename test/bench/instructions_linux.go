package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// counted is what perf counts: instructions in user space, which no neighbour disturbs.
const counted = "instructions:u"

// counts says why perf cannot count here; nil: it can.
func counts(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "perf", "stat", "-x", ",", "-e", counted, "true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("perf stat: %w", err)
	}
	_, err = counter(string(out))
	return err
}

// counter reads what perf stat -x , printed.
func counter(text string) (int, error) {
	for line := range strings.Lines(text) {
		value, rest, ok := strings.Cut(strings.TrimSpace(line), ",")
		if !ok || !strings.Contains(rest, counted) {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, fmt.Errorf("perf stat does not count %s here: it says %s", counted, value)
		}
		return n, nil
	}
	return 0, fmt.Errorf("perf stat said nothing of %s: %q", counted, text)
}

// instructions counts the instructions that a request costs each peer in user space, in a turn of its own.
func (b *bench) instructions(ctx context.Context, o *outcome, runners []*runner) error {
	for i, r := range runners {
		if b.uncounted != nil || o.showings[i].err != nil {
			continue
		}
		var pids []string
		for _, pid := range r.pids() {
			pids = append(pids, strconv.Itoa(pid))
		}
		var said strings.Builder
		perf := exec.CommandContext(ctx, "perf", "stat", "-x", ",", "-e", counted, "-p", strings.Join(pids, ","))
		perf.Stderr = &said
		if err := perf.Start(); err != nil {
			return err
		}
		if err := b.loop.Idle(300 * time.Millisecond); err != nil { // until it has attached itself
			return err
		}
		result, err := b.loop.Do(o.work(r, 0, b.span))
		stopped := perf.Process.Signal(syscall.SIGINT)
		_ = perf.Wait() // a signal ends it, as it should
		if err := errors.Join(err, stopped); err != nil {
			o.showings[i].err = err
			continue
		}
		n, err := counter(said.String())
		if err != nil {
			return err
		}
		o.showings[i].instructions = float64(n) / float64(max(1, result.All))
	}
	return nil
}
