package admin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// An Explanation is the answer of /api/v1/explain: every number with the sentences that a person would ask for.
type Explanation struct {
	Snapshot uint64            `json:"snapshot"`
	Rejected *Rejection        `json:"rejected,omitempty"`
	ViewAge  time.Duration     `json:"view_age_ns"`       // since the snapshot was taken
	Locality fleet.Locality    `json:"locality,omitzero"` // where this program stands
	Pools    []PoolExplanation `json:"pools"`
}

// A PoolExplanation explains one pool and its endpoints.
type PoolExplanation struct {
	Service   string                `json:"service"`
	Status    PoolStatus            `json:"status"`
	Sentences []string              `json:"sentences"`
	Endpoints []EndpointExplanation `json:"endpoints"`
}

// An EndpointExplanation explains one endpoint of a pool.
type EndpointExplanation struct {
	EndpointStatus

	Sentence string `json:"sentence"`
}

// explain explains the pools of the services that name means. An empty subset is explained by its whole.
func (w World) explain(name string, now time.Time) Explanation {
	x := Explanation{Snapshot: w.View.Number, Rejected: w.rejection(), ViewAge: w.viewAge(now), Locality: w.Locality, Pools: []PoolExplanation{}}
	for _, p := range w.poolsOf(name) {
		pool := PoolExplanation{Service: p.Service.Name, Status: p.status(), Endpoints: []EndpointExplanation{}}
		from := &w.Locality
		if p.Shares == nil {
			from = nil
		}
		pool.Sentences = poolSentences(p.Service, pool.Status, from)
		for _, e := range w.endpointsOf(p, now) {
			pool.Endpoints = append(pool.Endpoints, EndpointExplanation{e, endpointSentence(e, pool.Status.Policy)})
		}
		x.Pools = append(x.Pools, pool)
	}
	return x
}

// poolSentences says how a pool balances, how it warms up and what passed it.
func poolSentences(s *fleet.Service, p PoolStatus, from *fleet.Locality) []string {
	name := s.Name
	if p.Subset != "" {
		name += ", subset " + p.Subset
	}
	sentences := []string{
		fmt.Sprintf("%s: %s over %s%s.", name, p.Policy.Algorithm, plural(p.Endpoints, "endpoint"), p.Stages.among()),
		warmupSentence(p),
	}
	sentences = append(sentences, policySentences(p, from)...)
	if p.Traffic != nil {
		sentences = append(sentences, p.Traffic.sentence())
	}
	return sentences
}

