//go:build integration

package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A test waits more than it works, and its world binds fixed ports. So each test is a process with a network of its own,
// and several run at once; the order is that of the files. Where a test is asked for by name, or the machine gives no
// networks, they run one after the other in this process.

// aloneVariable is set in a process that runs one test.
const aloneVariable = "CROSSFADE_E2E_ALONE"

// abreast is how many tests run at once: they wait more than they work, and a machine of two cores has time for three.
const abreast = 3

// patience ends what hangs. The longest test takes a quarter of it.
const patience = 12 * time.Minute

// runAll runs every test, and returns the exit code.
func runAll(m *testing.M) int {
	flag.Parse()
	switch {
	case set("test.list"):
		return m.Run()
	case os.Getenv(aloneVariable) != "":
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: ip link set lo up: %v: %s", err, out)
			return 1
		}
		return m.Run()
	case set("test.run") || full() || !networks():
		return m.Run()
	}
	list := exec.Command(os.Args[0], "-test.list", ".")
	list.Env = append(os.Environ(), aloneVariable+"=1")
	listed, err := list.Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: list the tests:", err)
		return 1
	}
	tests := make(chan string)
	var workers sync.WaitGroup
	var mu sync.Mutex // guards what follows, and the output
	failed := 0
	for range abreast {
		workers.Go(func() {
			for test := range tests {
				began := time.Now()
				out, err := runAlone(test)
				mu.Lock()
				if err != nil {
					failed++
					os.Stdout.Write(out)
				} else if testing.Verbose() {
					os.Stdout.Write(out)
				}
				fmt.Fprintf(os.Stdout, "%-7s %-45s %6.1f s\n", map[bool]string{true: "ok", false: "FAILED"}[err == nil], test, time.Since(began).Seconds())
				mu.Unlock()
			}
		})
	}
	for test := range strings.FieldsSeq(string(listed)) {
		tests <- test
	}
	close(tests)
	workers.Wait()
	if failed > 0 {
		fmt.Fprintln(os.Stdout, failed, "tests failed")
		return 1
	}
	return 0
}

func set(name string) bool { return flag.Lookup(name).Value.String() != "" }

// networks says whether this machine gives a process a network of its own.
func networks() bool {
	cmd := exec.Command("ip", "link", "set", "lo", "up")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	return cmd.Run() == nil
}

// runAlone runs one test in a process, with a network of its own.
func runAlone(test string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.v", "-test.run", "^"+test+"$", "-test.timeout", patience.String())
	cmd.Env = append(os.Environ(), aloneVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Minute
	err := cmd.Run()
	return out.Bytes(), err
}
