package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/fleet"
)

// Prefix is that of all keys by which crossfade says something in the metadata of other systems.
const Prefix = "crossfade."

// Keys that are known in several places, and those of what has a name of its own.
const (
	weightKey    = "weight"
	labelsPrefix = Prefix + "labels."
	portsPrefix  = Prefix + "ports."
)

// A word is a key of metadata without Prefix, and where an entry has its value: a *string, *bool, *int, *int64, *uint32,
// *float64 or *steady.
type word struct {
	key    string
	at     any
	always bool // it is said even when it is the zero value
}

// Annotate returns what an entry says of an instance as metadata for systems that keep a map of strings: a key for
// everything that is not the zero value, with the unit in its name. Times are milliseconds since 1970, UTC. Address and
// ports are among them; a registration's own count first: see Registration.
func Annotate(in fleet.Instance) map[string]string {
	e := entryOf(in)
	if in.Namespace == defaultNamespace {
		e.Namespace = nil
	}
	if e.Name == e.Incarnation {
		e.Name = ""
	}
	metadata := map[string]string{}
	for _, g := range e.groups() {
		for _, w := range g.words {
			if text, said := w.text(); said {
				metadata[Prefix+w.key] = text
			}
		}
	}
	for name, value := range in.Labels {
		metadata[labelsPrefix+name] = value
	}
	for name, port := range in.Ports {
		metadata[portsPrefix+name] = strconv.FormatUint(uint64(port), 10)
	}
	return metadata
}

// Annotated reads what metadata says by the keys of Annotate, and says whether it names an incarnation. Other keys are
// passed over, those with Prefix that are not known too. What is not said is as in an entry: Ready, of weight 1, in the
// namespace default. An error says which key cannot be used.
func Annotated(metadata map[string]string) (in fleet.Instance, is bool, err error) {
	e := entry{}
	said := map[string]string{}
	size := 0
	for key, value := range metadata {
		if rest, ours := strings.CutPrefix(key, Prefix); ours {
			said[rest] = value
			size += len(key) + len(value)
		}
		if name, label := strings.CutPrefix(key, labelsPrefix); label {
			put(&e.Labels, name, value)
		}
		if name, port := strings.CutPrefix(key, portsPrefix); port {
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil || n == 0 {
				return fleet.Instance{}, false, fmt.Errorf("%s is %q, want 1 to 65535", key, value)
			}
			put(&e.Ports, name, uint32(n))
		}
	}
	if size > MaxEntry {
		return fleet.Instance{}, false, fmt.Errorf("%d bytes of %s*, at most %d", size, Prefix, MaxEntry)
	}
	if err := e.hear(said); err != nil {
		return fleet.Instance{}, false, err
	}
	in, err = e.instance()
	return in, e.Incarnation != "", err
}

// put adds to a map that may not be there yet.
func put[V any](to *map[string]V, key string, value V) {
	if *to == nil {
		*to = map[string]V{}
	}
	(*to)[key] = value
}

// A group is what an entry has as a whole, or does not have.
type group struct {
	words []word
	none  func() // has the entry not have it
}

// groups returns the table of all keys.
func (e *entry) groups() []group {
	all := []group{{words: []word{
		{key: "incarnation", at: &e.Incarnation},
		{key: "name", at: &e.Name},
		{key: "namespace", at: e.Namespace, always: true},
		{key: "workload", at: &e.Workload},
		{key: "revision", at: &e.Revision},
		{key: "address", at: &e.Address},
		{key: "region", at: &e.Region},
		{key: "zone", at: &e.Zone},
		{key: "sub_zone", at: &e.SubZone},
		{key: weightKey, at: (*steady)(e.Weight), always: true},
		{key: "unready", at: &e.Unready},
		{key: "leaving", at: &e.Leaving},
		{key: "bound_ms", at: &e.BoundMS},
		{key: "front", at: &e.Front},
	}, none: func() {}}}
	if w := e.Warmup; w != nil {
		all = append(all, group{words: []word{
			{key: "warmup_window_ms", at: &w.WindowMS, always: true}, {key: "warmup_minimum", at: &w.Minimum}, {key: "warmup_aggression", at: &w.Aggression},
		}, none: func() { e.Warmup = nil }})
	}
	if p := e.Published; p != nil {
		all = append(all, group{words: []word{
			{key: "start_time_unix_ms", at: &p.StartedMS},
			{key: "registration_time_unix_ms", at: &p.RegisteredMS},
			{key: "age_at_registration_ms", at: &p.AgeMS, always: true},
		}, none: func() { e.Published = nil }})
	}
	if c := e.Check; c != nil {
		all = append(all, group{words: []word{
			{key: "check_path", at: &c.Path},
			{key: "check_https", at: &c.HTTPS},
			{key: "check_grpc", at: &c.GRPC},
			{key: "check_service", at: &c.Service},
			{key: "check_port", at: &c.Port},
			{key: "check_initial_delay_ms", at: &c.InitialDelayMS},
			{key: "check_interval_ms", at: &c.IntervalMS},
			{key: "check_timeout_ms", at: &c.TimeoutMS},
			{key: "check_healthy", at: &c.Healthy},
			{key: "check_unhealthy", at: &c.Unhealthy},
		}, none: func() { e.Check = nil }})
	}
	return all
}

