package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are what is measured, and how.
type options struct {
	root   string    // of the repository
	dir    string    // for configuration and logs
	out    io.Writer // for people
	items  []item
	peers  []peer // the floor first
	rounds int
	warm   time.Duration // of each turn
	span   time.Duration // of each turn, measured
	idlers int           // connections
	full   bool          // every peer is measured, as often as it should be

	profiled  string // the peer whose profile is taken
	uncounted error  // why instructions are not counted
}

// usual is how many rounds there are.
const usual = 7

func readOptions() (options, error) {
	o := options{profiled: os.Getenv("BENCH_PROFILE"), rounds: usual, warm: 100 * time.Millisecond, span: 500 * time.Millisecond}
	root, err := os.Getwd()
	if err != nil {
		return o, err
	}
	o.root = root
	o.dir = filepath.Join(root, ".cache", "bench")
	if err := os.RemoveAll(o.dir); err != nil {
		return o, err
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return o, err
	}
	if text := os.Getenv("BENCH_ROUNDS"); text != "" {
		if o.rounds, err = strconv.Atoi(text); err != nil || o.rounds < 1 {
			return o, fmt.Errorf("BENCH_ROUNDS=%s: want a number, 1 or more", text)
		}
	}
	o.full = o.rounds >= usual
	var names []string
	for _, it := range items() {
		names = append(names, it.name)
	}
	wanted, err := chosen("BENCH", names)
	if err != nil {
		return o, err
	}
	for _, it := range items() {
		if slices.Contains(wanted, it.name) {
			o.items = append(o.items, it)
		}
	}
	return o, o.choosePeers(root)
}

func (o *options) choosePeers(root string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cache := func(name string) string { return filepath.Join(root, ".cache", "peers", name) }
	all := []peer{
		crossfade(filepath.Join(root, "bin", "crossfade")), haproxy(program("haproxy")), nginx(program("nginx")), envoy(cache("envoy/_bin/envoy")),
		traefik(cache("bin/traefik")), caddy(cache("bin/caddy")), netHTTP(self),
	}
	var names []string
	for _, p := range all {
		names = append(names, p.name)
	}
	wanted, err := chosen("BENCH_PEERS", names)
	if err != nil {
		return err
	}
	o.full = o.full && len(wanted) == len(names)
	o.peers = []peer{floor(self)}
	for _, p := range all {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		if len(p.version) > 0 {
			if _, err := exec.LookPath(p.version[0]); err != nil {
				return fmt.Errorf("%s is not here: %w; run scripts/setup peers, or choose others by BENCH_PEERS", p.name, err)
			}
		}
		o.peers = append(o.peers, p)
	}
	return nil
}

// program finds a command, also where Debian puts servers, which is not on everybody's path.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}

// chosen returns the names that an environment variable lists, by commas; all of them when it is empty.
func chosen(variable string, names []string) ([]string, error) {
	text := os.Getenv(variable)
	if text == "" {
		return names, nil
	}
	list := strings.Split(text, ",")
	for _, name := range list {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%s=%s: there is no %q; there are %s", variable, text, name, strings.Join(names, ", "))
		}
	}
	return list, nil
}

// idlers is how many idle connections fit: a proxy may count two files for each, and has some of its own.
func idlers(files int) int { return min(10_000, (files-2000)/2) }
