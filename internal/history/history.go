package history

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
	"crossfade.dev/internal/series"
)

// Errors of questions.
var (
	ErrQuery   = errors.New("that cannot be asked")
	ErrUnknown = errors.New("there is no such thing")
)

// A Longer knows more than is kept here: [crossfade.dev/internal/history/prometheus].
type Longer interface {
	// Curves answers a query that has been checked.
	Curves(ctx context.Context, q series.Query) (series.Curves, error)
}

// Options say how to keep history.
type Options struct {
	Dir    string // of its own, where it is kept; "" keeps nothing over a restart
	Log    *slog.Logger
	Longer Longer // asked for what is older than a day, and where a query says so; nil is nobody
}

// A History keeps what has happened. Use New. Its methods may be called by several goroutines at once; what they return is
// the caller's own.
type History struct {
	options Options
	keeper  keeper

	mu        sync.Mutex // guards the following
	since     time.Time  // when counting began
	settled   int64      // the last second that is whole
	at        int64      // the second that it is, as far as it is not whole
	view      fleet.View
	runs      map[runKey]*run
	fronts    map[runKey]*front // of agents
	services  map[string]*service
	lives     map[string][]*endpoint // by incarnation
	outside   *place
	gates     map[string]*listener // by name
	heard     *place               // counts seconds in which a data plane reported
	workloads []WorkloadRow        // of the view
	joined    map[string]time.Time // data planes in the view, since when
	events    eventLog
	recorder  *release.Recorder
	newest    string // its latest release, as far as it was looked for
	spread    spread
	delta     series.Histogram // of the row that is being read

	telling sync.Mutex // guards the following; taken after mu
	told    []telling  // what no view has shown yet
}

// New returns a history that goes on from what its directory has. It starts nothing. An error says that nothing can be kept
// there; what is damaged there is set aside, and logged.
func New(o Options) (*History, error) { return start(o, time.Now()) }

func start(o Options, now time.Time) (*History, error) {
	h := &History{options: o}
	h.reset(now)
	if o.Dir == "" {
		return h, nil
	}
	h.keeper.dir = o.Dir
	return h, h.load(now)
}

// reset makes h one that knows nothing.
func (h *History) reset(now time.Time) {
	h.since, h.settled, h.at = now.Round(0), whole(now), now.Unix()
	h.view = fleet.View{Snapshot: &fleet.Snapshot{}, Taken: now}
	h.fronts = map[runKey]*front{}
	h.runs, h.services, h.lives = map[runKey]*run{}, map[string]*service{}, map[string][]*endpoint{}
	h.outside, h.heard = newPlace(true, true), newPlace(true, false)
	h.gates, h.joined = map[string]*listener{}, map[string]time.Time{}
	h.events = eventLog{known: map[eventKey]bool{}}
	h.recorder = release.New(release.State{})
}

// Run settles each second that is over, and writes what must survive a restart, until ctx ends; then it writes once more.
func (h *History) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second / 2)
	defer tick.Stop()
	h.Tick(time.Now()) // when counting began is kept before anything is counted
	for {
		select {
		case <-tick.C:
			h.Tick(time.Now())
		case <-ctx.Done():
			return h.save(time.Now())
		}
	}
}

// Tick settles what is over at now, and writes if it is time to: what Run does twice a second.
func (h *History) Tick(now time.Time) {
	h.mu.Lock()
	h.settle(now)
	begun := h.begun()
	h.mu.Unlock()
	if !begun && !h.keeper.due(now) {
		return
	}
	if err := h.save(now); err != nil {
		h.options.Log.Warn("history cannot be kept; it goes on in memory", "err", err)
	}
}

// begun says whether a release has begun since it was last asked: that is to be on disk at once, so that whoever is started anew
// counts to it from where it began, and under its name.
func (h *History) begun() bool {
	r := h.recorder.Release("latest")
	if r == nil || r.ID == h.newest {
		return false
	}
	h.newest = r.ID
	return true
}

// View takes what control says exists. Views come one at a time, in order.
func (h *History) View(v fleet.View) { h.look(v, time.Now()) }

func (h *History) look(v fleet.View, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle(now)
	h.view = v
	h.align(now)
	news := h.events.take(h.inOrder(v))
	h.recorder.View(v, news, book{h}, now)
}

// Report takes what a program has told control, when control has taken it. When a data plane's last report is taken, what
// it counted is on disk. What cannot be written is an error, and is counted all the same.
func (h *History) Report(ctx context.Context, r fleet.Report) error {
	if r.Traffic == nil || r.Traffic.Run == "" {
		return nil
	}
	if r.Role == agent {
		h.direct(&r, time.Now())
	} else {
		h.report(&r, time.Now())
	}
	if !r.Leaving || r.Role == agent && len(r.Traffic.Listeners) == 0 {
		return nil
	}
	return errors.Join(ctx.Err(), h.save(time.Now()))
}

// Settled returns the last second of Unix time that is whole: no report that comes in time changes it.
func (h *History) Settled() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settled
}

// whole is the last second of which nothing more is to be expected at now: reports are a second apart, and come a little late.
func whole(now time.Time) int64 { return now.Add(-300*time.Millisecond).Unix() - 2 }
