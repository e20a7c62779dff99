// Package file keeps the last good snapshot on disk, so that a program that starts again goes on where it was:
// a restarted control continues every ramp, and a gateway whose control is away serves what it last knew.
package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"crossfade.dev/internal/fleet"
)

// ErrNone says that no snapshot was saved yet.
var ErrNone = errors.New("no snapshot was saved")

// format is the version of what stands in the file. A file of another version is refused, not guessed at.
const format = 1

type saved struct {
	Format   int             `json:"format"`
	Wall     time.Time       `json:"wall"`      // when it was saved, by the wall clock
	Boot     string          `json:"boot"`      // the kernel's boot id
	Uptime   time.Duration   `json:"uptime_ns"` // the kernel's boot-time clock; comparable while Boot is the same
	Snapshot *fleet.Snapshot `json:"snapshot"`
}

// Save writes the view to path, whole or not at all, with its ages as of now.
func Save(path string, v fleet.View, now time.Time) error {
	snapshot := *v.Snapshot
	snapshot.Services = aged(snapshot.Services, now.Sub(v.Taken))
	boot, uptime := BootClock()
	data, err := json.Marshal(saved{format, now.Round(0), boot, uptime, &snapshot})
	if err != nil {
		return fmt.Errorf("save snapshot %d: %w", v.Number, err)
	}
	if err := Replace(path, data); err != nil {
		return fmt.Errorf("save snapshot %d: %w", v.Number, err)
	}
	return nil
}

// Load reads what Save wrote and adds the time since then to every age, so that nobody ramps again because a
// program was restarted. Time is taken from the kernel's boot-time clock within one boot, which nobody can
// set; across boots from the wall clock, and a wall clock that went back adds nothing. The second result is
// how long ago the snapshot was saved. The error wraps ErrNone when there is no file. What does not hold together, as
// nothing that Save wrote does, is refused.
func Load(path string, now time.Time) (fleet.View, time.Duration, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fleet.View{}, 0, fmt.Errorf("load %s: %w", path, ErrNone)
	}
	if err != nil {
		return fleet.View{}, 0, fmt.Errorf("load snapshot: %w", err)
	}
	var s saved
	if err := json.Unmarshal(data, &s); err != nil {
		return fleet.View{}, 0, fmt.Errorf("load %s: %w", path, err)
	}
	if s.Format != format || s.Snapshot == nil {
		return fleet.View{}, 0, fmt.Errorf("load %s: format %d, this program reads %d", path, s.Format, format)
	}
	if err := check(s.Snapshot); err != nil {
		return fleet.View{}, 0, fmt.Errorf("load %s: %w", path, err)
	}
	away := max(0, now.Sub(s.Wall))
	if boot, uptime := BootClock(); boot != "" && boot == s.Boot {
		away = max(0, uptime-s.Uptime)
	}
	s.Snapshot.Services = aged(s.Snapshot.Services, away)
	return fleet.View{Snapshot: s.Snapshot, Taken: now}, away, nil
}

// aged returns the services with every endpoint that has been offered older by d. The input stays as it is.
func aged(services []fleet.Service, d time.Duration) []fleet.Service {
	out := make([]fleet.Service, len(services))
	copy(out, services)
	for i := range out {
		endpoints := make([]fleet.Endpoint, len(out[i].Endpoints))
		copy(endpoints, out[i].Endpoints)
		for j := range endpoints {
			if endpoints[j].Stage != fleet.Starting || endpoints[j].Age > 0 { // it was offered before
				endpoints[j].Age = later(endpoints[j].Age, max(0, d))
			}
		}
		out[i].Endpoints = endpoints
	}
	return out
}

// later is age and d, at most the greatest duration.
func later(age, d time.Duration) time.Duration {
	if sum := max(0, age) + d; sum >= 0 {
		return sum
	}
	return math.MaxInt64
}

// check says what a snapshot refers to that is not there.
func check(s *fleet.Snapshot) error {
	for i := range s.Services {
		service := &s.Services[i]
		if len(service.Pools) == 0 {
			return fmt.Errorf("service %q has no pool", service.Name)
		}
		for j := range service.Pools {
			for _, m := range service.Pools[j].Members {
				if m.Endpoint < 0 || m.Endpoint >= len(service.Endpoints) {
					return fmt.Errorf("service %q, subset %q: a member is endpoint %d of %d", service.Name, service.Pools[j].Subset, m.Endpoint, len(service.Endpoints))
				}
			}
		}
	}
	return nil
}

// Replace writes data beside path and renames it over, so that a reader never sees half of it. Only its owner can read the file.
func Replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// BootClock returns the kernel's boot id and the time since boot, suspend included; "" where there is none.
func BootClock() (string, time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return "", 0
	}
	return strings.TrimSpace(string(id)), time.Duration(ts.Nano())
}
