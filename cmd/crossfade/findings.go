package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
)

// A reader hands control every configuration that is read, or the reason why there is none, and tells each warning
// once for as long as it holds.
type reader struct {
	control *control.Control
	log     *slog.Logger
	told    bool            // somebody tells people what the events say, so that the log need not
	warned  map[string]bool // warnings of the last configuration
}

// read takes what a look at the configuration has found.
func (r *reader) read(ctx context.Context, d *fleet.Desired, findings []config.Finding) {
	warned := map[string]bool{}
	var errs, news []string
	for _, f := range findings {
		text := f.String()
		if f.Severity == config.Error {
			errs = append(errs, text)
			continue
		}
		if !r.warned[text] && !warned[text] {
			news = append(news, text)
		}
		warned[text] = true
	}
	if len(errs) > 0 { // what else there is to warn of, one cannot tell
		maps.Copy(warned, r.warned)
	}
	r.warned = warned
	if !r.told {
		for _, text := range errs {
			r.log.ErrorContext(ctx, "configuration", "finding", text)
		}
		for _, text := range news {
			r.log.WarnContext(ctx, "configuration", "finding", text)
		}
	}
	if err := r.hand(ctx, d, errs, news); err != nil && ctx.Err() == nil {
		r.log.ErrorContext(ctx, "configuration", "err", err)
	}
}

func (r *reader) hand(ctx context.Context, d *fleet.Desired, errs, news []string) error {
	if d == nil {
		return r.control.Reject(ctx, rejection(errs))
	}
	rooted(d)
	if err := r.control.Configure(ctx, d); err != nil {
		return err
	}
	for _, text := range news {
		if err := r.control.Warn(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// rejection says why a configuration is not applied: the first error, and how many there are besides.
func rejection(errs []string) string {
	switch len(errs) {
	case 0:
		return ""
	case 1:
		return errs[0]
	}
	return fmt.Sprintf(`%s (and %d more: "crossfade validate DIR" lists them)`, errs[0], len(errs)-1)
}