// hear reads what is said, by key without Prefix. A group of which nothing is said the entry does not have.
func (e *entry) hear(said map[string]string) error {
	weight, namespace := uint32(1), defaultNamespace
	e.Weight, e.Namespace = &weight, &namespace
	e.Warmup, e.Published, e.Check = &entryWarmup{}, &entryAge{}, &entryCheck{}
	for _, g := range e.groups() {
		heard := false
		for _, w := range g.words {
			text, is := said[w.key]
			if !is {
				continue
			}
			heard = true
			if err := w.read(text); err != nil {
				return fmt.Errorf("%s%s is %q: %w", Prefix, w.key, text, err)
			}
		}
		if !heard {
			g.none()
		}
	}
	return e.bounds()
}

// text returns what a word says, and whether it says anything.
func (w *word) text() (text string, said bool) {
	said = true
	switch at := w.at.(type) {
	case *string:
		if at == nil {
			return "", false
		}
		text, said = *at, *at != ""
	case *bool:
		text, said = strconv.FormatBool(*at), *at
	case *int:
		text, said = strconv.Itoa(*at), *at != 0
	case *int64:
		text, said = strconv.FormatInt(*at, 10), *at != 0
	case *steady:
		text = strconv.FormatUint(uint64(*at), 10)
	case *uint32:
		text, said = strconv.FormatUint(uint64(*at), 10), *at != 0
	case *float64:
		text, said = strconv.FormatFloat(*at, 'g', -1, 64), *at != 0
	}
	return text, said || w.always
}

var (
	errNumber = errors.New("want a number")
	errWeight = fmt.Errorf("want a number from 0 to %d", maxWeight)
	errBool   = errors.New("want true or false")
)

// read is the opposite of text.
func (w *word) read(text string) error {
	var err error
	switch at := w.at.(type) {
	case *string:
		*at = text
	case *bool:
		if *at, err = strconv.ParseBool(text); err != nil {
			return errBool
		}
	case *int:
		*at, err = strconv.Atoi(text)
	case *int64:
		*at, err = strconv.ParseInt(text, 10, 64)
	case *uint32:
		var n uint64
		n, err = strconv.ParseUint(text, 10, 32)
		*at = uint32(n)
	case *steady:
		var weight float64
		weight, err = parseWeight(text)
		*at = steady(whole(weight))
	case *float64:
		*at, err = strconv.ParseFloat(text, 64)
	}
	if err != nil && !errors.Is(err, errWeight) {
		return errNumber
	}
	return err
}

// steady is a weight. It may be written with a fraction, where somebody else's was one: see Reading.
type steady uint32

func parseWeight(text string) (float64, error) {
	weight, err := strconv.ParseFloat(text, 64)
	if err != nil || !(weight >= 0 && weight <= maxWeight) {
		return 0, errWeight
	}
	return weight, nil
}

// Plain returns metadata without the keys of crossfade; nil when nothing is left.
func Plain(metadata map[string]string) map[string]string {
	var plain map[string]string
	for key, value := range metadata {
		if !strings.HasPrefix(key, Prefix) {
			put(&plain, key, value)
		}
	}
	return plain
}

// Keys returns the keys of metadata in their order, for formats that have one.
func Keys(metadata map[string]string) []string { return slices.Sorted(maps.Keys(metadata)) }
