package release

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/ending"
)

//go:embed report.html
var reportText string

// HTML writes a release as a page that needs nothing else: no script, no picture, no font; light and dark. lives are episodes
// of those that came and went, as far as they are kept.
func HTML(w io.Writer, r Release, lives []Episode) error {
	page, err := template.New("report").Funcs(template.FuncMap{
		"number": number, "requests": requests, "took": took, "join": func(all []string) string { return strings.Join(all, ", ") },
		"ms":    func(ms float64) string { return strconv.FormatFloat(ms, 'g', 3, 64) + " ms" },
		"time":  func(t time.Time) string { return t.UTC().Format("2 January 2006 15:04:05 UTC") },
		"clock": clock,
		"span":  func(from, to time.Time) string { return to.Sub(from).Round(time.Second).String() },
	}).Parse(reportText)
	if err != nil {
		return fmt.Errorf("report of release %s: %w", r.ID, err)
	}
	at := map[string]*Episode{}
	for i := range lives {
		at[lives[i].ID] = &lives[i]
	}
	data := struct {
		Release

		Served, Aborted, All uint64
		Starts, Shutdowns    []chart
	}{Release: r, Served: r.Requests[ending.Served], Aborted: r.Requests[ending.Aborted], All: r.Requests.Ended()}
	for _, id := range r.Came {
		if e := at[id]; e != nil {
			data.Starts = append(data.Starts, draw(e, "start", e.Began, startEnd(e)))
		}
	}
	for _, id := range r.Went {
		if e := at[id]; e != nil && !e.Left.IsZero() {
			data.Shutdowns = append(data.Shutdowns, draw(e, "shutdown", e.Left.Add(-before), e.Left.Add(24*time.Hour)))
		}
	}
	if err := page.Execute(w, data); err != nil {
		return fmt.Errorf("report of release %s: %w", r.ID, err)
	}
	return nil
}

// startEnd is until when an episode is its start.
func startEnd(e *Episode) time.Time {
	end := e.Began.Add(24 * time.Hour)
	if !e.Warm.IsZero() {
		end = e.Warm.Add(afterWarm)
	}
	if left := e.Left.Add(-time.Second); !e.Left.IsZero() && left.Before(end) {
		end = left
	}
	return end
}

// A chart is what one instance got over some time, and what happened to it.
type chart struct {
	Title, Label       string
	Width, Height      int
	Left, Right        int
	Top, Bottom, Under int
	Got, Due, Failed   string // paths; Got is "" without points
	Most, First, Last  string
	Lines              []line
	Marks              []string
	from, to           float64 // Unix seconds
	most               float64 // requests per second
}

// A line stands where something happened; its label is the number of its mark, or those of several.
type line struct {
	X, Label string
	at       float64
	first    int
}

// draw makes a chart of an episode from one moment to another.
func draw(e *Episode, part string, from, to time.Time) chart {
	c := chart{Title: e.Name + ": " + part, Width: 720, Height: 190, Left: 44, Right: 712, Top: 34, Bottom: 168, Under: 184}
	var points []Point
	failed := false
	for _, p := range e.Points {
		if at := time.Unix(p.At, 0); !at.Before(from.Truncate(time.Second)) && !at.After(to) {
			points = append(points, p)
			c.most = max(c.most, float64(p.Requests), float64(p.Due))
			failed = failed || p.Failed > 0
		}
	}
	if len(points) > 1 {
		c.from, c.to = float64(points[0].At), float64(points[len(points)-1].At)
		if i := slices.IndexFunc(e.Marks, func(m Mark) bool { return !m.At.Before(from) && points[0].At-m.At.Unix() < 60 }); i >= 0 {
			c.from = min(c.from, float64(e.Marks[i].At.Unix()))
		}
		c.Most = strconv.FormatFloat(c.most, 'g', 3, 64)
		c.First, c.Last = clock(time.Unix(int64(c.from), 0)), clock(time.Unix(int64(c.to), 0))
		c.Label = fmt.Sprintf("Requests per second to %s from %s to %s, at most %s", e.Name, c.First, c.Last, c.Most)
		c.Got = c.path(points, func(p Point) float32 { return p.Requests })
		c.Due = c.path(points, func(p Point) float32 { return p.Due })
		if failed {
			c.Failed = c.path(points, func(p Point) float32 { return p.Failed })
		}
	}
	for _, m := range e.Marks {
		if m.At.Before(from) || m.At.After(to) {
			continue
		}
		text := fmt.Sprintf("%s %s", clock(m.At), m.Kind)
		if m.Text != "" {
			text += ": " + m.Text
		}
		c.Marks = append(c.Marks, text)
		if at := float64(m.At.UnixMilli()) / 1000; at >= c.from && at <= c.to {
			c.stand(at, len(c.Marks))
		}
	}
	return c
}

// stand puts a line where the n-th mark was; those that stand too close have one label.
func (c *chart) stand(at float64, n int) {
	x := c.x(at)
	if last := len(c.Lines) - 1; last >= 0 && x-c.Lines[last].at < 16 {
		l := &c.Lines[last]
		l.Label = strconv.Itoa(l.first) + "–" + strconv.Itoa(n)
		return
	}
	c.Lines = append(c.Lines, line{X: coordinate(x), Label: strconv.Itoa(n), at: x, first: n})
}

// path draws one curve. Where seconds are not known it is broken.
func (c *chart) path(points []Point, of func(Point) float32) string {
	var b strings.Builder
	gap := max(2, 2*(points[1].At-points[0].At))
	for i, p := range points {
		to := 'L'
		if i == 0 || p.At-points[i-1].At > gap {
			to = 'M'
		}
		y := float64(c.Bottom)
		if c.most > 0 {
			y -= float64(of(p)) / c.most * float64(c.Bottom-c.Top)
		}
		fmt.Fprintf(&b, "%c%s %s", to, coordinate(c.x(float64(p.At))), coordinate(y))
	}
	return b.String()
}

// x is where a second stands.
func (c *chart) x(at float64) float64 {
	return float64(c.Left) + (at-c.from)/max(1, c.to-c.from)*float64(c.Right-c.Left)
}

func coordinate(at float64) string { return strconv.FormatFloat(at, 'f', 1, 64) }

// took is a duration for people, if it is known.
func took(d time.Duration, known bool) string {
	if !known {
		return "–"
	}
	return d.Round(100 * time.Millisecond).String()
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.0") }
