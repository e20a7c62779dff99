package console

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"crossfade.dev/internal/history"
	"crossfade.dev/internal/release"
	"crossfade.dev/internal/series"
)

// topicHelp says which topics there are.
const topicHelp = "overview, service:NAME, episodes, episode:ID, releases, release:ID or series:NAME:whole, :version or :endpoint"

// parseTopic returns the topic of a name.
func (c *Console) parseTopic(name string) (topic, error) {
	kind, of, named := strings.Cut(name, ":")
	h := c.History
	switch {
	case kind == "series" && named:
		return parseSeries(h, of)
	case kind == "service" && of != "":
		return table(func() (*frame, error) { return serviceFrame(h, of) }), nil
	case kind == "episode" && of != "":
		return table(func() (*frame, error) { return lone(c.episode(of)) }), nil
	case kind == "release" && of != "":
		return table(func() (*frame, error) { return lone(c.release(of)) }), nil
	case name == "overview":
		return table(func() (*frame, error) { return overviewFrame(h) }), nil
	case name == "episodes":
		return table(func() (*frame, error) {
			rows := h.Episodes(history.EpisodeQuery{State: "all", Limit: maxEpisodes})
			return newFrame(struct{}{}, "episodes", rows, func(e *history.EpisodeRow) string { return e.ID })
		}), nil
	case name == "releases":
		return table(func() (*frame, error) {
			return newFrame(struct{}{}, "releases", h.Releases(), func(r *history.ReleaseRow) string { return r.ID })
		}), nil
	}
	return nil, fmt.Errorf("there is no topic %q; want %s", name, topicHelp)
}

func overviewFrame(h *history.History) (*frame, error) {
	all := h.Overview()
	rows := all.Services
	all.Services = nil
	return newFrame(all, "services", rows, func(s *history.ServiceRow) string { return s.Name })
}

func serviceFrame(h *history.History, name string) (*frame, error) {
	s, ok := h.Service(name)
	if !ok {
		return nil, &unknown{thing: "service", name: name} // a stream has no suggestions: they would be looked for every second
	}
	rows := s.Endpoints
	s.Endpoints = nil
	return newFrame(s, "endpoints", rows, func(e *history.EndpointRow) string { return e.Incarnation })
}

// lone is the frame of a value without rows.
func lone[T release.Episode | release.Release](value T, err error) (*frame, error) {
	if err != nil {
		return nil, err
	}
	return newFrame(value, "", []T(nil), nil)
}

// A table is a topic of which frames are made.
type table func() (*frame, error)

// now is what there is, or why there is nothing.
func (t table) now() *frame {
	f, err := t()
	if err != nil {
		return &frame{gone: err.Error()}
	}
	return f
}

func (t table) begin(_ context.Context, now state, _ int64) message {
	f, ok := now.(*frame)
	if !ok {
		f = t.now()
	}
	if f.gone != "" {
		return goneMessage(f.gone)
	}
	return message{name: "whole", data: f.whole()}
}

func (t table) next(_ context.Context, last state) (state, message) {
	f := t.now()
	before, ok := last.(*frame)
	switch {
	case f.gone != "" && ok && before.gone == f.gone:
		return f, message{} // they have heard
	case f.gone != "":
		return f, goneMessage(f.gone)
	case !ok || before.gone != "":
		return f, message{name: "whole", data: f.whole()}
	}
	if patch := f.patch(before); patch != nil {
		return f, message{name: "patch", data: patch}
	}
	return f, message{}
}

// Curves are a topic of points to append.
type curves struct {
	history *history.History
	query   series.Query
}

func parseSeries(h *history.History, of string) (topic, error) {
	i := strings.LastIndexByte(of, ':') // a service has a colon of its own
	if i < 0 {
		return nil, fmt.Errorf("series of %q: by what? want %s", of, topicHelp)
	}
	q := series.Query{Service: of[:i], By: series.By(of[i+1:]), Outside: i == 0, Step: 1}
	if !slices.Contains(byTable, string(q.By)) {
		return nil, fmt.Errorf("series by %q: want one of %q", q.By, byTable)
	}
	return curves{h, q}, nil
}

func (c curves) begin(ctx context.Context, now state, since int64) message {
	to, known := now.(int64)
	if !known {
		return goneMessage((&unknown{thing: "service", name: c.query.Service}).Error())
	}
	switch {
	case since+1 == to: // they have seen all there is
		return message{}
	case since >= to: // by a clock that was ahead of this one
		since = 0
	}
	return c.points(ctx, max(since+1, to-series.Seconds), to)
}

func (c curves) next(ctx context.Context, last state) (state, message) {
	to := c.history.Settled() + 1
	from, begun := last.(int64)
	switch {
	case begun && to == from:
		return from, message{}
	case begun && to < from: // the clock was set back
		return to, c.points(ctx, to-series.Seconds, to)
	case begun:
		return to, c.points(ctx, max(from, to-series.Seconds), to)
	}
	if _, known := c.history.Service(c.query.Service); !known && !c.query.Outside {
		return nil, message{} // it may come
	}
	return to, c.points(ctx, to-series.Seconds, to)
}

// points are those of the seconds from one to before another.
func (c curves) points(ctx context.Context, from, to int64) message {
	q := c.query
	q.From, q.To = from, max(from, to)
	all, err := c.history.Series(ctx, q)
	if err != nil {
		return goneMessage(err.Error())
	}
	return message{name: "points", id: q.To - 1, data: written(all)}
}
