package history

import (
	"maps"
	"slices"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
)

// An EpisodeQuery asks for episodes. Empty fields ask for all.
type EpisodeQuery struct {
	Service  string
	Workload string
	State    string // "running", "gone", "all" or ""
	Limit    int    // 0 is no limit
}

// Episodes returns what is asked for, the newest first.
func (h *History) Episodes(q EpisodeQuery) []EpisodeRow {
	h.mu.Lock()
	defer h.mu.Unlock()
	rows := []EpisodeRow{}
	for _, e := range h.recorder.Episodes() {
		switch {
		case q.Limit > 0 && len(rows) == q.Limit:
			return rows
		case q.Service != "" && !slices.Contains(e.Services, q.Service), q.Workload != "" && e.Workload != q.Workload:
		case q.State == "running" && !e.Running, q.State == "gone" && e.Running:
		default:
			rows = append(rows, h.episodeRow(e))
		}
	}
	return rows
}

func (h *History) episodeRow(e *release.Episode) EpisodeRow {
	row := EpisodeRow{
		ID: e.ID, Name: e.Name, Namespace: e.Namespace, Workload: e.Workload, Version: e.Version,
		Services: append([]string{}, e.Services...), Stage: e.Stage, Running: e.Running, Killed: e.Killed,
		Began: e.Began, Offered: e.Offered, Warm: e.Warm, Left: e.Left, Ended: e.Ended,
	}
	if !e.Running || !e.Stage.Offered() {
		return row
	}
	row.Share = 1
	for _, of := range h.lives[e.ID] {
		row.Share = min(row.Share, float64(of.share(h.settled)))
	}
	return row
}

// Episode returns the episode of an incarnation, and whether there is one.
func (h *History) Episode(id string) (release.Episode, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.recorder.Episode(id)
	if e == nil {
		return release.Episode{}, false
	}
	return cloneEpisode(e), true
}

func cloneEpisode(e *release.Episode) release.Episode {
	c := *e
	c.Services = append([]string{}, e.Services...)
	c.Marks = append([]release.Mark{}, e.Marks...)
	c.Points = slices.Clone(e.Points)
	return c
}

// Releases returns all that are kept, the newest first.
func (h *History) Releases() []ReleaseRow {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.releaseRows(0)
}

// releaseRows are the newest of releases, and all that run; 0 is all.
func (h *History) releaseRows(most int) []ReleaseRow {
	rows := []ReleaseRow{}
	for _, r := range h.recorder.Releases() {
		if most > 0 && len(rows) >= most && r.Verdict.Over() {
			continue
		}
		rows = append(rows, ReleaseRow{
			ID: r.ID, Kind: r.Kind, Name: r.Name, Namespace: r.Namespace, What: r.What, Began: r.Began, Ended: r.Ended,
			Verdict: r.Verdict, Why: r.Why, Served: r.Requests[0], Lost: r.Requests.Lost(), Came: len(r.Came), Went: len(r.Went),
		})
	}
	return rows
}

// Release returns the release with an id, "latest" for the newest, and whether there is one.
func (h *History) Release(id string) (release.Release, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.recorder.Release(id)
	if r == nil {
		return release.Release{}, false
	}
	return cloneRelease(r), true
}

func cloneRelease(r *release.Release) release.Release {
	c := *r
	c.Services, c.Came, c.Went = append([]string{}, r.Services...), append([]string{}, r.Came...), append([]string{}, r.Went...)
	c.Losses, c.Warm, c.Events = append([]release.Loss{}, r.Losses...), append([]release.WarmTime{}, r.Warm...), append([]fleet.Event{}, r.Events...)
	c.Failing, c.Doubts = slices.Clone(r.Failing), slices.Clone(r.Doubts)
	c.ByService = maps.Clone(r.ByService)
	return c
}
