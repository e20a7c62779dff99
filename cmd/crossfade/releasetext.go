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

// lossTable says what became of requests that were lost in each way; docs/guides/releases.md says more.
var lossTable = map[string]string{
	"no-endpoint": "there was nobody to send them to",
	"overflow":    "refused by a limit",
	"parted":      "the gateway or the endpoint left, and the time was over",
	"fault":       "a defect of crossfade",
	"refused":     "no connection could be made",
	"reset":       "the connection ended before an answer",
	"cut":         "the answer was broken off",
	"timeout":     "no answer in time",
	"5xx":         "the application answered so",
	"grpc":        "the application answered so",
}

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
	writeCame(b, r.Warm)
	for _, l := range r.Losses {
		where := string(l.Side)
		if l.Service != "" {
			where += ", " + l.Service
		}
		fmt.Fprintf(b, "  lost      %d × %s (%s): %s\n", l.N, l.Kind, where, cmp.Or(lossTable[l.Kind], "?"))
	}
	if r.LostAfter > 0 {
		fmt.Fprintf(b, "  after     %d lost in the minute after it: in no verdict\n", r.LostAfter)
	}
	for _, f := range r.Failing {
		fmt.Fprintf(b, "  failing   %s: %d attempts failed, %d were sent\n", f.Name, f.Failed, f.Attempts)
	}
	for _, d := range r.Doubts {
		fmt.Fprintf(b, "  unknown   %s\n", d)
	}
}

// writeCame writes how each came up that did; those of one name that never did, as they died and were started again, in one line.
func writeCame(b *bytes.Buffer, came []release.WarmTime) {
	never, names := map[string]int{}, []string{}
	for _, w := range came {
		if !w.Done && w.Ready == 0 {
			if never[w.Name] == 0 {
				names = append(names, w.Name)
			}
			never[w.Name]++
			continue
		}
		fmt.Fprintf(b, "            %s: ready after %s, %s\n", w.Name, spent(w.Ready, w.Ready > 0), warmth(w))
	}
	for _, name := range names {
		times := ""
		if n := never[name]; n > 1 {
			times = fmt.Sprintf(", %d times", n)
		}
		fmt.Fprintf(b, "            %s: not ready%s\n", name, times)
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
