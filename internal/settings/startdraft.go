package settings

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// A startRequest is how the instances of a workload are to come up.
type startRequest struct {
	Workload string  `json:"workload"`
	Digest   *string `json:"digest"`
	Scope    string  `json:"scope"`
	Values   *Start  `json:"values"`
}

// proposeStart makes a proposal of a form.
func (e *Editor) proposeStart(r *startRequest) propose {
	return func(s *shelf) (proposal, error) {
		if r.Values == nil {
			return proposal{}, fmt.Errorf("values: %w: they are missing", ErrRequest)
		}
		d, err := e.desired(s)
		if err != nil {
			return proposal{}, err
		}
		st, err := e.startOf(s, d, r.Workload)
		if err != nil {
			return proposal{}, err
		}
		want := *r.Values
		for _, s := range []*float64{&want.DelayS, &want.WarmupS} {
			if math.Abs(*s) <= fleet.MaxLifecycleTime.Seconds() { // of others wrong says what they are
				*s = inSeconds(seconds(*s))
			}
		}
		switch want.Curve {
		case "quadratic":
			want.Aggression = quadratic
		case "linear":
			want.Aggression = 1
		}
		return e.startProposal(st, r.Scope, &want)
	}
}

func (e *Editor) startProposal(st *startState, scope string, want *Start) (proposal, error) {
	p := proposal{inputs: map[string]string{}}
	for _, f := range startPathTable {
		p.inputs[strings.Join(f.path, ".")] = f.input
	}
	if st.document != nil {
		p.seen = st.document.Digest
	}
	if p.findings = st.wrong(want); len(p.findings) > 0 || *want == st.values() || !st.holds && !want.Enabled {
		p.draft = nothing(st.document)
		return p, nil
	}
	if scope == "" {
		scope = st.scope()
	}
	if scope != ownScope && scope != documentScope {
		return p, fmt.Errorf("scope %q: %w: it is own or document", scope, ErrRequest)
	}
	var err error
	if p.draft, err = e.startDraft(st, scope); err != nil {
		return p, err
	}
	ed := edit{text: p.text}
	st.write(&ed, want, p.was == nil && !st.holds)
	if ed.err != nil {
		return p, fmt.Errorf("the Lifecycle of %s: %w: %w", st.workload.key(), ErrRequest, ed.err)
	}
	p.text = ed.text
	p.holds = func(after *fleet.Desired) string { return st.missed(after, want) }
	return p, nil
}

// nothing is the draft that leaves a document as it is.
func nothing(d *document) draft {
	if d == nil {
		d = &document{}
	}
	return draft{was: d, text: d.text}
}

// wrong are findings about values that no document could say.
func (st *startState) wrong(want *Start) []Finding {
	var list []Finding
	fail := func(input, format string, args ...any) {
		list = append(list, Finding{Input: input, Message: fmt.Sprintf(format, args...), Rule: config.Invalid, Here: true})
	}
	if !slices.Contains([]string{"quadratic", "linear", "power"}, want.Curve) {
		fail("curve", "%q is no curve; write quadratic, linear or power", want.Curve)
	}
	if r := want.Readiness; r != "registered" && r != "warm" {
		fail("readiness", "%q is no moment; write registered or warm", r)
	}
	most := fleet.MaxLifecycleTime.Seconds()
	for input, s := range map[string]float64{"delay_s": want.DelayS, "warmup_s": want.WarmupS} {
		if s < 0 || s > most {
			fail(input, "%s must be 0 to %s seconds", number(s), number(most))
		}
	}
	now := st.values()
	for _, f := range startPathTable {
		differs := map[string]bool{
			"enabled": want.Enabled != now.Enabled, "delay_s": want.DelayS != now.DelayS, "warmup_s": want.WarmupS != now.WarmupS,
		}
		if st.labelled()[f.input] && differs[f.input] {
			fail(f.input, "the label %s of the instances says it and goes before any Lifecycle; change it there", f.label)
		}
	}
	slices.SortStableFunc(list, func(a, b Finding) int { return strings.Compare(a.Input, b.Input) })
	return list
}

