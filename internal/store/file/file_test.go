package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

func view(age time.Duration, taken time.Time) fleet.View {
	return fleet.View{Taken: taken, Snapshot: &fleet.Snapshot{Number: 7, Services: []fleet.Service{{
		Name: "reviews:9080", Pools: []fleet.Pool{{}}, Endpoints: []fleet.Endpoint{
			{Incarnation: "warm", Stage: fleet.Warming, Age: age},
			{Incarnation: "new", Stage: fleet.Starting},
		},
	}}}}
}

func TestAgesGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "snapshot.json")
	now := time.Now()
	v := view(10*time.Second, now.Add(-5*time.Second))
	if err := Save(path, v, now); err != nil {
		t.Fatal(err)
	}
	got, away, err := Load(path, now)
	if err != nil {
		t.Fatal(err)
	}
	if got.Number != 7 {
		t.Errorf("Number = %d, want 7", got.Number)
	}
	endpoints := got.Services[0].Endpoints
	if want := 15*time.Second + away; endpoints[0].Age != want {
		t.Errorf("age = %v, want %v: 10 s, 5 s until it was saved, %v since", endpoints[0].Age, want, away)
	}
	if endpoints[1].Age != 0 {
		t.Errorf("age of one never offered = %v, want 0", endpoints[1].Age)
	}
	if v.Services[0].Endpoints[0].Age != 10*time.Second {
		t.Error("Save changed the snapshot it was given")
	}
}

// Across boots only the wall clock is left; one that went back adds nothing.
func TestWallClockAcrossBoots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot.json")
	now := time.Now()
	if err := Save(path, view(10*time.Second, now), now); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	boot, _ := BootClock()
	other := strings.Replace(string(data), boot, "another-boot", 1)
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		now  time.Time
		want time.Duration
	}{
		{now.Round(0).Add(time.Minute), 70 * time.Second},
		{now.Round(0).Add(-time.Hour), 10 * time.Second},
	} {
		v, _, err := Load(path, test.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Services[0].Endpoints[0].Age; got != test.want {
			t.Errorf("loaded %v after saving: age %v, want %v", test.now.Sub(now), got, test.want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot.json")
	if _, _, err := Load(path, time.Now()); !errors.Is(err, ErrNone) {
		t.Errorf("no file: %v, want ErrNone", err)
	}
	for _, bad := range []string{
		"", "{", `{"format":1}`, `{"format":9,"snapshot":{}}`,
		`{"format":1,"snapshot":{"services":[{"name":"web:80"}]}}`,
		`{"format":1,"snapshot":{"services":[{"name":"web:80","pools":[{"members":[{"endpoint":1}]}],"endpoints":[{}]}]}}`,
		`{"format":1,"snapshot":{"services":[{"name":"web:80","pools":[{"members":[{"endpoint":-1}]}],"endpoints":[{}]}]}}`,
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Load(path, time.Now()); err == nil || errors.Is(err, ErrNone) {
			t.Errorf("Load(%q) = %v, want an error that is not ErrNone", bad, err)
		}
	}
}
