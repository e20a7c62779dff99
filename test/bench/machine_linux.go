package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// machine says where it was measured: what the figures depend on, and nothing that names the place.
func machine() []string {
	var lines []string
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				lines = append(lines, fmt.Sprintf("%s, %d cores%s", strings.TrimSpace(value), cores(b), virtual(b)))
				break
			}
		}
	}
	kernel := "Linux"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		release, _, _ := strings.Cut(string(bytes.TrimSpace(b)), "-")
		kernel += " " + release
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		kernel += ", TCP " + string(bytes.TrimSpace(b))
	}
	var bare time.Duration
	const calls = 200_000
	start := time.Now()
	for range calls {
		_, _, _ = syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
	}
	bare = time.Since(start) / calls
	return append(lines, fmt.Sprintf("%s; an empty system call took %v", kernel, bare), runtime.Version())
}

func cores(cpuinfo []byte) int { return bytes.Count(cpuinfo, []byte("processor\t:")) }

func virtual(cpuinfo []byte) string {
	if bytes.Contains(cpuinfo, []byte(" hypervisor")) {
		return ", virtual"
	}
	return ""
}

// versions asks every peer for its version.
func versions(ctx context.Context, peers []peer) map[string]string {
	all := map[string]string{}
	for _, p := range peers {
		if len(p.version) == 0 {
			all[p.name] = runtime.Version()
			continue
		}
		out, err := exec.CommandContext(ctx, p.version[0], p.version[1:]...).CombinedOutput()
		if err != nil {
			all[p.name] = "unknown: " + err.Error()
			continue
		}
		all[p.name] = number(string(out))
	}
	return all
}

// number returns the first word that looks like a version: two or more dots or a hash, with a digit in front.
func number(text string) string {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n/,", r) }) {
		word = strings.TrimPrefix(word, "v")
		if strings.Count(word, ".") >= 2 && word[0] >= '0' && word[0] <= '9' {
			return word
		}
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return "unknown"
	}
	return words[len(words)-1]
}
