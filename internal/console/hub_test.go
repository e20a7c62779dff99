package console

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// A clockwork topic is whatever the test says; it counts how often it is asked.
type clockwork struct {
	value *int
	asked *int
	err   *error
}

func newClockwork() clockwork { return clockwork{new(int), new(int), new(error)} }

func (c clockwork) topic() topic {
	return table(func() (*frame, error) {
		*c.asked++
		if *c.err != nil {
			return nil, *c.err
		}
		return newFrame(map[string]int{"value": *c.value}, "", []thing(nil), nil)
	})
}

// told takes what a viewer was told.
func (v *viewer) told() (list []string) {
	for {
		select {
		case event := <-v.out:
			list = append(list, string(event))
		default:
			return list
		}
	}
}

func event(name, data string) string {
	return fmt.Sprintf("event: %s\ndata: {\"topic\":\"clock\",\"data\":%s}\n\n", name, data)
}

func TestTopicsAreReadOnceForAll(t *testing.T) {
	h, c := newHub(nil), newClockwork()
	var all []*viewer
	for range 50 {
		v, err := h.join(t.Context(), "", map[string]topic{"clock": c.topic()}, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	for i := range 3 {
		*c.value = i + 1
		h.tick(t.Context())
	}
	h.tick(t.Context()) // nothing is new
	if *c.asked != 5 {
		t.Errorf("50 viewers had it read %d times in 4 ticks, want 5: once for the first", *c.asked)
	}
	want := event("whole", `{"value":0}`)
	for _, value := range []string{"1", "2", "3"} {
		want += event("patch", `{"head":{"value":`+value+`},"rows":[],"gone":[]}`) //nolint:perfsprint // there are three
	}
	for _, v := range all {
		if got := strings.Join(v.told(), ""); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		h.leave(v)
	}
	if *c.value = 9; len(h.topics)+len(h.viewers) != 0 {
		t.Errorf("%d topics and %d viewers are kept of nobody", len(h.topics), len(h.viewers))
	}
	asked := *c.asked
	if h.tick(t.Context()); *c.asked != asked {
		t.Error("a topic that nobody watches is read")
	}
}

func TestWhatIsNotThereMayCome(t *testing.T) {
	h, c := newHub(nil), newClockwork()
	*c.err = errors.New("not there")
	v, err := h.join(t.Context(), "", map[string]topic{"clock": c.topic()}, 0)
	if err != nil {
		t.Fatal(err)
	}
	h.tick(t.Context())
	*c.err = nil
	h.tick(t.Context())
	*c.err = errors.New("gone again")
	h.tick(t.Context())
	h.tick(t.Context())
	want := []string{
		event("gone", `{"error":"not there"}`), event("whole", `{"value":0}`), event("gone", `{"error":"gone again"}`),
	}
	if got := v.told(); strings.Join(got, "") != strings.Join(want, "") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhoFallsBehindIsCutOff(t *testing.T) {
	h, c := newHub(nil), newClockwork()
	topics := map[string]topic{"clock": c.topic()}
	sleeper, err := h.join(t.Context(), "", topics, 0)
	if err != nil {
		t.Fatal(err)
	}
	awake, err := h.join(t.Context(), "", topics, 0)
	if err != nil {
		t.Fatal(err)
	}
	heard := 0
	for range 2 * backlog {
		*c.value++
		h.tick(t.Context())
		heard += len(awake.told())
	}
	select {
	case <-sleeper.behind:
	default:
		t.Error("a viewer who takes nothing is not cut off")
	}
	select {
	case <-awake.behind:
		t.Error("a viewer who takes everything is cut off")
	default:
	}
	if want := 2*backlog + 1; heard != want || len(sleeper.out) != backlog {
		t.Errorf("who listens heard %d messages, want %d; %d wait for who does not", heard, want, len(sleeper.out))
	}
}

func TestViewersAndTopicsAreBounded(t *testing.T) {
	h := newHub(nil)
	var last *viewer
	for i := range maxViewers {
		topics := map[string]topic{"t" + strconv.Itoa(i%maxTopics): newClockwork().topic()}
		if i == 0 {
			topics["t"+strconv.Itoa(maxTopics-1)] = newClockwork().topic() // which stays when the last viewer leaves
		}
		v, err := h.join(t.Context(), "", topics, 0)
		if err != nil {
			t.Fatalf("viewer %d: %v", i, err)
		}
		last = v
	}
	if _, err := h.join(t.Context(), "", map[string]topic{"t0": newClockwork().topic()}, 0); !errors.Is(err, errViewers) {
		t.Errorf("one viewer too many: got %v", err)
	}
	h.leave(last)
	if _, err := h.join(t.Context(), "", map[string]topic{"another": newClockwork().topic()}, 0); !errors.Is(err, errTopics) {
		t.Errorf("one topic too many: got %v", err)
	}
	if _, err := h.join(t.Context(), "", map[string]topic{"t0": newClockwork().topic()}, 0); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

// Nobody who logs in takes the places of all others.
func TestEverybodyHasAShare(t *testing.T) {
	h := newHub(nil)
	one := func(name string) map[string]topic { return map[string]topic{name: newClockwork().topic()} }
	var last *viewer
	for i := range maxViewers / share {
		v, err := h.join(t.Context(), "eve", one("t"+strconv.Itoa(i%(maxTopics/share))), 0)
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		last = v
	}
	if _, err := h.join(t.Context(), "eve", one("t0"), 0); !errors.Is(err, errShare) {
		t.Errorf("one stream too many: got %v", err)
	}
	h.leave(last) // with it the last topic
	if _, err := h.join(t.Context(), "eve", map[string]topic{"x": newClockwork().topic(), "y": newClockwork().topic()}, 0); !errors.Is(err, errShare) {
		t.Errorf("one topic too many: got %v", err)
	}
	if _, err := h.join(t.Context(), "eve", one("t0"), 0); err != nil {
		t.Errorf("one that is watched already: %v", err)
	}
	for _, user := range []string{"anna", ""} {
		if _, err := h.join(t.Context(), user, one("z"), 0); err != nil {
			t.Errorf("somebody else, %q: %v", user, err)
		}
	}
}
