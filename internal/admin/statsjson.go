package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/meter"
)

// percentileTable are those that Envoy prints of a histogram.
var percentileTable = []float64{0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100}

// text writes a stat's value as Envoy does: for a histogram of times, its percentileTable in milliseconds as
// (interval,cumulative); there are no intervals here.
func (s stat) text() string {
	if s.kind != histogram {
		return strconv.FormatInt(s.value, 10)
	}
	if s.latency.Count == 0 {
		return "No recorded values"
	}
	parts := make([]string, len(percentileTable))
	for i, p := range percentileTable {
		parts[i] = fmt.Sprintf("P%v(nan,%v)", p, milliseconds(s.latency, p))
	}
	return strings.Join(parts, " ")
}

// milliseconds returns a percentile in milliseconds, to three digits: its bucket knows no more.
func milliseconds(latency *meter.Snapshot, percentile float64) float64 {
	ms := float64(latency.Quantile(percentile/100)) / float64(time.Millisecond)
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(ms, 'g', 3, 64), 64)
	if err != nil {
		return ms
	}
	return rounded
}

// The JSON of /stats?format=json, in Envoy's shape.
type (
	statsBody struct {
		Stats []any `json:"stats"` // statValue…, then one statHistograms
	}
	statValue struct {
		Name  string `json:"name"`
		Value int64  `json:"value"`
	}
	statHistograms struct {
		Histograms struct {
			Supported []float64       `json:"supported_quantiles"`
			Computed  []statQuantiles `json:"computed_quantiles"`
		} `json:"histograms"`
	}
	statQuantiles struct {
		Name   string         `json:"name"`
		Values []statQuantile `json:"values"`
	}
	statQuantile struct {
		Interval   *float64 `json:"interval"`
		Cumulative *float64 `json:"cumulative"` // null when nothing was recorded
	}
)

func statsJSON(all []stat) statsBody {
	body := statsBody{Stats: []any{}}
	var histograms statHistograms
	histograms.Histograms.Supported = percentileTable
	for _, s := range all {
		if s.kind != histogram {
			body.Stats = append(body.Stats, statValue{Name: s.name, Value: s.value})
			continue
		}
		quantiles := statQuantiles{Name: s.name, Values: make([]statQuantile, len(percentileTable))}
		for i, p := range percentileTable {
			if s.latency.Count > 0 {
				quantiles.Values[i].Cumulative = new(milliseconds(s.latency, p))
			}
		}
		histograms.Histograms.Computed = append(histograms.Histograms.Computed, quantiles)
	}
	if len(histograms.Histograms.Computed) > 0 {
		body.Stats = append(body.Stats, histograms)
	}
	return body
}
