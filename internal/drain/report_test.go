package drain

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAReportIsReadable(t *testing.T) {
	var before, after Tally
	before[HTTP1] = Count{Open: 2, Opened: 10, Completed: 8}
	after[HTTP1] = Count{Opened: 13, Completed: 12, Told: 3, Cut: 1}
	after[WebSocket] = Count{Opened: 1, Told: 1, Cut: 1}
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	l := NewLeave(Timers{Requests: time.Second}, "SIGTERM", now)
	l.Step(Sight{}, now)
	l.Step(Sight{}, now.Add(time.Second))
	r := l.Report(now.Add(time.Second))
	r.ID = "ingressgateway-1"
	r.Fill(&before, &after)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"stage":"closed"`, `"draining":1`, `"cut":2`,
		`"http/1.1":{"before":2,"leave":{"open":0,"opened":3,"completed":4,"failed":0,"told":3,"cut":1}`, `"websocket":`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got %s, want %s in it", text, want)
		}
	}
	if strings.Contains(string(text), `"grpc"`) {
		t.Errorf("got %s, want nothing of protocols that nobody spoke", text)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Errorf("read back (-wrote +read):\n%s", diff)
	}
}

// What is 0 is said, too: whoever computes with it need not know what is left out.
func TestACountLeavesNothingOut(t *testing.T) {
	text, err := json.Marshal(Count{})
	if want := `{"open":0,"opened":0,"completed":0,"failed":0,"told":0,"cut":0}`; string(text) != want || err != nil {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
}

func TestWhatWasLost(t *testing.T) {
	for n, want := range []string{"nothing was cut", "1 request was cut", "2 requests were cut"} {
		if got := Lost(uint64(n)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	var s Stage
	var p Protocol
	if err := s.UnmarshalText([]byte("gone")); err == nil {
		t.Error("got no error for a stage that there is not")
	}
	if err := p.UnmarshalText([]byte("spdy")); err == nil {
		t.Error("got no error for a protocol that there is not")
	}
}

func TestTimersFitOrSayTheSum(t *testing.T) {
	if got, want := Defaults().Longest(), 150*time.Second; got != want {
		t.Errorf("got %v for the defaults, want %v", got, want)
	}
	if err := Defaults().Fit(150 * time.Second); err != nil {
		t.Errorf("got %v, want none: it fits exactly", err)
	}
	err := Defaults().Fit(30 * time.Second)
	if err == nil {
		t.Fatal("got no error for a grace period of 30 s")
	}
	for _, want := range []string{"2m30s", "lame duck 15s", "requests 30s", "long-lived 2m0s", "forced 10s", "grace period of 30s"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
	endless := Defaults() // and one more would begin anew below 0, which fits anywhere
	endless.Long, endless.Spread = math.MaxInt64, math.MaxInt64
	if got, want := endless.Longest(), time.Duration(math.MaxInt64); got != want {
		t.Errorf("got %v for what never ends, want %v", got, want)
	}
	if endless.Fit(time.Hour) == nil {
		t.Error("what never ends fits an hour")
	}
}

// What lasts by its nature has a longer bound. Nobody but its ends knows whether a call of gRPC does.
func TestWhatLasts(t *testing.T) {
	var lasts []string
	for p := range Protocol(Protocols) {
		if p.Lasts() {
			lasts = append(lasts, p.String())
		}
	}
	if diff := cmp.Diff([]string{"grpc", "events", "websocket", "tunnel"}, lasts); diff != "" {
		t.Errorf("what lasts (-want +got):\n%s", diff)
	}
}
