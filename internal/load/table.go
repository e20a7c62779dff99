package load

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// WriteTable writes the report for people to read.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	r.writeHead(&b)
	r.writeAccount(&b)
	if len(r.Statuses) > 0 {
		b.WriteString("\nstatus\n")
		for _, status := range slices.Sorted(maps.Keys(r.Statuses)) {
			row(&b, fmt.Sprint("  ", status), r.Statuses[status], "")
		}
	}
	writeCounts(&b, "grpc status", r.GRPCStatuses)
	writeCounts(&b, "stream reset with", r.Resets)
	writeCounts(&b, "goaway with", r.GoAways)
	r.writeEndpoints(&b)
	r.writeLatency(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeCounts writes counts by name, the largest first, if there are any.
func writeCounts(b *strings.Builder, what string, counts map[string]uint64) {
	if len(counts) == 0 {
		return
	}
	b.WriteString("\n" + what + "\n")
	for _, name := range byCount(counts) {
		row(b, "  "+name, counts[name], "")
	}
}

// row writes one line of the account.
func row(b *strings.Builder, name string, n uint64, note string) {
	fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("%-14s %10d  %s", name, n, note), " "))
}

func (r *Report) writeHead(b *strings.Builder) {
	keep := "kept alive"
	if !r.KeepAlive {
		keep = "one per request"
	}
	const most = 5 // URLs
	for i, url := range r.URLs {
		if i == most-1 && len(r.URLs) > most {
			fmt.Fprintf(b, "and %d more URLs\n", len(r.URLs)-i)
			break
		}
		fmt.Fprintf(b, "%s  at %s\n", url, r.Addresses[i])
	}
	if r.Mode == "open" {
		gaps := "equal gaps"
		if r.Poisson {
			gaps = fmt.Sprintf("poisson gaps, seed %d", r.Seed)
		}
		fmt.Fprintf(b, "open loop: %g requests/s (%s), at most %s, %s\n\n", r.Rate, gaps, r.ways(), keep)
	} else {
		fmt.Fprintf(b, "closed loop: %s, %s\n\n", r.ways(), keep)
	}
}

// ways says on what requests are sent, as in "2 connections of 50 streams, grpc with 10 messages each way".
func (r *Report) ways() string {
	text := fmt.Sprintf("%d connections", r.Connections)
	if r.Protocol == HTTP1 {
		return text
	}
	text += fmt.Sprintf(" of %d streams, %s", r.Streams, r.Protocol)
	if r.Messages > 0 {
		text += fmt.Sprintf(" with %d messages each way", r.Messages)
	}
	return text
}

func (r *Report) writeAccount(b *strings.Builder) {
	if r.Interrupted {
		b.WriteString("interrupted\n")
	}
	row(b, "sent", r.Sent, fmt.Sprintf("%.1f/s in %s", r.SentPerSecond, short(r.Elapsed)))
	row(b, "= ok", r.OK, r.part(r.OK))
	r.Lost.Each(func(kind Outcome, n uint64) {
		note := ""
		if n > 0 {
			note = r.part(n)
		} else if !kind.known(r.Protocol) {
			return
		}
		if n > 0 && kind.Retryable() && r.Protocol != HTTP1 {
			note += ", a client may send it again"
		}
		row(b, "+ "+kind.String(), n, note)
	})
	if r.Abandoned > 0 {
		row(b, "+ abandoned", r.Abandoned, "in flight when interrupted")
	}
	row(b, "lost", r.LostTotal, r.part(r.LostTotal))
	if r.Mode == "open" {
		row(b, "late", r.Late, "at most "+short(r.LateMax)+" after they were due")
	}
	if r.Unsent > 0 {
		row(b, "never sent", r.Unsent, "no connection came free")
	}
	row(b, "connections", r.Connects, "")
	if r.IdleClosed > 0 {
		row(b, "closed idle", r.IdleClosed, "by the peer, between two requests")
	}
	for _, text := range byCount(r.OtherDetails) {
		fmt.Fprintf(b, "other: %d × %q\n", r.OtherDetails[text], text)
	}
}

// part writes n as a part of what was sent.
func (r *Report) part(n uint64) string {
	if r.Sent == 0 {
		return ""
	}
	return fmt.Sprintf("%.4g %%", 100*float64(n)/float64(r.Sent))
}

func (r *Report) writeEndpoints(b *strings.Builder) {
	if len(r.Endpoints) == 0 {
		return
	}
	b.WriteString("\nendpoint\n")
	whole := float64(r.OK + r.Lost.ServerError + r.Lost.GRPCError)
	for _, name := range byCount(r.Endpoints) {
		row(b, "  "+strings.Trim(fmt.Sprintf("%q", name), `"`), r.Endpoints[name], fmt.Sprintf("%.2f %%", 100*float64(r.Endpoints[name])/whole))
	}
	if r.NoEndpoint > 0 {
		row(b, "  (not named)", r.NoEndpoint, "")
	}
}

func (r *Report) writeLatency(b *strings.Builder) {
	if r.OK == 0 {
		return
	}
	if r.Latency.From == "due" {
		b.WriteString("\nlatency of ok answers, from the moment each request was due (corrected for coordinated omission)\n")
	} else {
		b.WriteString("\nlatency of ok answers, from the sending (closed loop: not corrected for coordinated omission)\n")
	}
	l := r.Latency
	for _, line := range []struct {
		name string
		d    time.Duration
	}{{"p50", l.P50}, {"p90", l.P90}, {"p99", l.P99}, {"p99.9", l.P999}, {"max", l.Max}, {"mean", l.Mean}} {
		fmt.Fprintf(b, "  %-12s %10s\n", line.name, short(line.d))
	}
}

// byCount returns a map's keys, the largest count first.
func byCount(counts map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
}

// short writes a duration to three digits, whole seconds always.
func short(d time.Duration) string {
	precision := time.Duration(1)
	for limit := 1000 * precision; d >= limit && precision < time.Second; limit *= 10 {
		precision *= 10
	}
	return d.Round(precision).String()
}

// String writes a second as one line of progress.
func (s Second) String() string {
	line := fmt.Sprintf("%4ds  sent %d  ok %d  lost %d", s.Second+1, s.Sent, s.OK, s.Lost.Total())
	if s.Lost.Total() > 0 {
		var kinds []string
		s.Lost.Each(func(kind Outcome, n uint64) {
			if n > 0 {
				kinds = append(kinds, fmt.Sprintf("%s %d", kind, n))
			}
		})
		line += " (" + strings.Join(kinds, ", ") + ")"
	}
	if s.Late > 0 {
		line += fmt.Sprintf("  late %d", s.Late)
	}
	return fmt.Sprintf("%s  in flight %d  p99 %s", line, s.InFlight, short(s.P99))
}
