package settings

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"crossfade.dev/internal/fleet"
)

// from says where each value of a form comes from.
func (st *startState) from(d *fleet.Desired) map[string]From {
	all := map[string]From{}
	fixed := st.labelled()
	policy := strings.Join(policyWarmups(d, st.workload), "; ")
	for _, f := range startPathTable {
		switch n := st.field(f.path); {
		case fixed[f.input]:
			all[f.input] = st.label(f.label)
		case n != nil:
			all[f.input] = From{From: "lifecycle", File: st.document.File, Line: st.document.Line + n.Line - 1}
		case st.holds || f.input != "enabled":
			all[f.input] = From{From: "default"}
		default:
			all[f.input] = From{From: "none", Text: "no Lifecycle holds for it: its instances register as soon as they can serve, and have no warm-up of their own"}
		}
		if from := all[f.input]; policy != "" && f.path[1] == "warmup" {
			from.Text = strings.TrimPrefix(from.Text+". ", ". ") + overruled + policy
			all[f.input] = from
		}
	}
	return all
}

const overruled = "a DestinationRule's warm-up goes before this one: "

// field is what the Lifecycle says at a path; nil where it says nothing.
func (st *startState) field(path []string) *yaml.Node {
	if st.document == nil {
		return nil
	}
	return at(st.document.root, path...)
}

// label says where a label of the instances stands.
func (st *startState) label(name string) From {
	f := From{From: "label", Fixed: true, Text: fmt.Sprintf("the label %s: %q of its instances goes before any Lifecycle", name, st.workload.labels[name])}
	if st.deployed != nil {
		f.File, f.Line = st.deployed.File, st.deployed.Line
		if n := at(st.deployed.root, "spec", "template", "metadata", "labels", name); n != nil {
			f.Line += n.Line - 1
		}
	}
	return f
}

// A Probe is how an application's readiness is asked for.
type Probe struct {
	Path  string `json:"path"`
	Port  int    `json:"port"`
	Agent bool   `json:"agent"` // it asks the agent beside the instance, as with MSE
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
	Note  string `json:"note"`
}

// agentPort is where an agent answers whether its instance is ready.
const agentPort = 55199

// probe is nil for a workload whose Deployment is not known here.
func (st *startState) probe() *Probe {
	if st.deployed == nil {
		return nil
	}
	containers := at(st.deployed.root, "spec", "template", "spec", "containers")
	if containers == nil || containers.Kind != yaml.SequenceNode || len(containers.Content) == 0 {
		return nil
	}
	key, probe := entry(containers.Content[0], "readinessProbe")
	p := &Probe{File: st.deployed.File, Line: st.deployed.Line}
	if probe == nil {
		p.Note = "there is no readiness probe: an instance can serve once its port is open. In Kubernetes give it one of /readiness on port 55199, which passes once it is registered"
		return p
	}
	p.Line += key.Line - 1
	p.Path = scalar(probe, "httpGet", "path")
	for _, kind := range []string{"httpGet", "tcpSocket", "grpc"} {
		if port, err := strconv.Atoi(scalar(probe, kind, "port")); err == nil {
			p.Port = port
		}
	}
	if p.Agent = p.Port == agentPort && (p.Path == "/readiness" || p.Path == "/health"); p.Agent {
		p.Note = "asks the agent, as with MSE: it passes once the instance is registered, or warm if readiness says so; whether the application itself can serve, the agent finds out on its first port"
		return p
	}
	p.Note = "asks the application itself whether it can serve; delay and warm-up begin then. In Kubernetes a probe of /readiness on port 55199 makes a rollout wait until the instance is registered"
	return p
}

// notes are what somebody should know who fills in the form.
func (st *startState) notes(d *fleet.Desired) []string {
	notes := []string{"A change holds for instances that start after it: those that run stay as they are."}
	for _, policy := range policyWarmups(d, st.workload) {
		notes = append(notes, "A"+strings.TrimPrefix(overruled, "a")+policy+".")
	}
	if st.holds && len(st.held.Labels) == 0 && len(st.shared) > 0 {
		notes = append(notes, fmt.Sprintf("Lifecycle %s holds for %d workloads.", lifecycleKey(&st.held), 1+len(st.shared)))
	}
	if w := st.workload.deployed; w != nil {
		if window, service := w.Unawaited(d.Services, d.Lifecycles); window > 0 {
			notes = append(notes, fmt.Sprintf("A rolling update does not wait for the warm-up of %s (%s): minReadySeconds of the Deployment is %s.",
				service, spanText(window), cmp.Or(number(w.MinReady.Seconds()), "0")))
		}
	}
	if st.workload.deployed == nil {
		notes = append(notes, "Its instances are not run from here. Their agents hear of this over the feed; an agent without --feed reads the Lifecycles in its etcd only.")
	}
	return notes
}
