// Package series holds numbers over time: one sample a second for a quarter of an hour, one a minute for a day, in memory that is
// bounded and is taken only where something was counted. It reads no clock: moments are whole seconds of Unix time.
package series

import (
	"math"
	"strconv"
)

// How far back samples go.
const (
	Seconds = 15 * 60 // one-second samples
	Minutes = 24 * 60 // one-minute samples
)

// A Column is one number for each step of time. What is not known is NaN, null in JSON; what is written has four digits.
type Column []float32

// MarshalJSON is encoding/json's.
func (c Column) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 2+5*len(c)), '[')
	for i, v := range c {
		if i > 0 {
			b = append(b, ',')
		}
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, f, 'g', 4, 32)
		}
	}
	return append(b, ']'), nil
}

// Curves are several curves over the same steps of time.
type Curves struct {
	From   int64   `json:"from"`   // Unix seconds at which the first step begins
	Step   int     `json:"step_s"` // 1 or more
	Curves []Curve `json:"curves"`
}

// A Curve is what passed one place, by step. Columns that make no sense for it are absent.
type Curve struct {
	Name     string `json:"name"`               // "" is everything that was asked for; else a version, or an endpoint's name
	Of       string `json:"of,omitempty"`       // an endpoint's incarnation
	Requests Column `json:"requests"`           // per second: at a service that ended, at an endpoint that were sent
	Lost     Column `json:"lost,omitempty"`     // per second: see ending.Kind.Lost; at an endpoint, failed attempts
	Due      Column `json:"due,omitempty"`      // per second: what was due by weights and shares
	Share    Column `json:"share,omitempty"`    // 0..1
	P50      Column `json:"p50_ms,omitempty"`   // of whole answers in the step
	P99      Column `json:"p99_ms,omitempty"`   // likewise
	Active   Column `json:"active,omitempty"`   // open at the end of the step
	Fraction Column `json:"fraction,omitempty"` // of all of its service's requests in the step, 0..1
}

// Heat is a latency heat map: how many answers took how long, by step.
type Heat struct {
	From   int64      `json:"from"`
	Step   int        `json:"step_s"`
	Edges  []float64  `json:"edges_ms"` // upper edges of the rows, ascending; the last row has none
	Counts [][]uint32 `json:"counts"`   // by step, then by row; null where nothing is known
}
