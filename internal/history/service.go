package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// serviceRow is one service, without its endpoints.
func (h *History) serviceRow(in *fleet.Service) (ServiceRow, *service) {
	s := h.services[in.Name]
	row := ServiceRow{
		Name: in.Name, Host: in.Host, Namespace: in.Namespace, Protocol: in.Protocol,
		Requests: s.ended.Ended(), Lost: s.ended.Lost(), Ended: s.ended, Direct: s.direct, Rate: s.place.last10(h.settled),
		Spark: make([]float32, sparkSeconds),
	}
	for i := range row.Spark {
		row.Spark[i] = s.place.requests.At(h.settled - sparkSeconds + 1 + int64(i))
	}
	row.Stages = s.stages
	for _, e := range s.list {
		if e.ejected > 0 {
			row.Stages.Ejected++
		}
	}
	row.Versions = h.versionRows(s)
	return row, s
}

// versionRows are those versions that have endpoints, and those that still got requests.
func (h *History) versionRows(s *service) []VersionRow {
	var sum float64
	from, to := h.settled-secondsOfRates+1, h.settled+1
	list := make([]VersionRow, 0, len(s.rows))
	for name, v := range s.versions {
		row, has := s.rows[name]
		row.Name = name
		row.Requests, row.Failed = v.requests.Sum(from, to)/secondsOfRates, v.lost.Sum(from, to)/secondsOfRates
		if has || row.Requests > 0 {
			list = append(list, row)
			sum += row.Requests
		}
	}
	for i := range list {
		if sum > 0 {
			list[i].Fraction = list[i].Requests / sum
		}
	}
	slices.SortFunc(list, func(a, b VersionRow) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// endpointRows are all of a service's endpoints, in the snapshot's order.
func (h *History) endpointRows(in *fleet.Service, s *service, now time.Time) []EndpointRow {
	rows := make([]EndpointRow, 0, len(in.Endpoints))
	places := make([]*fleet.Member, len(in.Endpoints))
	for i := range in.Pools[0].Members {
		m := &in.Pools[0].Members[i]
		places[m.Endpoint] = m
	}
	for i := range in.Endpoints {
		rows = append(rows, h.endpointRow(in, &in.Endpoints[i], places[i], s.list[i], now))
	}
	return rows
}

func (h *History) endpointRow(in *fleet.Service, e *fleet.Endpoint, m *fleet.Member, of *endpoint, now time.Time) EndpointRow {
	from, to := h.settled-secondsOfRates+1, h.settled+1
	row := EndpointRow{
		Incarnation: e.Incarnation, Name: e.Name, Address: e.Address.String(), Version: of.version, Stage: e.Stage,
		Ejected: of.ejected > 0, Age: h.view.Age(e, now).Seconds(), Weight: float64(e.Weight), Factor: 1,
		Reason: of.reason, Due: of.due.Sum(from, to) / secondsOfRates, Requests: of.requests.Sum(from, to) / secondsOfRates,
		Failed: of.lost.Sum(from, to) / secondsOfRates, Active: max(0, of.now), Sent: of.sent, Front: e.Front,
	}
	if e.Factor != nil {
		row.Factor = *e.Factor
	}
	if e.Stage == fleet.Starting && e.Age == 0 {
		row.Age = 0
	}
	for at := from; at < to; at++ {
		row.P99 = max(row.P99, float64(of.p99.At(at)))
	}
	if instance := h.instance(e.Incarnation); instance != nil {
		row.Workload, row.Revision, row.Foreign = instance.Workload, instance.Revision, instance.Foreign
	}
	row.Paused = m != nil && m.Paused
	switch {
	case of.shares > 0:
		row.Share = of.mean()
	case e.Stage.Offered() && m != nil:
		p := &in.Pools[0].Policy
		w := p.WarmupOf(e)
		row.Share = warmup.Share(w, warmup.Progress(w, *m, h.view.Age(e, now)))
	}
	if !e.Stage.Offered() {
		row.Share = 0
	}
	row.Sentence = sentence(&row)
	return row
}

// sentence says why an endpoint's share is what it is.
func sentence(row *EndpointRow) string {
	switch row.Stage {
	case fleet.Starting:
		return "It has not passed its checks yet: it gets nothing."
	case fleet.Draining:
		return fmt.Sprintf("It is leaving: it gets nothing new, and %d of its requests are open.", row.Active)
	default:
	}
	if row.Reason == "" && !row.Paused {
		return fmt.Sprintf("It gets %.0f %% of its weight.", 100*row.Share)
	}
	text := row.Reason
	switch meaning := meanings()[warmup.Reason(row.Reason)]; {
	case row.Paused:
		text = "its warm-up is paused"
	case meaning != "":
		text = meaning
	}
	return fmt.Sprintf("It gets %.0f %% of its weight: %s.", 100*row.Share, text)
}

// meanings says what the words for a share mean.
func meanings() map[warmup.Reason]string {
	return map[warmup.Reason]string{
		warmup.New:           "it is new and warms up",
		warmup.NotReady:      "it does not pass its checks now",
		warmup.Recovered:     "it is back, and warms up from where it was",
		warmup.Baseline:      "it was there before warm-up was switched on",
		warmup.Budget:        "it is raised, so that the warm ones do not carry too much",
		warmup.Probe:         "it is new, and gets a probe in each period",
		warmup.BypassSingle:  "there is nobody else to send to",
		warmup.BypassAllCold: "all warm up at once, and shares are relative to the warmest",
		warmup.Manual:        "somebody moved its warm-up",
		warmup.Weighed:       "somebody changed its weight",
		warmup.Ejected:       "a data plane has ejected it",
		warmup.Panic:         "it is ejected, and sent to all the same: too few are in service",
		warmup.Drained:       "it has no weight",
		warmup.Elsewhere:     "the policy sends nothing to where it is",
	}
}

// Service returns all that a service's page shows but its curves, and whether there is that service.
func (h *History) Service(name string) (Service, bool) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.services[name]
	if s == nil || s.index < 0 {
		return Service{}, false
	}
	in := &h.view.Services[s.index]
	row, _ := h.serviceRow(in)
	row.Endpoints = h.endpointRows(in, s, now)
	page := Service{
		ServiceRow: row, Pools: make([]PoolRow, 0, len(in.Pools)), Origin: in.Origin, Codes: codesOf(s.codes), Retries: s.retries,
		Events: h.events.latest(serviceEvents, func(e *fleet.Event) bool { return e.Service == name }),
	}
	for i := range in.Pools {
		page.Pools = append(page.Pools, poolRow(&in.Pools[i]))
	}
	page.Findings = findings(in, &row)
	return page, true
}

func poolRow(p *fleet.Pool) PoolRow {
	row := PoolRow{Subset: p.Subset, Algorithm: p.Policy.Algorithm.String(), Policy: p.Policy, Origin: p.Origin, Sentences: []string{}}
	if p.Policy.Warmup.Window > 0 {
		row.Warmup = &p.Policy.Warmup
	}
	say := func(format string, args ...any) { row.Sentences = append(row.Sentences, fmt.Sprintf(format, args...)) }
	say("It balances by %s among %s.", row.Algorithm, endpoints(len(p.Members)))
	if w := row.Warmup; w != nil {
		say("A new endpoint warms up within %s, from %.0f %% of its weight.", inWords(w.Window), 100*w.Minimum)
	} else {
		say("It has no warm-up of its own; a Lifecycle or a label may give its endpoints one.")
	}
	if p.Policy.Panic > 0 {
		say("When less than %.0f %% of its endpoints are in service, those that are ejected get requests too.", 100*p.Policy.Panic)
	}
	return row
}

func endpoints(n int) string {
	if n == 1 {
		return "1 endpoint"
	}
	return fmt.Sprintf("%d endpoints", n)
}

// inWords is a duration without what is 0 of it: "2m", not "2m0s".
func inWords(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// findings are what about a service asks for something.
func findings(in *fleet.Service, row *ServiceRow) []string {
	list := []string{}
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	offered := row.Stages.Warming + row.Stages.Serving
	switch {
	case len(in.Endpoints) == 0:
		say("It has no endpoint: whoever asks for it is answered 503. Start an instance that its selector selects.")
	case offered == 0:
		say("Of its %s none may be sent requests: see their stages and reasons.", endpoints(len(in.Endpoints)))
	case row.Stages.Ejected >= offered:
		say("Every endpoint is ejected by a data plane.")
	case row.Stages.Ejected > 0:
		say("Of its %s, a data plane has ejected %d.", endpoints(len(in.Endpoints)), row.Stages.Ejected)
	}
	for i := range in.Pools {
		if p := &in.Pools[i]; len(p.Members) == 0 && p.Subset != "" && len(in.Endpoints) > 0 {
			say("Subset %q selects no endpoint (%s:%d).", p.Subset, p.Origin.File, p.Origin.Line)
		}
	}
	if row.Rate.Lost > 0 {
		say("It lost %.1f requests per second over the last ten seconds: see how requests ended.", row.Rate.Lost)
	}
	return list
}
