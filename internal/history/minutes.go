package history

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/series"
)

// A keptMinute is what passed in one minute, as it stands on disk. What comes late stands in a second one.
type keptMinute struct {
	Minute int64             `json:"minute"` // since 1970
	Places map[string][]byte `json:"places"` // series.Minute, packed, by place
}

// Places of which minutes are kept.
const (
	heardKey   = "heard"
	outsideKey = "outside"
	servicePre = "s/"
	versionPre = "v/"
	between2   = "\x00" // a service and its version
)

// daily calls f with every place of which minutes are kept.
func (h *History) daily(f func(key string, p *place)) {
	f(heardKey, h.heard)
	f(outsideKey, h.outside)
	for name, s := range h.services {
		f(servicePre+name, s.place)
		for version, v := range s.versions {
			f(versionPre+name+between2+version, v)
		}
	}
}

// dailyOf returns the place of a key, made where there is none.
func (h *History) dailyOf(key string) *place {
	switch {
	case key == heardKey:
		return h.heard
	case key == outsideKey:
		return h.outside
	case strings.HasPrefix(key, servicePre):
		return h.serviceOf(key[len(servicePre):]).place
	}
	if name, version, ok := strings.Cut(strings.TrimPrefix(key, versionPre), between2); ok && strings.HasPrefix(key, versionPre) {
		return h.serviceOf(name).version(version)
	}
	return nil
}

// overMinutes moves minutes that are over to where those are, and returns them, the oldest first.
func (h *History) overMinutes(now time.Time) []keptMinute {
	before := min(whole(now)+1, h.settled+1) / perMinute
	list := map[int64]*keptMinute{}
	h.daily(func(key string, p *place) {
		for _, m := range p.over(before) {
			kept := list[m.at]
			if kept == nil {
				kept = &keptMinute{Minute: m.at, Places: map[string][]byte{}}
				list[m.at] = kept
			}
			kept.Places[key] = m.AppendTo(nil)
		}
	})
	out := make([]keptMinute, 0, len(list))
	for _, at := range slices.Sorted(maps.Keys(list)) {
		out = append(out, *list[at])
	}
	return out
}

// openMinutes returns the minutes that are not over, by place.
func (h *History) openMinutes() map[int64]map[string][]byte {
	list := map[int64]map[string][]byte{}
	h.daily(func(key string, p *place) {
		for i := range p.minutes {
			m := &p.minutes[i]
			if list[m.at] == nil {
				list[m.at] = map[string][]byte{}
			}
			list[m.at][key] = m.AppendTo(nil)
		}
	})
	return list
}

// writeMinutes appends minutes to the log of the hour in which they are written.
func (k *keeper) writeMinutes(minutes []keptMinute) error {
	if len(minutes) == 0 {
		return nil
	}
	switch hour := minutes[len(minutes)-1].Minute / 60; {
	case hour > k.hour:
		k.hour, k.size = hour, 0
	case hour < k.hour-series.Minutes/60: // the clock was far ahead
		k.hour, k.size = hour, 0
		if info, err := os.Stat(filepath.Join(k.dir, minutesFile(hour))); err == nil {
			k.size = info.Size()
		}
	}
	var data []byte
	for i := range minutes {
		record, err := json.Marshal(&minutes[i])
		if err != nil {
			return fmt.Errorf("minute: %w", err)
		}
		data = appendFrame(data, record)
	}
	if err := extend(filepath.Join(k.dir, minutesFile(k.hour)), k.size, data); err != nil {
		return err
	}
	k.size += int64(len(data))
	k.sweepMinutes()
	return nil
}

// sweepMinutes removes the logs of hours that are no more asked for, and the oldest of too much.
func (k *keeper) sweepMinutes() {
	if k.swept == k.hour {
		return
	}
	k.swept = k.hour
	files := k.numbered("minutes-")
	left := int64(minutesAll)
	for _, hour := range slices.Backward(slices.Sorted(maps.Keys(files))) {
		if info, err := os.Stat(files[hour]); err == nil {
			left -= info.Size()
		}
		if left < 0 || k.hour-hour > series.Minutes/60 || hour > k.hour {
			_ = os.Remove(files[hour]) // what stays is tried again in an hour
		}
	}
}

// loadMinutes reads the logs of hours. What the one that was written to last has beyond what the state says is of another
// moment. Without a state all that can be read is taken.
func (k *keeper) loadMinutes(h *History, s *saved, whole bool, now time.Time) {
	files := k.numbered("minutes-")
	oldest := now.Unix()/3600 - series.Minutes/60
	k.hour = s.Hour
	for _, hour := range slices.Sorted(maps.Keys(files)) {
		limit := int64(mostLog)
		switch {
		case hour < oldest, whole && hour > s.Hour:
			continue
		case whole && hour == s.Hour:
			limit = s.HourSize
		}
		size, err := readFrames(files[hour], limit, h.takeMinute)
		if damaged := err != nil && (limit < mostLog || !ended(files[hour], size)); damaged {
			h.setAside(minutesFile(hour), err)
			size = 0
		}
		if hour >= k.hour {
			k.hour, k.size = hour, size
		}
	}
}

// ended says whether a log has nothing behind size.
func ended(path string, size int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() == size
}

func (h *History) takeMinute(record []byte) error {
	var kept keptMinute
	if err := json.Unmarshal(record, &kept); err != nil {
		return err
	}
	if kept.Minute < 0 || kept.Minute > math.MaxInt32 {
		return fmt.Errorf("there is no minute %d", kept.Minute)
	}
	for key, packed := range kept.Places {
		var m series.Minute
		if err := m.TakeFrom(packed); err != nil {
			return fmt.Errorf("minute %d, %q: %w", kept.Minute, key, err)
		}
		if p := h.dailyOf(key); p != nil {
			p.day.Add(kept.Minute, &m)
		}
	}
	return nil
}
