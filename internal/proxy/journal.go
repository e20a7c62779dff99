package proxy

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// A journal takes records from connections without ever making them wait: when the log is slower than the
// traffic, records are dropped and counted.
type journal struct {
	records chan record
	dropped atomic.Uint64
}

// A record is one request in the access log.
type record struct {
	when                    time.Time
	took                    time.Duration
	listener, remote        string
	method, authority, path string
	id                      string
	route                   string // its name and that of the match, as in "reviews.testers"; "" for none
	service, endpoint       string // "" when it did not come so far
	status                  int    // what the client saw; 0 when it saw none
	end                     string // "answered", "cut" or "aborted"; of what we ended before it was over always "cut"
	byUs                    bool   // we did: the report of the leave says how often, and warns
	attempts                int
	reason                  string // what went wrong, if anything did
	cause                   error  // why the connection to the endpoint failed, where that was what went wrong
}

func newJournal() journal { return journal{records: make(chan record, 1024)} }

func (j *journal) put(r record) {
	select {
	case j.records <- r:
	default:
		j.dropped.Add(1)
	}
}

// flush writes what is waiting.
func (j *journal) flush(ctx context.Context, log *slog.Logger) {
	for {
		select {
		case r := <-j.records:
			j.write(ctx, log, &r)
		default:
			return
		}
	}
}

func (j *journal) write(ctx context.Context, log *slog.Logger, r *record) {
	level := slog.LevelInfo
	if r.reason != "" && !r.byUs {
		level = slog.LevelWarn
	}
	fields := []any{
		"start", r.when, "took_ms", float64(r.took.Microseconds()) / 1000,
		"listener", r.listener, "remote", r.remote,
		"method", r.method, "authority", r.authority, "path", r.path, "request_id", r.id,
		"route", r.route, "service", r.service, "endpoint", r.endpoint, "attempts", r.attempts,
		"status", r.status, "end", r.end, "reason", r.reason,
	}
	if r.cause != nil {
		fields = append(fields, "cause", r.cause)
	}
	log.Log(ctx, level, "request", fields...)
	if n := j.dropped.Swap(0); n > 0 {
		log.WarnContext(ctx, "the access log was too slow", "dropped", n)
	}
}
