package control

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/store/file"
	"crossfade.dev/internal/warmup"
)

// Whatever stands on disk: either it is refused, or control goes on from it, and so does the next control from what
// that one saves.
func FuzzLoad(f *testing.F) {
	s := newStage(f)
	s.configure(reviews(linear))
	for _, name := range []string{"a", "b"} {
		s.run(name, name+"1", "v2")
		s.pass(name + "1")
		s.after(time.Minute)
	}
	s.wantMove("b", warmup.Pause)
	path := filepath.Join(f.TempDir(), "good.json")
	if err := file.Save(path, s.w.view, s.now); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, snapshot := range []fleet.Snapshot{
		{},
		{Services: []fleet.Service{{Name: "a:1", Pools: []fleet.Pool{{Members: []fleet.Member{{Endpoint: 4}}}}}}},
		{Services: []fleet.Service{{Name: "a:1", Pools: []fleet.Pool{{Members: []fleet.Member{{Endpoint: -1}}}}, Endpoints: []fleet.Endpoint{{}}}}},
		{Services: []fleet.Service{{Name: "a:1"}, {Name: "a:1"}}},
		{Services: []fleet.Service{{
			Pools:     []fleet.Pool{{}, {}, {Policy: fleet.Policy{Warmup: linear}, Members: []fleet.Member{{}, {}}}},
			Endpoints: []fleet.Endpoint{{Stage: fleet.Gone, Age: -1}, {Stage: fleet.Gone}},
		}}},
		{Number: 1<<64 - 1, Config: "x", Gateways: []string{"", ""}, Workloads: make([]fleet.Workload, 2), Instances: make([]fleet.Instance, 2)},
	} {
		data, err := json.Marshal(map[string]any{"format": 1, "snapshot": snapshot})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"format":1,"uptime_ns":-9223372036854775808,"snapshot":{"services":[null],"workloads":[null],"events":[null]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "snapshot.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		for range 2 {
			view, _, err := file.Load(path, now)
			if err != nil {
				return
			}
			w := newWorld(view, now)
			for range 3 {
				w.fold(now)
				if wait := w.wake(now, time.Second); wait <= 0 || wait > time.Second {
					t.Errorf("it sleeps for %v", wait)
				}
				now = now.Add(absence)
			}
			w.configure(reviews(linear), now)
			w.fold(now)
			if err := file.Save(path, w.view, now); err != nil {
				t.Fatal(err)
			}
		}
	})
}
