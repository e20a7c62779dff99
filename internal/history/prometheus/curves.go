package prometheus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"crossfade.dev/internal/series"
)

// ErrVersions says that Prometheus is not told who has which version.
var ErrVersions = errors.New("Prometheus knows no versions; ask for the whole service, or by endpoint") //nolint:staticcheck // a name

// window is what a rate is taken over at least, in seconds: a few scrapes.
const window = 60

const (
	ended      = "crossfade_requests_ended_total"
	lostSides  = `side=~"gateway|endpoint"`
	ofEndpoint = "endpoint"
	others     = "others"
)

// Curves returns what passed over time, as far as it was scraped: the steps of q, which must have been checked. What is not known is
// NaN. There are no curves by version: see ErrVersions.
func (c *Client) Curves(ctx context.Context, q series.Query) (series.Curves, error) {
	out := series.Curves{From: q.From, Step: q.Step, Curves: []series.Curve{}}
	if q.By == series.Version {
		return out, ErrVersions
	}
	curves := map[string]*series.Curve{}
	for _, question := range questions(&q) {
		streams, err := c.ask(ctx, question.expression, q.From+int64(q.Step), q.To, q.Step)
		if err != nil {
			return out, err
		}
		for _, s := range streams {
			name := s.Metric[ofEndpoint]
			if curves[name] == nil {
				curves[name] = &series.Curve{Name: name, Requests: unknown(q.Steps())}
			}
			fill(question.column(curves[name]), s.Values, &q)
		}
	}
	if q.By == series.Whole && len(curves) == 0 {
		curves[""] = &series.Curve{Requests: unknown(q.Steps())}
	}
	for _, name := range slices.Sorted(maps.Keys(curves)) {
		out.Curves = append(out.Curves, *curves[name])
	}
	if q.By == series.Endpoint {
		out.Curves = busiest(out.Curves)
	}
	return out, nil
}

// A question is an expression whose answer is one column of each curve.
type question struct {
	expression string
	column     func(c *series.Curve) *series.Column
}

// questions are what makes the curves of a query.
func questions(q *series.Query) []question {
	over := fmt.Sprintf("[%ds]", max(q.Step, window))
	of, place := serviceOf(q.Service)+`,subset=""`, "service"
	if q.Outside {
		of, place = `listener!="",listener!="mesh"`, "listener"
	}
	requests := func(c *series.Curve) *series.Column { return &c.Requests }
	lost := func(c *series.Curve) *series.Column { return &c.Lost }
	if q.By == series.Endpoint {
		of = serviceOf(q.Service)
		sum := func(metric string) string {
			return fmt.Sprintf("sum by (endpoint) (rate(crossfade_endpoint_%s{%s}%s))", metric, of, over)
		}
		failed := []string{sum("timeouts_total"), sum("cuts_total"), sum("connect_failures_total")}
		return []question{
			{sum("requests_total"), requests},
			{strings.Join(failed, " + "), lost},
			{sum("due_requests_total"), func(c *series.Curve) *series.Column { return &c.Due }},
			{fmt.Sprintf(`avg by (endpoint) (avg_over_time(crossfade_endpoint_share_ratio{%s,subset=""}[%ds]))`, of, q.Step), func(c *series.Curve) *series.Column { return &c.Share }},
		}
	}
	quantile := func(q string) string {
		return fmt.Sprintf("1000 * histogram_quantile(%s, sum by (le) (rate(crossfade_%s_request_duration_seconds_bucket{%s}%s)))", q, place, of, over)
	}
	return []question{
		{fmt.Sprintf("sum(rate(%s{%s}%s))", ended, of, over), requests},
		{fmt.Sprintf("sum(rate(%s{%s,%s}%s)) or 0 * sum(rate(%s{%s}%s))", ended, of, lostSides, over, ended, of, over), lost},
		{quantile("0.5"), func(c *series.Curve) *series.Column { return &c.P50 }},
		{quantile("0.99"), func(c *series.Curve) *series.Column { return &c.P99 }},
		{fmt.Sprintf("sum(crossfade_%s_requests_active{%s})", place, of), func(c *series.Curve) *series.Column { return &c.Active }},
	}
}

// serviceOf are the matchers of a service: its host and its port are two labels.
func serviceOf(name string) string {
	host, port := name, ""
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		host, port = name[:i], name[i+1:]
	}
	return fmt.Sprintf("service=%s,port=%s", quoted(host), quoted(port))
}

// quoted is a string of PromQL, whatever stands in it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

func unknown(n int) series.Column {
	column := make(series.Column, n)
	for i := range column {
		column[i] = float32(math.NaN())
	}
	return column
}

// fill sets the steps that there are values of: that of a moment is of the step that it ends.
func fill(column *series.Column, values []value, q *series.Query) {
	if *column == nil {
		*column = unknown(q.Steps())
	}
	for _, v := range values {
		if i := (v.at-q.From)/int64(q.Step) - 1; i >= 0 && i < int64(len(*column)) {
			(*column)[i] = float32(v.v)
		}
	}
}

// busiest leaves those that were sent most, by name, and all others together.
func busiest(curves []series.Curve) []series.Curve {
	if len(curves) <= series.MostCurves {
		return curves
	}
	slices.SortStableFunc(curves, func(a, b series.Curve) int { return cmp.Compare(sum(b.Requests), sum(a.Requests)) })
	rest := series.Curve{Name: others, Requests: unknown(len(curves[0].Requests)), Lost: unknown(len(curves[0].Requests))}
	for _, c := range curves[series.MostCurves:] {
		add(rest.Requests, c.Requests)
		add(rest.Lost, c.Lost)
	}
	curves = curves[:series.MostCurves]
	slices.SortFunc(curves, func(a, b series.Curve) int { return cmp.Compare(a.Name, b.Name) })
	return append(curves, rest)
}

func known(v float32) bool { return !math.IsNaN(float64(v)) }

func sum(column series.Column) (sum float64) {
	for _, v := range column {
		if known(v) {
			sum += float64(v)
		}
	}
	return sum
}

func add(to, column series.Column) {
	for i, v := range column {
		switch {
		case !known(v):
		case known(to[i]):
			to[i] += v
		default:
			to[i] = v
		}
	}
}