// among names the stages that are taken: ": 1 warming, 2 serving".
func (s Stages) among() string {
	var parts []string
	for _, stage := range []struct {
		n    int
		name string
	}{{s.Starting, "starting"}, {s.Warming, "warming"}, {s.Serving, "serving"}, {s.Draining, "draining"}, {s.Gone, "gone"}} {
		if stage.n > 0 {
			parts = append(parts, Count(stage.n)+" "+stage.name)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// originText says where configuration stands: " (DestinationRule default/reviews, bookinfo.yaml:12)".
func originText(o fleet.Origin) string {
	var parts []string
	if what := strings.TrimSpace(o.Kind + " " + o.Name); what != "" {
		parts = append(parts, what)
	}
	switch {
	case o.File != "" && o.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d", o.File, o.Line))
	case o.File != "":
		parts = append(parts, o.File)
	}
	if len(parts) == 0 {
		return " (by default)"
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// sentence says what passed, so that it adds up: "3,260 requests since the last reset: 3,257 × 200, 2 × 503, 1 cut
// off; half within 2.1 ms, 99 % within 9 ms; 3 of them failed, 0 in flight.".
func (t *TrafficStatus) sentence() string {
	if t.Requests == 0 && t.Active == 0 && len(t.Answers) == 0 && t.Failed == 0 {
		return "No requests since the last reset."
	}
	var parts []string
	answered := uint64(0)
	for _, status := range slices.Sorted(maps.Keys(t.Answers)) {
		answered += t.Answers[status]
		parts = append(parts, Count(t.Answers[status])+" × "+status)
	}
	known := answered + t.Timeouts + t.Cuts + t.Unsent + uint64(max(0, t.Active)) //nolint:gosec // not below 0
	for _, rest := range []struct {
		n    uint64
		what string
	}{
		{t.Timeouts, "without an answer in time"},
		{t.Cuts, "cut off"},
		{t.Unsent, "could not be sent"},
		{t.Requests - min(known, t.Requests), "given up by who asked"},
	} {
		if rest.n > 0 {
			parts = append(parts, Count(rest.n)+" "+rest.what)
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s since the last reset", plural(int(t.Requests), "request")) //nolint:gosec // far below
	if len(parts) > 0 {
		text.WriteString(": " + strings.Join(parts, ", "))
	}
	if answered > 0 {
		fmt.Fprintf(&text, "; half within %s, 99 %% within %s", Span(t.P50), Span(t.P99))
	}
	fmt.Fprintf(&text, "; %s of them failed, %s in flight.", Count(t.Failed), Count(t.Active))
	return text.String()
}

// endpointSentence says where an endpoint is in its life, what it should get, what it got, and why.
func endpointSentence(e EndpointStatus, p fleet.Policy) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s (%s) is %s", e.Name, e.Address, e.Stage)
	switch e.Stage {
	case fleet.Starting:
		text.WriteString(": " + cmp.Or(e.Note, "it has not passed its checks yet") + ". It gets nothing." + e.registeredSentence())
		return text.String()
	case fleet.Draining:
		fmt.Fprintf(&text, ": it gets nothing new and finishes what is open, %s.", plural(e.active(), "request"))
		return text.String()
	case fleet.Gone:
		text.WriteString(": it has left.")
		return text.String()
	case fleet.Warming, fleet.Serving:
	}
	fmt.Fprintf(&text, ": %s old", Span(e.Age))
	if e.Ramp == nil {
		fmt.Fprintf(&text, ", weight %s.", e.WeightText())
		text.WriteString(e.registeredSentence())
		return text.String()
	}
	text.WriteString(rampSentences(e, p) + e.Load.sentence() + e.registeredSentence())
	return text.String()
}

// rampSentences continue an endpoint's sentence with its ramp.
func rampSentences(e EndpointStatus, p fleet.Policy) string {
	var text strings.Builder
	r := e.Ramp
	way := wayText(e)
	alone := r.Reason == warmup.BypassSingle
	switch {
	case e.Forced():
		left := "nobody else is left"
		if r.Reason == warmup.Panic {
			left = "too few others are left"
		}
		fmt.Fprintf(&text, ". This program has ejected it%s. But %s, so it gets %s of the requests all the same. ",
			orNothing(": ", e.EjectedFor), left, Percent(r.Fraction))
	case alone:
		text.WriteString(", and alone (" + string(r.Reason) + "): there is nobody else to send to, so it gets all requests now" +
			orNothing(", though it is only ", way) + ". ")
	default:
		text.WriteString(orNothing(", ", way) + ". " + shareSentence(e) + " ")
	}
	text.WriteString(account(r))
	if why := because(e, p); why != "" && !alone && !e.Forced() {
		fmt.Fprintf(&text, " Reason: %s.", why)
	}
	if e.Paused && r.Reason != warmup.Manual {
		fmt.Fprintf(&text, " Its way up is %s.", cmp.Or(e.Note, "paused"))
	}
	if r.Remaining > 0 && r.Progress < 1 && !e.Ejected && r.Reason != warmup.Drained {
		if alone {
			fmt.Fprintf(&text, " Beside others it would be full in %s.", Span(r.Remaining))
		} else {
			fmt.Fprintf(&text, " Full in %s.", Span(r.Remaining))
		}
	}
	return text.String()
}

// wayText says how far an endpoint is on its way up: "10.2 % of the way through 2 m". It is empty at the end.
func wayText(e EndpointStatus) string {
	if e.Warmup == nil || e.Ramp.Progress >= 1 {
		return ""
	}
	text := fmt.Sprintf("%s of the way through %s", Percent(e.Ramp.Progress), Span(e.Warmup.Window))
	if e.WarmupFrom == itsOwn {
		text += " of its own"
	}
	if e.Ramp.Rebased {
		text += " (it was moved when the warm-up was changed, so that its share did not jump)"
	}
	return text
}

// shareSentence says what an endpoint should get.
func shareSentence(e EndpointStatus) string {
	text := "Its share is " + Percent(e.Ramp.Share)
	if e.Weight != 1 || e.Factor != nil {
		text += " of weight " + e.WeightText()
	}
	if e.Ramp.Level != "" {
		text += fmt.Sprintf(" in its group (%s, which gets %s)", e.Ramp.Level, Percent(e.Ramp.Part))
	}
	return text + fmt.Sprintf(", so it should get %s of the requests now.", Percent(e.Ramp.Fraction))
}

// account says what was due to an endpoint, and what it got.
func account(r *Ramp) string {
	if r.Keyed {
		return fmt.Sprintf("Since it joined it got %s: as many as its keys brought, and few keys are uneven.", Count(r.Actual))
	}
	if r.Actual == 0 && r.Expected < 0.05 {
		return "Nothing was due to it since it joined."
	}
	text := fmt.Sprintf("Since it joined %s were due to it; it got %s", amount(r.Expected), Count(r.Actual))
	if r.Expected >= 1 {
		text += " (" + Percent(float64(r.Actual)/r.Expected) + ")"
	}
	return text + "."
}

// orNothing puts lead before text, if there is any.
func orNothing(lead, text string) string {
	if text == "" {
		return ""
	}
	return lead + text
}

// reasonTable says in words what each reason means; a full share needs none.
var reasonTable = map[warmup.Reason]string{
	warmup.New:           "it is on its first way up",
	warmup.NotReady:      "it was in service, and does not pass its checks now",
	warmup.Recovered:     "it is back after a failed check, on a shortened way up",
	warmup.Baseline:      "it was there before warm-up was switched on, so it counts as warm",
	warmup.Probe:         "it got a guaranteed probe",
	warmup.BypassAllCold: "everybody is warming up, so shares are relative to the warmest",
	warmup.Manual:        "somebody has moved it on its way up",
	warmup.Weighed:       "its weight is multiplied",
	warmup.Ejected:       "this program leaves it out",
	warmup.Panic:         "ejected, but too few others are left",
	warmup.Drained:       "its weight is 0 or it is leaving",
	warmup.Elsewhere:     "nothing is distributed to where it is",
}

// because says why an endpoint's share is what it is: "new: it is on its first way up". A full share needs no
// reason.
func because(e EndpointStatus, p fleet.Policy) string {
	reason := e.Ramp.Reason
	words := reasonTable[reason]
	switch {
	case reason == warmup.Full:
		return ""
	case reason == warmup.Budget:
		words = fmt.Sprintf("raised, so that warm endpoints carry at most %s times what they did", trimmed(cmp.Or(p.ShiftBudget, fleet.DefaultShiftBudget)))
	case reason == warmup.Manual:
		words = byHand(e)
	case reason == warmup.Weighed && e.Factor != nil:
		words = fmt.Sprintf("its weight is multiplied by %.3g", e.factor())
	case reason == warmup.Drained && e.Factor != nil && e.factor() == 0 && e.Weight > 0:
		words = "its weight is multiplied by 0"
	case reason == warmup.Ejected && e.EjectedFor != "":
		words += ", " + e.EjectedFor
	case words == "":
		return string(reason)
	}
	return string(reason) + ": " + words
}

// byHand says who moved an endpoint on its way up, as far as events tell.
func byHand(e EndpointStatus) string {
	switch {
	case e.Note != "":
		return "its way up was " + e.Note
	case e.Paused:
		return "somebody has paused its way up"
	}
	return reasonTable[warmup.Manual]
}

// active returns how many requests are in flight to the endpoint.
func (e EndpointStatus) active() int {
	if e.Traffic == nil {
		return 0
	}
	return int(e.Traffic.Active)
}
