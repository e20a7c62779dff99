package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// profile gives the peer that is to be profiled one more turn, under perf, and writes where its time went.
func (b *bench) profile(ctx context.Context, it item, runners []*runner) error {
	for i, r := range runners {
		if r.name != b.profiled || r.dead != nil {
			continue
		}
		text, err := b.record(ctx, it, runners[i])
		if err != nil {
			return fmt.Errorf("a profile of %s: %w", r.name, err)
		}
		path := filepath.Join(b.dir, "profile-"+it.name+".txt")
		fmt.Fprintf(b.out, "  profile of %s: %s\n", r.name, path)
		return os.WriteFile(path, []byte(text), 0o600)
	}
	return nil
}

func (b *bench) record(ctx context.Context, it item, r *runner) (string, error) {
	var pids []string
	for _, pid := range r.pids() {
		pids = append(pids, strconv.Itoa(pid))
	}
	file := filepath.Join(r.dir, it.name+".perf")
	perf := exec.CommandContext(ctx, "perf", "record", "-q", "-e", "cpu-clock", "-F", "2999", "-g", "-p", strings.Join(pids, ","), "-o", file)
	if err := perf.Start(); err != nil {
		return "", err
	}
	if err := b.loop.Idle(500 * time.Millisecond); err != nil { // until it has attached itself
		return "", err
	}
	_, err := b.loop.Do(it.work(r, b.warm, 5*time.Second))
	stopped := perf.Process.Signal(syscall.SIGINT)
	_ = perf.Wait() // a signal ends it, as it should
	if err := errors.Join(err, stopped); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, how := range [][]string{
		{"--no-children", "--sort", "dso"},
		{"--no-children", "--sort", "sym", "--percent-limit", "0.1"},
		{"--children", "--sort", "sym", "--percent-limit", "0.5"},
	} {
		args := append([]string{"report", "-i", file, "--stdio", "-g", "none"}, how...)
		out, err := exec.CommandContext(ctx, "perf", args...).Output()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "%s\n%s\n", strings.Join(how, " "), out)
	}
	return text.String(), nil
}
