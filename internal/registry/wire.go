package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"crossfade.dev/internal/fleet"
)

// format is the version of what an entry says. An entry of another one is refused, not guessed at; keys that are not
// known are passed over, so that a newer agent may publish more than an older control understands.
const format = 1

// defaultNamespace is that of who does not say its own.
const defaultNamespace = "default"

// Bounds of what an entry may say. Whoever can write to a registry is not to be trusted with more.
const (
	MaxEntry  = 64 << 10 // bytes
	maxWeight = 1_000_000
)

var (
	errNoIncarnation = errors.New("incarnation is missing")
	errNoAddress     = errors.New("address is missing")
	errCheck         = errors.New("check: want port at most 65535, and healthy, unhealthy, interval_ms and timeout_ms at least 1")
)

// An entry is an instance as it is written: one JSON object, with the unit in every name that has one. Times are
// milliseconds since 1970, UTC.
type entry struct {
	Format      int               `json:"format"`
	Incarnation string            `json:"incarnation"`
	Name        string            `json:"name,omitempty"`      // absent: the incarnation
	Namespace   *string           `json:"namespace,omitempty"` // absent: default
	Workload    string            `json:"workload,omitempty"`
	Revision    string            `json:"revision,omitempty"`
	Address     string            `json:"address"`
	Ports       map[string]uint32 `json:"ports,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Region      string            `json:"region,omitempty"`
	Zone        string            `json:"zone,omitempty"`
	SubZone     string            `json:"sub_zone,omitempty"`
	Weight      *uint32           `json:"weight,omitempty"` // absent: 1
	Check       *entryCheck       `json:"check,omitempty"`
	Unready     bool              `json:"unready,omitempty"` // it is there, and cannot serve now
	Leaving     bool              `json:"leaving,omitempty"`
	BoundMS     int64             `json:"bound_ms,omitempty"`
	Front       bool              `json:"front,omitempty"`

	Warmup    *entryWarmup `json:"warmup,omitempty"`
	Published *entryAge    `json:"published,omitempty"`

	Metadata map[string]string `json:"metadata,omitempty"` // what other systems publish: see Peer. Read, never written
}

type entryWarmup struct {
	WindowMS   int64   `json:"window_ms"`
	Minimum    float64 `json:"minimum,omitempty"`    // share at age 0, 0 to 1
	Aggression float64 `json:"aggression,omitempty"` // share = progress^(1/aggression); 0 means 1
}

type entryAge struct {
	StartedMS    int64 `json:"start_time_unix_ms,omitempty"`
	RegisteredMS int64 `json:"registration_time_unix_ms,omitempty"`
	AgeMS        int64 `json:"age_at_registration_ms,omitempty"`
}

type entryCheck struct {
	Path           string `json:"path,omitempty"`
	HTTPS          bool   `json:"https,omitempty"`
	GRPC           bool   `json:"grpc,omitempty"`
	Service        string `json:"service,omitempty"`
	Port           uint32 `json:"port,omitempty"`
	InitialDelayMS int64  `json:"initial_delay_ms,omitempty"`
	IntervalMS     int64  `json:"interval_ms"`
	TimeoutMS      int64  `json:"timeout_ms"`
	Healthy        int    `json:"healthy"`
	Unhealthy      int    `json:"unhealthy"`
}

// Encode returns the entry of an instance. Durations are cut to milliseconds; Origin is not part of it. One that leaves
// is read as Ready, which it was. It fails when there is no incarnation or address, or the entry has more than MaxEntry bytes.
func Encode(in fleet.Instance) ([]byte, error) {
	e := entryOf(in)
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("entry of instance %q: %w", in.Incarnation, err)
	}
	data, err := json.Marshal(e)
	if err == nil && len(data) > MaxEntry {
		err = fmt.Errorf("%d bytes, at most %d", len(data), MaxEntry)
	}
	if err != nil {
		return nil, fmt.Errorf("entry of instance %q: %w", in.Incarnation, err)
	}
	return data, nil
}

// entryOf is what an entry says of an instance.
func entryOf(in fleet.Instance) entry {
	e := entry{
		Format: format, Incarnation: in.Incarnation, Name: in.Name, Namespace: &in.Namespace, Workload: in.Workload, Revision: in.Revision,
		Ports: in.Ports, Labels: in.Labels, Region: in.Locality.Region, Zone: in.Locality.Zone, SubZone: in.Locality.SubZone,
		Weight: &in.Weight, Unready: !in.Ready && !in.Leaving, Leaving: in.Leaving, BoundMS: in.Bound.Milliseconds(), Front: in.Front,
	}
	if in.Address.IsValid() {
		e.Address = in.Address.String()
	}
	if c := in.Check; c != nil {
		e.Check = &entryCheck{
			Path: c.Path, HTTPS: c.HTTPS, GRPC: c.GRPC, Service: c.Service, Port: c.Port, InitialDelayMS: c.InitialDelay.Milliseconds(),
			IntervalMS: c.Interval.Milliseconds(), TimeoutMS: c.Timeout.Milliseconds(), Healthy: c.Healthy, Unhealthy: c.Unhealthy,
		}
	}
	if w := in.Warmup; w != nil {
		e.Warmup = &entryWarmup{WindowMS: w.Window.Milliseconds(), Minimum: w.Minimum, Aggression: w.Aggression}
	}
	if p := in.Published; p != nil {
		e.Published = &entryAge{StartedMS: unixMS(p.Started), RegisteredMS: unixMS(p.Registered), AgeMS: p.Age.Milliseconds()}
	}
	return e
}

// Decode reads an entry: what Encode wrote, or what people or other programs did: who does not say otherwise is Ready. An
// error says which key cannot be used.
func Decode(data []byte) (fleet.Instance, error) {
	if len(data) > MaxEntry {
		return fleet.Instance{}, fmt.Errorf("%d bytes, at most %d", len(data), MaxEntry)
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return fleet.Instance{}, err
	}
	if e.Format != format {
		return fleet.Instance{}, fmt.Errorf("format is %d, this program reads %d", e.Format, format)
	}
	if err := e.check(); err != nil {
		return fleet.Instance{}, err
	}
	return e.instance()
}

// instance is what an entry that holds says. Without an address it has the zero one.
func (e *entry) instance() (fleet.Instance, error) {
	address := netip.Addr{}
	if e.Address != "" {
		var err error
		if address, err = netip.ParseAddr(e.Address); err != nil {
			return fleet.Instance{}, fmt.Errorf("address: %w", err)
		}
	}
	in := fleet.Instance{
		Name: e.Name, Namespace: defaultNamespace, Workload: e.Workload, Revision: e.Revision, Incarnation: e.Incarnation, Address: address,
		Ports: e.Ports, Labels: e.Labels, Locality: fleet.Locality{Region: e.Region, Zone: e.Zone, SubZone: e.SubZone},
		Weight: 1, Ready: !e.Unready, Leaving: e.Leaving, Bound: ms(e.BoundMS), Front: e.Front,
	}
	if e.Name == "" {
		in.Name = e.Incarnation
	}
	if e.Namespace != nil {
		in.Namespace = *e.Namespace
	}
	if e.Weight != nil {
		in.Weight = *e.Weight
	}
	if c := e.Check; c != nil {
		in.Check = &fleet.Check{
			Path: c.Path, HTTPS: c.HTTPS, GRPC: c.GRPC, Service: c.Service, Port: c.Port, InitialDelay: ms(c.InitialDelayMS),
			Interval: ms(c.IntervalMS), Timeout: ms(c.TimeoutMS), Healthy: c.Healthy, Unhealthy: c.Unhealthy,
		}
	}
	in.Published, in.Warmup = Peer(e.Metadata)
	if w := e.Warmup; w != nil {
		in.Warmup = &fleet.Warmup{Window: ms(w.WindowMS), Minimum: w.Minimum, Aggression: w.Aggression}
	}
	if a := e.Published; a != nil {
		in.Published = &fleet.Published{Started: fromUnixMS(a.StartedMS), Registered: fromUnixMS(a.RegisteredMS), Age: ms(a.AgeMS)}
	}
	return in, nil
}

// check says which key cannot be used.
func (e *entry) check() error {
	if e.Incarnation == "" {
		return errNoIncarnation
	}
	if e.Address == "" {
		return errNoAddress
	}
	return e.bounds()
}

// bounds says which key has a value that none may have.
func (e *entry) bounds() error {
	if e.Weight != nil && *e.Weight > maxWeight {
		return fmt.Errorf("weight is %d, at most %d", *e.Weight, maxWeight)
	}
	for name, number := range e.Ports {
		if number == 0 || number > math.MaxUint16 {
			return fmt.Errorf("ports: %s is %d, want 1 to 65535", name, number)
		}
	}
	return errors.Join(within("bound_ms", e.BoundMS), e.Warmup.check(), e.Published.check(), e.Check.check())
}

func (w *entryWarmup) check() error {
	switch {
	case w == nil:
		return nil
	case !(w.Minimum >= 0 && w.Minimum <= 1): // nor a NaN
		return fmt.Errorf("warmup.minimum is %v, want 0 to 1", w.Minimum)
	case !(w.Aggression >= 0 && w.Aggression <= 100):
		return fmt.Errorf("warmup.aggression is %v, want 0 to 100", w.Aggression)
	}
	return within("warmup.window_ms", w.WindowMS)
}

func (a *entryAge) check() error {
	if a == nil {
		return nil
	}
	return errors.Join(within("published.start_time_unix_ms", a.StartedMS), within("published.registration_time_unix_ms", a.RegisteredMS),
		within("published.age_at_registration_ms", a.AgeMS))
}

func (c *entryCheck) check() error {
	switch {
	case c == nil:
		return nil
	case c.Port > math.MaxUint16 || c.Healthy < 1 || c.Unhealthy < 1 || c.IntervalMS < 1 || c.TimeoutMS < 1:
		return errCheck
	}
	return errors.Join(within("check.initial_delay_ms", c.InitialDelayMS), within("check.interval_ms", c.IntervalMS), within("check.timeout_ms", c.TimeoutMS))
}

// within says that a duration, or a time, is none.
func within(name string, d int64) error {
	if d < 0 || d > maxMS {
		return fmt.Errorf("%s is %d, want 0 to %d", name, d, maxMS)
	}
	return nil
}

// maxMS is the longest duration that an entry may say, and the latest time: both in one, as either would do.
const maxMS = math.MaxInt64 / int64(time.Millisecond)

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// unixMS is t as an entry has it; the zero time is 0.
func unixMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromUnixMS(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}
