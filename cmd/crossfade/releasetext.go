package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/release"
)

// write writes a release as it was asked for.
func (s *showing) write(ctx context.Context, w io.Writer, r *release.Release) error {
	switch s.output {
	case "json":
		return writeIndented(w, r)
	case "html":
		page, err := s.get(ctx, "releases", r.ID, "report")
		if err != nil {
			return err
		}
		_, err = w.Write(page)
		return err
	}
	var b bytes.Buffer
	writeRelease(&b, r)
	_, err := io.WriteString(w, legible(b.String()))
	return err
}

func writeIndented(w io.Writer, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// writeRelease writes a release for people.
func writeRelease(b *bytes.Buffer, r *release.Release) {
	fmt.Fprintf(b, "%s: %s\n", r.Verdict, r.Why)
	lines := [][2]string{
		{"release", fmt.Sprintf("%s, %s of %s/%s: %s", r.ID, r.Kind, r.Namespace, r.Name, r.What)},
		{"time", began(r)},
		{"services", strings.Join(r.Services, ", ")},
		{"requests", fmt.Sprintf("%d served, %d lost, %d in all", r.Requests[0], r.Requests.Lost(), r.Requests.Ended())},
		{"p99", fmt.Sprintf("%s before, %s during, %s after", p99(r.Before), p99(r.During), p99(r.After))},
		{"went", fmt.Sprintf("%d: %d drained, %d without a leave; %d requests cut", len(r.Went), r.Drains.Drained, r.Drains.Killed, r.Drains.Cut)},
		{"came", strconv.Itoa(len(r.Came))},
	}
	for _, l := range lines {
		fmt.Fprintf(b, "  %-9s %s\n", l[0], cmp.Or(l[1], "-"))
	}
	for _, w := range r.Warm {
		fmt.Fprintf(b, "            %s: ready after %s, %s\n", w.Name, spent(w.Ready, w.Ready > 0), warmth(w))
	}
	for _, l := range r.Losses {
		where := string(l.Side)
		if l.Service != "" {
			where += ", " + l.Service
		}
		fmt.Fprintf(b, "  lost      %d × %s (%s)\n", l.N, l.Kind, where)
	}
	for _, f := range r.Failing {
		fmt.Fprintf(b, "  failing   %s: %d of %d attempts\n", f.Name, f.Failed, f.Attempts)
	}
	for _, d := range r.Doubts {
		fmt.Fprintf(b, "  unknown   %s\n", d)
	}
}

func began(r *release.Release) string {
	text := r.Began.Local().Format(time.DateTime)
	if r.Ended.IsZero() {
		return text + ", not over"
	}
	return fmt.Sprintf("%s, %v", text, r.Ended.Sub(r.Began).Round(100*time.Millisecond))
}

func p99(q release.Quantiles) string {
	if q.Answers == 0 {
		return "-"
	}
	return strconv.FormatFloat(q.P99, 'g', 3, 64) + "ms"
}

func spent(d time.Duration, known bool) string {
	if !known {
		return "-"
	}
	return d.Round(100 * time.Millisecond).String()
}

// warmth says how long an instance took to be warm.
func warmth(w release.WarmTime) string {
	switch {
	case !w.Done:
		return "not warm yet"
	case w.Warm == 0:
		return "without a warm-up"
	}
	return "warm after " + spent(w.Warm, true) + " more"
}