// startDraft is the document that a change is written into, as it is before that.
func (e *Editor) startDraft(st *startState, scope string) (draft, error) {
	switch {
	case !st.holds:
		labels, err := st.selector()
		if err != nil {
			return draft{}, err
		}
		name := st.freeName()
		ed := edit{text: "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata:\n  name: " + quoted(name) + "\n"}
		if st.workload.namespace != "default" {
			ed.set(st.workload.namespace, "metadata", "namespace")
		}
		ed.set(labels, "spec", "selector", "matchLabels")
		return draft{text: ed.text, file: e.fileFor("Lifecycle", name), source: fromFile}, ed.err
	case st.document == nil:
		return draft{}, fmt.Errorf("the Lifecycle %s is one of a list, which a form cannot edit; write it as a document of its own: %w", lifecycleKey(&st.held), ErrRequest)
	case scope == documentScope || len(st.shared) == 0: // then it is its own
		return draft{was: st.document, text: st.document.text, file: st.document.File, source: st.document.Source}, nil
	}
	labels, err := st.selector()
	if err != nil {
		return draft{}, err
	}
	ed := edit{text: strings.TrimRight(headless(st.document.text), "\r\n") + newline(st.document.text)}
	ed.set(st.freeName(), "metadata", "name")
	ed.remove("spec", "selector")
	ed.set(labels, "spec", "selector", "matchLabels")
	if ed.err != nil {
		return draft{}, fmt.Errorf("copy of %s: %w: %w", st.document.what(), ErrRequest, ed.err)
	}
	return draft{text: ed.text, file: st.document.File, source: st.document.Source}, nil
}

// headless is a document without the comments before it: they are about another one.
func headless(text string) string {
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && trimmed[0] != '#' {
			break
		}
		text = text[len(line):]
	}
	return text
}

// freeName is a name for a Lifecycle of the workload's own.
func (st *startState) freeName() string {
	name := st.workload.name
	for i := 2; st.names[name]; i++ {
		name = fmt.Sprintf("%s-%d", st.workload.name, i)
	}
	return name
}

// selector is the labels by which a Lifecycle is for this workload: those that its Deployment selects by, which stay when
// its template changes, with those that the Lifecycle that holds now asks for.
func (st *startState) selector() (map[string]string, error) {
	labels := map[string]string{}
	if st.deployed != nil {
		if n := at(st.deployed.root, "spec", "selector", "matchLabels"); n != nil && n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				labels[n.Content[i].Value] = n.Content[i+1].Value
			}
		}
	}
	if len(labels) == 0 || !fleet.Carries(st.workload.labels, labels) {
		labels = maps.Clone(st.workload.labels)
		maps.DeleteFunc(labels, func(name, _ string) bool {
			return strings.HasPrefix(name, fleet.LosslessPrefix) || strings.HasPrefix(name, "crossfade.dev/")
		})
	}
	if len(labels) == 0 {
		return nil, fmt.Errorf("its instances have no labels in common by which a Lifecycle could be for them: %w", ErrRequest)
	}
	maps.Copy(labels, st.held.Labels)
	return labels, nil
}

// write changes what differs from what is written; a new document says all that people look for.
func (st *startState) write(ed *edit, want *Start, all bool) {
	was, fixed := &st.written, st.labelled()
	set := func(differs bool, value any, path ...string) {
		if differs {
			ed.set(value, path...)
		}
	}
	set(!fixed["enabled"] && want.Enabled != was.Enabled && (!all || !want.Enabled), want.Enabled, "spec", "enabled")
	switch {
	case fixed["delay_s"] || want.DelayS == was.DelayS:
	case want.DelayS == 0:
		ed.remove("spec", "registration", "delay")
	default:
		ed.set(durationText(want.DelayS), "spec", "registration", "delay")
	}
	set(!fixed["warmup_s"] && (all || want.WarmupS != was.WarmupS), durationText(want.WarmupS), "spec", "warmup", "duration")
	if all || want.Curve != was.Curve || want.Aggression != was.Aggression {
		ed.set(want.Curve, "spec", "warmup", "curve")
		if want.Curve == "power" {
			ed.set(want.Aggression, "spec", "warmup", "aggression")
		} else {
			ed.remove("spec", "warmup", "aggression")
		}
	}
	set(all || want.MinimumPercent != was.MinimumPercent, want.MinimumPercent, "spec", "warmup", "minimumPercent")
	set(want.Readiness != was.Readiness, want.Readiness, "spec", "readiness")
}

// durationText writes seconds as people do: 90s.
func durationText(s float64) string {
	if d := seconds(s); d%time.Second != 0 {
		return d.String()
	}
	return fmt.Sprintf("%ds", seconds(s)/time.Second)
}

// missed says why what was meant does not come true; "" is that it does.
func (st *startState) missed(after *fleet.Desired, want *Start) string {
	got := *st
	got.held, got.holds = st.workload.held(after.Lifecycles)
	if got.written = startOfLife(fleet.PlainLifecycle()); got.holds {
		got.written = startOfLife(got.held)
	}
	now := got.values()
	if now == *want || !now.Enabled && !want.Enabled {
		return ""
	}
	if !got.holds {
		return fmt.Sprintf("the instances of %s would not go by this, nor by any other Lifecycle; write YAML", st.workload.key())
	}
	at := "in etcd"
	if o := got.held.Origin; o.File != "" {
		at = fmt.Sprintf("at %s:%d", o.File, o.Line)
	}
	return fmt.Sprintf("the instances of %s would not go by this, but by Lifecycle %s %s, which is more particular or comes first by its name; change that one, or write YAML",
		st.workload.key(), lifecycleKey(&got.held), at)
}
