package fleet

import (
	"strings"
	"time"
)

// MaxReplicas bounds the replicas of one workload.
const MaxReplicas = 1000

// A Workload is a Deployment: an application that people want to run in a number of replicas.
type Workload struct {
	Name           string            `json:"name"`
	Namespace      string            `json:"namespace"`
	Replicas       int               `json:"replicas"`            // in force
	Declared       int               `json:"declared"`            // as configuration says; a scale command holds until it changes
	Revision       string            `json:"revision"`            // digest of everything that a running process cannot take on: template, restarts
	Restarted      string            `json:"restarted,omitempty"` // when a restart was last asked for; part of Revision
	Labels         map[string]string `json:"labels,omitempty"`
	Command        []string          `json:"command"` // program and arguments; $(NAME) stands for an environment variable
	Dir            string            `json:"dir,omitempty"`
	Env            []EnvVar          `json:"env,omitempty"`
	Ports          []ContainerPort   `json:"ports,omitempty"`
	Readiness      *Probe            `json:"readiness,omitempty"`
	PreStop        *PreStop          `json:"pre_stop,omitempty"`
	MinReady       time.Duration     `json:"min_ready_ns,omitempty"`
	Deadline       time.Duration     `json:"deadline_ns,omitempty"`     // a release of it that comes no nearer for so long has stalled; 0 is not known
	MaxSurge       string            `json:"max_surge,omitempty"`       // a number or a percentage, as in Kubernetes
	MaxUnavailable string            `json:"max_unavailable,omitempty"` // likewise
	Grace          time.Duration     `json:"grace_ns"`                  // from SIGTERM to SIGKILL, preStop included
	Recreate       bool              `json:"recreate,omitempty"`        // stop all, then start all
	Origin         Origin            `json:"origin,omitzero"`
}

// Unawaited returns the longest warm-up of w's instances that a rolling update does not wait for, and the service that
// has it: an old instance leaves MinReady after a new one is ready, warm or not. It is 0 where there is none.
func (w *Workload) Unawaited(services []Service, lifecycles []Lifecycle) (window time.Duration, service string) {
	if w.Recreate || w.Labels[WarmupLabel] == "off" {
		return 0, ""
	}
	own := w.warmup(services, lifecycles)
	for i := range services {
		s := &services[i]
		if !s.Selects(w.Namespace, w.Labels) {
			continue
		}
		for _, p := range s.Pools {
			if last := p.Policy.WarmupOf(&Endpoint{Warmup: &own}).Window; last > max(window, w.MinReady) && Carries(w.Labels, p.Labels) {
				window, service = last, s.Name
			}
		}
	}
	return window, service
}

// warmup is the own one of w's instances. What is wrong with their labels, configuration has said.
func (w *Workload) warmup(services []Service, lifecycles []Lifecycle) Warmup {
	var names []string
	for i := range services {
		if services[i].Selects(w.Namespace, w.Labels) {
			name, _, _ := strings.Cut(services[i].Host, ".")
			names = append(names, name)
		}
	}
	l, _ := LifecycleFor(lifecycles, w.Namespace, names, w.Labels)
	return l.Warmup
}

// Selects says whether instances of a namespace with these labels belong to s.
func (s *Service) Selects(namespace string, labels map[string]string) bool {
	return len(s.Selector) > 0 && s.Namespace == namespace && Carries(labels, s.Selector)
}

// Carries says whether labels have all that are wanted.
func Carries(labels, want map[string]string) bool {
	for name, value := range want {
		if got, ok := labels[name]; !ok || got != value {
			return false
		}
	}
	return true
}

// An EnvVar is one environment variable; Field names one of the instance's own facts instead of a value:
// "status.podIP", "metadata.name", "metadata.namespace".
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
	Field string `json:"field,omitempty"`
}

// A ContainerPort is a port that the application listens on.
type ContainerPort struct {
	Name   string `json:"name,omitempty"`
	Number uint32 `json:"number"`
}

// A Probe is a readiness probe: exactly one of Exec, Path, GRPC or none of them (TCP).
type Probe struct {
	Check
	Exec []string `json:"exec,omitempty"`
}

// A PreStop is what happens before SIGTERM: a command, an HTTP GET or a pause.
type PreStop struct {
	Exec  []string      `json:"exec,omitempty"`
	Path  string        `json:"path,omitempty"`
	Port  uint32        `json:"port,omitempty"`
	Sleep time.Duration `json:"sleep_ns,omitempty"`
}
