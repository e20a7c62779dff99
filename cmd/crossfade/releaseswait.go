package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/history"
	"crossfade.dev/internal/release"
)

// check says what is wrong with what was written, whatever there is.
func (s *showing) check(timed bool) error {
	switch {
	case s.output != "text" && s.output != "json" && s.output != "html":
		return exitError{2, fmt.Errorf("--output %q: want text, json or html", s.output)}
	case timed && !s.wait:
		return exitError{2, errors.New("--timeout is how long --wait waits: give both, or neither")}
	case s.timeout <= 0:
		return exitError{2, fmt.Errorf("--timeout %v: want more than 0", s.timeout)}
	case s.which == "":
		return exitError{2, errors.New("no release is named: want an id, latest, deployment/NAME or gateway/NAME")}
	}
	kind, name, named := strings.Cut(s.which, "/")
	if !named {
		return nil
	}
	known := objectKindTable[strings.ToLower(kind)]
	if known == "" || name == "" {
		return exitError{2, fmt.Errorf("%q: want an id, latest, deployment/NAME or gateway/NAME", s.which)}
	}
	s.object = &object{known, name}
	if s.namespace == "" {
		s.namespace = map[bool]string{true: fleet.GatewayNamespace, false: "default"}[s.object.gateway()]
	}
	return nil
}

// show writes the release, and returns its verdict as an exit code. One that is not over when --timeout is, is written all the same.
func (s *showing) show(ctx context.Context, w io.Writer) error {
	now := time.Now()
	since, err := admin.ParseSince(s.since, now)
	if err == nil && since.After(now) {
		err = fmt.Errorf("since %q: nothing can have begun in the future", s.since)
	}
	if err != nil {
		return exitError{2, fmt.Errorf("--%w", err)}
	}
	if err := s.open(); err != nil {
		return err
	}
	r, err := s.look(ctx, since)
	if r != nil {
		err = errors.Join(err, s.write(ctx, w, r))
	}
	if err != nil {
		return err
	}
	return verdictOf(r)
}

// look finds the release that is meant, and waits for its end if that is asked for.
func (s *showing) look(ctx context.Context, since time.Time) (*release.Release, error) {
	if !s.wait {
		return s.find(ctx, since)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.await(ctx, since)
}

// errNone says that there is no such release yet.
var errNone = errors.New("there is no such release")

// await asks until the release is over or has stalled. A console that has answered once and is started anew is waited for. With an error it
// returns what is known of the release by then, or nil.
func (s *showing) await(ctx context.Context, since time.Time) (last *release.Release, err error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	said, heard := "", time.Now() // of a console
	for {
		r, err := s.find(ctx, since)
		if !errors.Is(err, errAway) {
			heard = time.Now()
		}
		var line string
		switch {
		case err == nil && r.Verdict != release.Running:
			return r, nil
		case err == nil:
			s.which, s.object, last = r.ID, nil, r // a newer one is another
			line = far(r)
		case errors.Is(err, errNone):
			line = "waiting for a release to begin"
		case ctx.Err() != nil:
			return last, notOver(ctx, said)
		case errors.Is(err, errAway) && (last != nil || time.Since(heard) < watchPatience):
			line = err.Error() + "; it is asked again"
		default:
			return last, err
		}
		if line != said {
			said = line
			fmt.Fprintln(s.notes, line)
		}
		select {
		case <-ctx.Done():
			return last, notOver(ctx, said)
		case <-tick.C:
		}
	}
}

// notOver says that the wait has ended before what was waited for.
func notOver(ctx context.Context, said string) error {
	return fmt.Errorf("%w: %s; \"crossfade get events\" says what happened", waitEnded(ctx), cmp.Or(said, "nothing was answered"))
}

// far says how far a release is that runs. Replicas of a gateway warm up nothing.
func far(r *release.Release) string {
	came := fmt.Sprintf("%s: %d came", r.ID, len(r.Came))
	if r.Kind != release.Gateway {
		warm := 0
		for _, w := range r.Warm {
			if w.Done {
				warm++
			}
		}
		came += fmt.Sprintf(", %d of them warm", warm)
	}
	return fmt.Sprintf("%s; %d went, %d of them gone", came, len(r.Went), r.Drains.Drained+r.Drains.Killed)
}

// find returns the release that is meant. The error wraps errNone where there is none yet.
func (s *showing) find(ctx context.Context, since time.Time) (*release.Release, error) {
	id, err := s.id(ctx, since)
	switch {
	case err != nil:
		return nil, err
	case id == "":
		return nil, s.none(since)
	}
	body, err := s.get(ctx, "releases", id)
	if err != nil {
		return nil, s.meant(ctx, err)
	}
	var r release.Release
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("release %s: %w", id, err)
	}
	if r.Began.Before(since) {
		return nil, s.none(since)
	}
	return &r, nil
}

// id returns the id of the release that is meant; "" where there is none.
func (s *showing) id(ctx context.Context, since time.Time) (string, error) {
	if s.object == nil && s.which != "latest" {
		return s.which, nil
	}
	rows, err := s.releases(ctx)
	if err != nil {
		return "", err
	}
	for i := range rows {
		if r := &rows[i]; s.fits(r) && !r.Began.Before(since) {
			return r.ID, nil
		}
	}
	return "", nil
}

// fits says whether a release is one of what is meant.
func (s *showing) fits(r *history.ReleaseRow) bool {
	return s.object == nil || r.Name == s.object.name && r.Namespace == s.namespace && s.object.gateway() == (r.Kind == release.Gateway)
}

// none says that there is none.
func (s *showing) none(since time.Time) error {
	which, text := s.which, "\"crossfade releases -o wide\" lists those that there were"
	if s.object != nil {
		which += " in namespace " + s.namespace
	}
	if !since.IsZero() {
		text = "since " + since.Local().Format(time.DateTime) + "; --wait waits for one"
	}
	return fmt.Errorf("%w (%s): %s", errNone, which, text)
}

// meant adds to an error what may have been meant: people write the name of a deployment or of a gateway alone.
func (s *showing) meant(ctx context.Context, err error) error {
	if errors.Is(err, errAway) || s.object != nil || s.which == "latest" {
		return err
	}
	rows, asked := s.releases(ctx)
	i := slices.IndexFunc(rows, func(r history.ReleaseRow) bool { return r.Name == s.which })
	if asked != nil || i < 0 {
		return err // the first says more
	}
	kind := "deployment"
	if rows[i].Kind == release.Gateway {
		kind = "gateway"
	}
	return fmt.Errorf("%w; did you mean %s/%s?", err, kind, s.which)
}
