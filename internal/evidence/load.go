package evidence

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"
)

// A Load is what an endpoint says of its own load, as Open Request Cost Aggregation has it
// (https://github.com/cncf/xds/blob/main/xds/data/orca/v3/orca_load_report.proto). The zero value says nothing; what is 0
// is not written.
type Load struct {
	CPU         float64  `json:"cpu_utilization,omitempty"`         // of what it has; more than 1 where it is over its own limit
	Memory      float64  `json:"mem_utilization,omitempty"`         // 0..1
	Application float64  `json:"application_utilization,omitempty"` // by the application's own measure; may be more than 1
	Requests    float64  `json:"rps_fractional,omitempty"`          // that it serves, per second
	Errors      float64  `json:"eps,omitempty"`                     // likewise
	Utilization []Metric `json:"utilization,omitempty"`             // of other resources, 0..1; these three sorted by name, no name twice
	Cost        []Metric `json:"request_cost,omitempty"`            // of the request
	Named       []Metric `json:"named_metrics,omitempty"`           // whatever else it measures
}

// A Metric is a number with its name: printable ASCII, without a comma, "=" or ":" where it goes as text.
type Metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Named metrics by which the front of an instance says how warm that is. Ages are durations, never dates: no clock is
// compared with another machine's.
const (
	WarmAge      = "warm.age_s"       // since the instance was born, in seconds
	WarmBoot     = "warm.boot_id"     // BootID of its incarnation
	WarmErrors   = "warm.err"         // part of recent requests that failed, 0..1
	WarmMean     = "warm.mean_ln_svc" // mean of the logarithm of recent service times, in seconds
	WarmCount    = "warm.n"           // recent requests
	WarmShare    = "warm.share"       // of its full weight, 0..1
	WarmVariance = "warm.var_ln_svc"  // variance of that logarithm
)

// BootID is an incarnation as a metric can carry it: a whole number below 2^53, which doubles hold exactly.
func BootID(incarnation string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(incarnation))
	return float64(h.Sum64() >> (64 - 53))
}

// Metric returns the named metric of that name.
func (l *Load) Metric(name string) (value float64, ok bool) {
	i, ok := slices.BinarySearchFunc(l.Named, name, byName)
	if !ok {
		return 0, false
	}
	return l.Named[i].Value, true
}

func byName(m Metric, name string) int { return cmp.Compare(m.Name, name) }

// numbers calls yield with the address of each of the load's numbers that have a name of their own, and of its number in
// the message; in that order.
func (l *Load) numbers(yield func(number int, name string, value *float64) bool) {
	_ = yield(1, "cpu_utilization", &l.CPU) &&
		yield(2, "mem_utilization", &l.Memory) &&
		yield(6, "rps_fractional", &l.Requests) &&
		yield(7, "eps", &l.Errors) &&
		yield(9, "application_utilization", &l.Application)
}

// A family is one of a load's three maps.
type family struct {
	number  int    // in the message
	prefix  string // of its metrics as text
	metrics *[]Metric
	within  bool // 0..1
}

// families are those of l, in the order of their numbers.
func (l *Load) families() [3]family {
	return [3]family{
		{4, "request_cost.", &l.Cost, false},
		{5, "utilization.", &l.Utilization, true},
		{8, "named_metrics.", &l.Named, false},
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// sayable says whether one of a load's own numbers is written: it says something, and is one.
func sayable(v float64) bool { return v > 0 && finite(v) }

// sayable says whether a metric is written.
func (m *Metric) sayable() bool { return finite(m.Value) && plainName(m.Name) }

const maxName = 128

// plainName says whether name can be a metric's.
func plainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}
