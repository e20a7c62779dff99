package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"crossfade.dev/internal/fleet"
)

// Document returns what a file says of the agent, so that LoadAgent reads the same: an object of kind Agent as JSON,
// which is YAML, too. It is called what its instance is. What has no words in such a file is an error: a time to start in
// without a probe that could end it.
func (a *Agent) Document() ([]byte, error) {
	if a.Probe == nil && a.StartTimeout > 0 {
		return nil, fmt.Errorf("document of agent %s: it has %v to start in, and no probe", a.Name, a.StartTimeout)
	}
	data, err := json.Marshal(&agent{
		TypeMeta:   meta.TypeMeta{APIVersion: ownVersion, Kind: "Agent"},
		ObjectMeta: meta.ObjectMeta{Name: cmp.Or(a.Name, a.Service), Namespace: a.Namespace},
		Spec:       a.spec(),
	})
	if err != nil {
		return nil, fmt.Errorf("document of agent %s: %w", a.Name, err)
	}
	return data, nil
}

func (a *Agent) spec() agentSpec {
	s := agentSpec{
		Service: a.Service, Name: a.Name, Incarnation: a.Incarnation, Labels: a.Labels, Weight: &a.Weight, Locality: a.Locality.String(),
		Workload: a.Workload, Revision: a.Revision, Grace: span(a.Grace), Inbound: a.Inbound, Admin: a.Admin, Readiness: a.Readiness,
		Offline: a.Offline, OfflineToken: a.OfflineToken, Registry: a.Registry, Hold: a.Hold, Feed: a.Feed, Command: a.Command,
	}
	if a.Address.IsValid() {
		s.Address = a.Address.String()
	}
	for _, p := range a.Ports {
		s.Ports = append(s.Ports, agentPort{p.Name, int32(p.Number)}) //nolint:gosec // a port
	}
	if a.Probe != nil {
		s.Probe = probeSpec(a.Probe, a.StartTimeout)
	}
	if p := a.PreStop; p != nil {
		s.PreStop = preStopSpec(p)
	}
	if a.Lifecycle != nil {
		l := lifecycleSpecOf(a.Lifecycle)
		s.Lifecycle = &l
	}
	return s
}

func probeSpec(p *fleet.Probe, start time.Duration) *agentProbe {
	s := &agentProbe{
		InitialDelay: pause(p.InitialDelay), Interval: span(p.Interval), Timeout: span(p.Timeout), StartTimeout: span(start),
		Healthy: given(p.Healthy), Unhealthy: given(p.Unhealthy),
	}
	switch {
	case len(p.Exec) > 0:
		s.Exec = &agentExec{p.Exec}
	case p.Path != "":
		s.HTTP = &agentGet{Path: p.Path, Port: given(p.Port)}
		if p.HTTPS {
			s.HTTP.Scheme = overTLS
		}
	case p.GRPC:
		s.GRPC = &agentHealth{given(p.Port), p.Service}
	default:
		s.TCP = &agentConnect{given(p.Port)}
	}
	return s
}

// preStopSpec is nil where nothing is done.
func preStopSpec(p *fleet.PreStop) *agentPreStop {
	switch {
	case len(p.Exec) > 0:
		return &agentPreStop{Exec: &agentExec{p.Exec}}
	case p.Path != "":
		return &agentPreStop{HTTP: &agentGet{Path: p.Path, Port: given(p.Port)}}
	case p.Sleep > 0:
		return &agentPreStop{Sleep: pause(p.Sleep)}
	}
	return nil
}

func lifecycleSpecOf(l *fleet.Lifecycle) lifecycleSettings {
	on, window, percent := !l.Off, pause(l.Warmup.Window), l.Warmup.Minimum*100
	s := lifecycleSettings{
		Enabled:      &on,
		Registration: registration{Delay: pause(l.Delay)},
		Warmup:       warmupSpec{Duration: &window, MinimumPercent: &percent},
		Readiness:    readyWhen(l.Ready),
		Drain:        drainSpec{span(l.Leave.Quiet), span(l.Leave.Callers), span(l.Leave.Timeout)},
		Front:        frontSpec{limits{given(l.Front.Least), given(l.Front.Most)}, span(l.Front.MaxWait)},
	}
	if l.Ramp {
		s.Registration.Weight = ramped
	}
	if exponent := cmp.Or(l.Warmup.Aggression, 1); exponent != quadraticAggression {
		s.Warmup.Curve, s.Warmup.Aggression = power, &exponent
	}
	if l.Requests != nil {
		s.WarmupRequests = requestsSpec(l.Requests)
	}
	return s
}

func requestsSpec(r *fleet.WarmupRequests) *warmupRequests {
	s := &warmupRequests{Count: given(r.Count), Time: span(r.Time), Concurrency: given(r.Concurrency)}
	if r.Refuse {
		s.OnFailure = refuse
	}
	if r.Record != nil {
		s.Record = &recordSpec{slices.Clone(r.Record.Paths), given(r.Record.Keep)}
	}
	for i := range r.Requests {
		one := &r.Requests[i]
		request := warmupRequest{
			Protocol: requestProtocol(one.Protocol), Method: one.Method, Path: one.Path, Host: one.Host,
			BodyBase64: one.Body, Port: given(one.Port), Weight: given(one.Weight),
		}
		if len(one.Headers) > 0 {
			request.Headers = map[string]string{}
		}
		for _, h := range one.Headers {
			request.Headers[h.Name] = h.Value
		}
		s.Requests = append(s.Requests, request)
	}
	return s
}

// given is what is written for a number of which 0 says that it is not given.
func given[N int | uint32](n N) *int32 {
	if n == 0 {
		return nil
	}
	i := int32(n) //nolint:gosec // what is read is bounded
	return &i
}
