package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/release"
	"crossfade.dev/internal/series"
	"crossfade.dev/internal/store/file"
)

// What is on disk, and what bounds it:
//
//	state.json        sums, what data planes have said, and how long the logs are: whole and new each time
//	lives-N.log       events, episodes and releases, as they changed; written anew, with another N, when it is too long
//	minutes-H.log     what passed in the minutes of one hour since 1970; removed after a day
//
// Logs are written first. What they have beyond what state.json says was never meant: it is of another moment than the sums.
const (
	stateFile  = "state.json"
	livesBound = 64 << 20 // beyond which it is written anew, if that makes it half as long
	minutesAll = 256 << 20
	writeEvery = 2 * time.Second
	writePart  = 100 // writing takes a hundredth of the time at most
)

// A keeper keeps a history on disk.
type keeper struct {
	dir string

	mu    sync.Mutex // held while writing; taken before the history's own
	next  time.Time  // when to write again
	fails bool       // it could not be written last time
	lives lives

	minutes []keptMinute // that are over, and not written yet
	hour    int64        // of the minutes' log that is written to
	size    int64        // of it
	swept   int64        // the hour in which what is old was removed
}

// due says whether it is time to write.
func (k *keeper) due(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dir != "" && !now.Before(k.next)
}

// save writes what must survive. Sums and what was made of them are of one moment. That it cannot be written is an error once, until it
// can again.
func (h *History) save(now time.Time) error {
	k := &h.keeper
	if k.dir == "" {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	began := time.Now()
	err := h.write(now)
	k.next = now.Add(max(writeEvery, writePart*time.Since(began)))
	said := k.fails
	k.fails = err != nil
	if err != nil {
		k.lives.again = true // nobody knows what is in the log now
		k.lives.sweep(k)
		if said {
			return nil // it will be tried again
		}
		return fmt.Errorf("keep history: %w", err)
	}
	k.lives.kept = k.lives.number
	if k.lives.tidied != k.lives.number {
		k.lives.tidied = k.lives.number
		k.lives.sweep(k)
	}
	return nil
}

// write appends to the logs what is new, and writes the state that goes with them.
func (h *History) write(now time.Time) error {
	k := &h.keeper
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	h.mu.Lock()
	h.forget(now)
	k.minutes = append(k.minutes, h.overMinutes(now)...)
	k.minutes = k.minutes[max(0, len(k.minutes)-series.Minutes):]
	records, err := k.lives.records(h)
	state := h.saved()
	h.mu.Unlock()
	if err != nil {
		return err
	}
	if err := k.writeMinutes(k.minutes); err != nil {
		return err
	}
	k.minutes = nil
	if err := k.lives.write(k.dir, records); err != nil {
		return err
	}
	state.Lives, state.LivesSize = k.lives.number, k.lives.size
	state.Hour, state.HourSize = k.hour, k.size
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return file.Replace(filepath.Join(k.dir, stateFile), summed(data))
}

// summed returns JSON with a line behind it that has its checksum.
func summed(text []byte) []byte {
	return fmt.Appendf(slices.Clip(text), "\n%08x\n", crc32.ChecksumIEEE(text))
}

const sumLength = 10

// load reads what save wrote.
func (h *History) load(now time.Time) error {
	k := &h.keeper
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	k.sweepTemporary()
	var s saved
	whole := h.loadState(&s)
	if whole {
		if err := h.restore(&s, now); err != nil {
			whole, s = false, saved{}
			h.reset(now)
			h.setAside(stateFile, err)
		}
	}
	k.loadMinutes(h, &s, whole, now)
	k.loadLives(h, &s, whole)
	return nil
}

// loadState reads the state, and says whether there is one that can be used.
func (h *History) loadState(s *saved) bool {
	data, err := os.ReadFile(filepath.Join(h.keeper.dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if text := data[:max(0, len(data)-sumLength)]; err == nil && !bytes.Equal(summed(text), data) {
		err = errDamaged
	} else if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err == nil && s.Format != format {
		err = fmt.Errorf("format %d, this program reads %d", s.Format, format)
	}
	if err != nil {
		*s = saved{}
		h.setAside(stateFile, err)
		return false
	}
	return true
}

// setAside renames a file that cannot be used, for people to look at; one that was set aside before goes.
func (h *History) setAside(name string, why error) {
	path := filepath.Join(h.keeper.dir, name)
	err := os.Rename(path, path+damagedSuffix)
	h.options.Log.Warn("a file of history cannot be used as it is; it is set aside, and what can be read of it is kept",
		"file", path, "why", why, "aside", path+damagedSuffix, "err", err)
}

const damagedSuffix = ".damaged"

// sweepTemporary removes what a program that was killed while writing left.
func (k *keeper) sweepTemporary() {
	left, _ := filepath.Glob(filepath.Join(k.dir, stateFile+".*")) // the pattern is ours
	for _, path := range left {
		if !strings.HasSuffix(path, damagedSuffix) {
			_ = os.Remove(path) // what stays does no harm
		}
	}
}

// numbered lists the logs of one kind, by number.
func (k *keeper) numbered(prefix string) map[int64]string {
	paths, _ := filepath.Glob(filepath.Join(k.dir, prefix+"*.log")) // likewise
	list := map[int64]string{}
	for _, path := range paths {
		text := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), prefix), ".log")
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			list[n] = path
		}
	}
	return list
}

func livesFile(n int64) string   { return fmt.Sprintf("lives-%d.log", n) }
func minutesFile(h int64) string { return fmt.Sprintf("minutes-%d.log", h) }

// loadLives reads events, episodes and releases, and makes the recorder that goes on from them.
func (k *keeper) loadLives(h *History, s *saved, whole bool) {
	number, size := s.Lives, s.LivesSize
	if !whole {
		for n := range k.numbered("lives-") {
			number, size = max(number, n), mostLog
		}
	}
	read := newReading()
	if number > 0 {
		path := filepath.Join(k.dir, livesFile(number))
		at, err := readFrames(path, size, read.take)
		if err != nil && (whole || !ended(path, at)) {
			h.setAside(livesFile(number), err)
		}
	}
	k.lives = lives{number: number, kept: number, again: true, written: map[string]*written{}} // the first write makes a log of its own
	h.events.take(read.events)
	h.events.unkept = 0
	rest := s.Recorder
	if rest == nil {
		rest = &release.State{}
	}
	rest.Releases, rest.Episodes = read.allReleases(), read.allEpisodes()
	h.recorder = release.New(*rest)
}

// mostLog is longer than any log.
const mostLog = 1 << 40
