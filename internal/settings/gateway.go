package settings

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// What of an IstioGateway a form is about, and what ASM allows there; config checks it.
const (
	drainAnnotation = "asm.alibabacloud.com/gateway-drain-timeout-seconds"
	olderSwitch     = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-connection-drain"
	olderTimeout    = olderSwitch + "-timeout"
	timeoutLeast    = 10
	timeoutMost     = 890
	timeoutUsual    = 30 // proposed where none is set
)

// Fields of an IstioGateway.
var (
	drainPathTable    = []string{"metadata", "annotations", drainAnnotation}
	olderPathTable    = []string{"spec", "serviceAnnotations", olderTimeout}
	replicasPathTable = []string{"spec", "replicaCount"}
)

// A GatewayValues is how a gateway runs, as a form has it.
type GatewayValues struct {
	GracefulShutdown bool `json:"graceful_shutdown"`
	TimeoutS         int  `json:"timeout_s"` // for what is open when a replica leaves
	Replicas         int  `json:"replicas"`
}

// A GatewayForm is the form of a gateway.
type GatewayForm struct {
	Gateway  string          `json:"gateway"` // "istio-system/ingressgateway"
	Values   GatewayValues   `json:"values"`
	From     map[string]From `json:"from"`
	Document *Document       `json:"document"` // nil: configuration has no IstioGateway
	Target   Target          `json:"target"`
	Digest   string          `json:"digest"`
	Notes    []string        `json:"notes"`
	Writable bool            `json:"writable"`
	Why      string          `json:"why,omitempty"`
	Limits   GatewayLimits   `json:"limits"`
}

// GatewayLimits bound the values of a gateway.
type GatewayLimits struct {
	TimeoutLeast  int `json:"timeout_least"`
	TimeoutMost   int `json:"timeout_most"` // 0 is none
	ReplicasLeast int `json:"replicas_least"`
	ReplicasMost  int `json:"replicas_most"`
}

// A GatewayRow is a gateway in the list of those that have a form.
type GatewayRow struct {
	Gateway          string `json:"gateway"`
	Replicas         int    `json:"replicas"`
	GracefulShutdown bool   `json:"graceful_shutdown"`
	TimeoutS         int    `json:"timeout_s"`
}

// gatewayState is what there is to know of a gateway.
type gatewayState struct {
	group    fleet.GatewayGroup
	document *document
	listed   bool // it is in configuration, and has no document by itself
}

func gatewayOf(s *shelf, d *fleet.Desired, key string) (*gatewayState, error) {
	for _, g := range fleet.OrDefault(d.Groups) {
		if g.Namespace+"/"+g.Name == key {
			st := &gatewayState{group: g, document: s.of("IstioGateway", key)}
			st.listed = st.document == nil && len(d.Groups) > 0
			return st, nil
		}
	}
	return nil, fmt.Errorf("gateway %q: %w", key, ErrUnknown)
}

func (st *gatewayState) values() GatewayValues {
	v := GatewayValues{GracefulShutdown: st.group.Drain > 0, TimeoutS: int(st.group.Drain / time.Second), Replicas: st.group.Replicas}
	if !v.GracefulShutdown {
		v.TimeoutS = timeoutUsual
	}
	return v
}

// GatewayRows lists the gateways that there are.
func (e *Editor) GatewayRows(ctx context.Context) ([]GatewayRow, error) {
	_, d, err := e.everything(ctx)
	if err != nil {
		return nil, err
	}
	rows := []GatewayRow{}
	for _, g := range fleet.OrDefault(d.Groups) {
		v := (&gatewayState{group: g}).values()
		rows = append(rows, GatewayRow{g.Namespace + "/" + g.Name, v.Replicas, v.GracefulShutdown, v.TimeoutS})
	}
	return rows, nil
}

// GatewayForm returns the form of a gateway, NAMESPACE/NAME. An error wraps ErrUnknown where there is none.
func (e *Editor) GatewayForm(ctx context.Context, key string) (*GatewayForm, error) {
	s, d, err := e.everything(ctx)
	if err != nil {
		return nil, err
	}
	st, err := gatewayOf(s, d, key)
	if err != nil {
		return nil, err
	}
	form := &GatewayForm{
		Gateway: key, Values: st.values(), From: st.from(), Writable: true, Limits: st.limits(),
		Notes: []string{
			"A change applies without a restart. Whoever leaves always serves what is open to it; graceful shutdown says for how long at most.",
			"The number of replicas here is the one that configuration asks for; crossfade scale goes before it until this changes.",
		},
	}
	if st.document != nil {
		form.Document, form.Digest = &st.document.Document, st.document.Digest
	}
	p, err := e.gatewayDraft(st)
	switch {
	case err != nil:
		form.Writable, form.Why = false, strings.TrimSuffix(err.Error(), ": "+ErrRequest.Error())
	case e.whyNot(&p) != "":
		form.Writable, form.Why = false, e.whyNot(&p)
	}
	form.Target = Target{File: p.file, Name: st.group.Name, New: p.was == nil, Source: fromFile}
	return form, nil
}

// limits are those of ASM: 890 s at most behind a load balancer.
func (st *gatewayState) limits() GatewayLimits {
	l := GatewayLimits{timeoutLeast, timeoutMost, 1, fleet.MaxGatewayReplicas}
	if st.document != nil && slices.Contains([]string{"ClusterIP", "NodePort"}, scalar(st.document.root, "spec", "serviceType")) {
		l.TimeoutMost = 0
	}
	return l
}

