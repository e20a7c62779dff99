package balancer_test

import (
	"math"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
	"crossfade.dev/internal/warmup"
)

// A story is a lab with a language: what people do to a fleet, and what the gateway must make of it.
type story struct {
	*lab.Lab
	t *testing.T
}

func tell(t *testing.T, c lab.Config) *story {
	t.Helper()
	if c.Policy == (fleet.Policy{}) {
		c.Policy = fleet.Policy{Algorithm: fleet.RoundRobin, Warmup: ramp(120*time.Second, 0.1)}
	}
	return &story{lab.New(c), t}
}

func (s *story) after(d time.Duration) { s.Run(s.Now() + d) }

// WantShare wants a share to within a tick of the window: shares are taken at the middle of one.
func (s *story) wantShare(name string, want float64, reason warmup.Reason) {
	s.t.Helper()
	got := s.Share(0, name)
	if math.Abs(got.Share-want) > 0.0101 || got.Reason != reason {
		s.t.Errorf("at %v: %s has a share of %.3f (%q), want %.3f (%q)", s.Now(), name, got.Share, got.Reason, want, reason)
	}
}

func TestNewcomerRampsAndArrives(t *testing.T) {
	s := tell(t, lab.Config{Warm: 1, Rate: 100})
	s.Join("new")
	s.wantShare("new", 0.1, warmup.New)
	s.wantShare("warm-0", 1, warmup.Full)
	s.after(30 * time.Second)
	s.wantShare("new", 0.25, warmup.New)
	s.after(60 * time.Second)
	s.wantShare("new", 0.75, warmup.New)
	s.after(31 * time.Second)
	s.wantShare("new", 1, warmup.Full)
}

func TestRestartOnTheSameAddressRampsAgain(t *testing.T) {
	s := tell(t, lab.Config{Warm: 2, Rate: 100})
	s.Restart("warm-0")
	s.wantShare("warm-0", 0.1, warmup.New)
	s.after(60 * time.Second)
	s.wantShare("warm-0", 0.5, warmup.New)
	s.Restart("warm-0")
	s.wantShare("warm-0", 0.1, warmup.New)
}

func TestReadinessBlipResumes(t *testing.T) {
	s := tell(t, lab.Config{Warm: 1, Rate: 100})
	s.Join("new")
	s.after(60 * time.Second)
	s.Hide("new")
	s.after(5 * time.Second)
	s.Show("new")
	s.wantShare("new", 65.0/120, warmup.New)
}

func TestReturnFromEjectionStartsAtHalf(t *testing.T) {
	s := tell(t, lab.Config{Warm: 2, Rate: 100})
	s.Eject(0, "warm-0")
	s.wantShare("warm-0", 0, warmup.Ejected)
	s.after(10 * time.Second)
	s.Readmit(0, "warm-0")
	s.wantShare("warm-0", 0.5, warmup.Recovered)
	s.after(30 * time.Second)
	s.wantShare("warm-0", 0.75, warmup.Recovered)
	s.after(31 * time.Second)
	s.wantShare("warm-0", 1, warmup.Full)
}

func TestReturnFromEjectionMidRampIsNeverAheadOfControl(t *testing.T) {
	s := tell(t, lab.Config{Warm: 1, Rate: 100})
	s.Join("new")
	s.after(72 * time.Second)
	s.Eject(0, "new")
	s.after(time.Second)
	s.Readmit(0, "new")
	s.wantShare("new", 0.3, warmup.Recovered)
	s.after(40 * time.Second)
	s.wantShare("new", 0.3+40.0/120, warmup.Recovered)
}

// Everything is new to a gateway that has just started; the fleet is not.
func TestGatewayRestartDoesNotRampAWarmFleet(t *testing.T) {
	s := tell(t, lab.Config{Warm: 3, Gateways: 2, Rate: 100})
	s.Join("new")
	s.after(60 * time.Second)
	s.RestartGateway(0)
	s.wantShare("warm-0", 1, warmup.Full)
	s.wantShare("new", 0.5, warmup.New)
}

func TestReloadMidRampDoesNotJump(t *testing.T) {
	s := tell(t, lab.Config{Warm: 1, Rate: 100})
	s.Join("new")
	s.after(60 * time.Second)
	s.wantShare("new", 0.5, warmup.New)
	longer := fleet.Policy{Algorithm: fleet.RoundRobin, Warmup: ramp(240*time.Second, 0.1)}
	s.SetPolicy(longer)
	s.wantShare("new", 0.5, warmup.New)
	s.after(24 * time.Second)
	s.wantShare("new", 0.6, warmup.New)
	longer.Warmup.Aggression = 0.5
	s.SetPolicy(longer)
	s.wantShare("new", 0.6, warmup.New)
	s.SetPolicy(fleet.Policy{})
	s.wantShare("new", 1, warmup.Full)
}

func TestSwitchedOnForALivingFleet(t *testing.T) {
	s := tell(t, lab.Config{Policy: fleet.Policy{Algorithm: fleet.RoundRobin}, Rate: 100})
	s.Join("a")
	s.Join("b")
	s.after(10 * time.Second)
	s.SetPolicy(fleet.Policy{Algorithm: fleet.RoundRobin, Warmup: ramp(120*time.Second, 0.1)})
	s.wantShare("a", 1, warmup.Baseline)
	s.Join("new")
	s.wantShare("new", 0.1, warmup.New)
	s.after(2 * time.Minute)
	s.wantShare("a", 1, warmup.Full)
}

func TestOneAloneAndThenTwo(t *testing.T) {
	s := tell(t, lab.Config{Rate: 100})
	s.Join("first")
	s.wantShare("first", 1, warmup.BypassSingle)
	s.after(30 * time.Second)
	s.Join("second")
	s.wantShare("first", 1, warmup.BypassAllCold)
	s.wantShare("second", 0.4, warmup.BypassAllCold) // 10 % beside 25 %
	s.after(90 * time.Second)
	s.wantShare("first", 1, warmup.Full)
	s.wantShare("second", 0.75, warmup.New)
}

func TestWeightChangesMidRamp(t *testing.T) {
	s := tell(t, lab.Config{Warm: 1, Rate: 100})
	s.Join("new")
	s.after(60 * time.Second)
	s.SetWeight("new", 4)
	if got := s.Share(0, "new"); math.Abs(got.Effective-2) > 0.05 {
		t.Errorf("weight 4 at half its share: got an effective weight of %v, want 2", got.Effective)
	}
	s.SetWeight("new", 0)
	s.wantShare("new", 0, warmup.Drained)
	s.after(30 * time.Second)
	s.wantShare("new", 0, warmup.Drained)
	s.SetWeight("new", 1) // half of the half that it had reached
	s.wantShare("new", 0.25, warmup.Recovered)
	s.after(30 * time.Second)
	s.wantShare("new", 0.5, warmup.Recovered)
}

func TestProbeIsToldApart(t *testing.T) {
	s := tell(t, lab.Config{
		Warm: 130, Rate: 100, Seed: 1,
		Policy: fleet.Policy{Warmup: ramp(180*time.Second, 0.01)},
	})
	s.Join("new")
	for s.Share(0, "new").Actual == 0 && s.Now() < 20*time.Second {
		s.after(10 * time.Millisecond)
	}
	s.wantShare("new", s.Now().Seconds()/180, warmup.Probe)
	s.after(130 * time.Second) // by now it gets one a second of its own accord
	s.wantShare("new", s.Now().Seconds()/180, warmup.New)
}
