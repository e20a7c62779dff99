package fleet

import (
	"strings"
	"testing"

	"crossfade.dev/internal/ending"
)

// An agent counts what came to the ports of its own instance, in numbers that agree with one another.
func TestCheckDirect(t *testing.T) {
	right := func() *Traffic {
		return &Traffic{Run: "r", Span: 1, Listeners: []ListenerTraffic{
			{Name: PortName(80)},
			{
				Name: "9080", Requests: 6, Active: 1, Ended: ending.Sums{ending.Served: 3, ending.Cut: 2},
				Codes: []Code{{200, 3}, {503, 1}}, Calls: []Code{{0, 2}, {16, 1}}, Latency: Buckets{{-136, 1}, {-9, 2}, {57, 1}},
			},
		}}
	}
	if err := right().CheckDirect(); err != nil {
		t.Errorf("got %v, want it right", err)
	}
	row := func(change func(*ListenerTraffic)) func(*Traffic) {
		return func(t *Traffic) { change(&t.Listeners[1]) }
	}
	for what, change := range map[string]func(*Traffic){
		"no run":               func(t *Traffic) { t.Run = "" },
		"a long run":           func(t *Traffic) { t.Run = strings.Repeat("r", 65) },
		"a span before":        func(t *Traffic) { t.Span = -1 },
		"a service":            func(t *Traffic) { t.Services = []ServiceTraffic{{Service: "reviews:9080"}} },
		"an endpoint":          func(t *Traffic) { t.Endpoints = []EndpointTraffic{{Service: "reviews:9080", Incarnation: "another"}} },
		"too many ports":       func(t *Traffic) { t.Listeners = make([]ListenerTraffic, 1025) },
		"one port twice":       func(t *Traffic) { t.Listeners[0].Name = "9080" },
		"no port":              row(func(l *ListenerTraffic) { l.Name = "http" }),
		"port 0":               row(func(l *ListenerTraffic) { l.Name = "0" }),
		"another spelling":     row(func(l *ListenerTraffic) { l.Name = "09080" }),
		"a mesh":               row(func(l *ListenerTraffic) { l.Mesh = true }),
		"connections":          row(func(l *ListenerTraffic) { l.Connects = 1 }),
		"more than came":       row(func(l *ListenerTraffic) { l.Ended[ending.Served]++ }),
		"fewer than none open": row(func(l *ListenerTraffic) { l.Active, l.Requests = -1, 4 }),
		"far too many":         row(func(l *ListenerTraffic) { l.Requests, l.Active = 1<<62+5, 1<<62 }),
		"sums that come round": row(func(l *ListenerTraffic) { l.Ended[ending.Cut], l.Ended[ending.Reset] = 1<<63+2, 1<<63 }),
		"a status of 99":       row(func(l *ListenerTraffic) { l.Codes[0].Status = 99 }),
		"one status twice":     row(func(l *ListenerTraffic) { l.Codes[1].Status = 200 }),
		"too many answers":     row(func(l *ListenerTraffic) { l.Codes[1].N = 1 << 60 }),
		"a call of 17":         row(func(l *ListenerTraffic) { l.Calls[1].Status = 17 }),
		"a bucket below":       row(func(l *ListenerTraffic) { l.Latency[0][0] = -137 }),
		"a bucket above":       row(func(l *ListenerTraffic) { l.Latency[2][0] = 58 }),
		"buckets out of order": row(func(l *ListenerTraffic) { l.Latency[1][0] = -136 }),
		"a count below 0":      row(func(l *ListenerTraffic) { l.Latency[1][1] = -1 }),
	} {
		wrong := right()
		change(wrong)
		if err := wrong.CheckDirect(); err == nil {
			t.Errorf("%s: nothing is found wrong with it", what)
		}
	}
}