func (st *gatewayState) from() map[string]From {
	all := map[string]From{}
	place := func(input string, paths ...[]string) {
		all[input] = From{From: "default"}
		for _, path := range paths {
			if st.document == nil {
				return
			}
			if n := at(st.document.root, path...); n != nil {
				all[input] = From{From: "gateway", File: st.document.File, Line: st.document.Line + n.Line - 1}
				return
			}
		}
	}
	place("graceful_shutdown", drainPathTable, olderPathTable)
	place("timeout_s", drainPathTable, olderPathTable)
	place("replicas", replicasPathTable)
	return all
}

// gatewayDraft is the document that a change is written into, as it is before that.
func (e *Editor) gatewayDraft(st *gatewayState) (draft, error) {
	if st.document != nil {
		return draft{was: st.document, text: st.document.text, file: st.document.File, source: fromFile}, nil
	}
	if st.listed {
		return draft{}, fmt.Errorf("the IstioGateway is one of a list, which a form cannot edit; write it as a document of its own: %w", ErrRequest)
	}
	text := "apiVersion: istio.alibabacloud.com/v1\nkind: IstioGateway\nmetadata:\n  name: " + quoted(st.group.Name) + "\n  namespace: " + quoted(st.group.Namespace) + "\nspec:\n  gatewayType: ingress\n"
	return draft{text: text, file: e.fileFor("IstioGateway", st.group.Name), source: fromFile}, nil
}

// A gatewayRequest is how a gateway is to run.
type gatewayRequest struct {
	Gateway string         `json:"gateway"`
	Digest  *string        `json:"digest"`
	Values  *GatewayValues `json:"values"`
}

// proposeGateway makes a proposal of a form.
func (e *Editor) proposeGateway(r *gatewayRequest) propose {
	return func(s *shelf) (proposal, error) {
		if r.Values == nil {
			return proposal{}, fmt.Errorf("values: %w: they are missing", ErrRequest)
		}
		d, err := e.desired(s)
		if err != nil {
			return proposal{}, err
		}
		st, err := gatewayOf(s, d, r.Gateway)
		if err != nil {
			return proposal{}, err
		}
		return e.gatewayProposal(st, *r.Values)
	}
}

func (e *Editor) gatewayProposal(st *gatewayState, want GatewayValues) (proposal, error) {
	p := proposal{inputs: map[string]string{
		"metadata.annotations[" + drainAnnotation + "]": "timeout_s", strings.Join(replicasPathTable, "."): "replicas",
		"spec.minReplicas": "replicas", "spec.maxReplicas": "replicas",
	}}
	if st.document != nil {
		p.seen = st.document.Digest
	}
	was := st.values()
	if !want.GracefulShutdown {
		want.TimeoutS = was.TimeoutS
	}
	p.findings = st.wrong(want)
	if len(p.findings) > 0 || want == was || !want.GracefulShutdown && !was.GracefulShutdown && want.Replicas == was.Replicas {
		p.draft = nothing(st.document)
		return p, nil
	}
	var err error
	if p.draft, err = e.gatewayDraft(st); err != nil {
		return p, err
	}
	ed := edit{text: p.text}
	writeGateway(&ed, &was, &want)
	if ed.err != nil {
		return p, fmt.Errorf("IstioGateway %s/%s: %w: %w", st.group.Namespace, st.group.Name, ErrRequest, ed.err)
	}
	p.text = ed.text
	return p, nil
}

// wrong are findings about values that must not be written, since they would say something else: a 0 is no number of
// replicas, and a timeout out of bounds is config's business.
func (st *gatewayState) wrong(want GatewayValues) []Finding {
	if n := want.Replicas; n < 1 || n > fleet.MaxGatewayReplicas {
		return []Finding{{Input: "replicas", Message: fmt.Sprintf("%d replicas: it must be 1 to %d", n, fleet.MaxGatewayReplicas), Rule: config.Invalid, Here: true}}
	}
	return nil
}

// writeGateway changes what differs. The older annotations go where the newer one is written, or where nothing is to be.
func writeGateway(ed *edit, was, want *GatewayValues) {
	if want.GracefulShutdown != was.GracefulShutdown || want.GracefulShutdown && want.TimeoutS != was.TimeoutS {
		if want.GracefulShutdown {
			ed.set(strconv.Itoa(want.TimeoutS), drainPathTable...)
		} else {
			ed.remove(drainPathTable...)
		}
		ed.remove("spec", "serviceAnnotations", olderSwitch)
		ed.remove(olderPathTable...)
	}
	if want.Replicas != was.Replicas {
		ed.set(want.Replicas, replicasPathTable...)
		for _, bound := range []string{"minReplicas", "maxReplicas"} { // they must be the same: nothing follows the load
			if tree, _, err := read(ed.text); err == nil && has(tree, "spec", bound) {
				ed.set(want.Replicas, "spec", bound)
			}
		}
	}
}

// has says whether plain values have a field.
func has(tree map[string]any, path ...string) bool {
	value, found := tree[path[0]]
	if len(path) == 1 {
		return found
	}
	below, ok := value.(map[string]any)
	return ok && has(below, path[1:]...)
}
