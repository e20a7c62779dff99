package balancer_test

import (
	"math"
	"testing"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
	"crossfade.dev/internal/warmup"
)

func TestFactorChangesMidRamp(t *testing.T) {
	each(t, lab.Config{Warm: 1}, func(s *story) {
		s.Join("new")
		s.after(60 * time.Second)
		s.SetFactor("new", 2)
		s.wantShare("new", 0.5, warmup.New)
		if got := s.Share(0, "new"); math.Abs(got.Effective-1) > 0.02 || got.Weight != 2 {
			s.t.Errorf("twice its weight at half its share: got %+v, want an effective weight of 1", got)
		}
		s.SetFactor("new", 0)
		s.Sent = func(r lab.Request) {
			if r.Endpoint == "new" {
				s.t.Errorf("at %v: a request to one whose factor is 0", r.At)
			}
		}
		s.wantShare("new", 0, warmup.Drained)
		s.after(30 * time.Second)
		s.Sent = nil
		s.SetFactor("new", 1) // half of the half that it had reached
		s.wantShare("new", 0.25, warmup.Recovered)
		s.after(90 * time.Second)
		s.wantShare("new", 1, warmup.Full)
	})
}

// The factor reaches what arrives, with every algorithm.
func TestFactorIsWhatArrives(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		s := tell(t, lab.Config{
			Warm: 3, Rate: 300, Keys: 1 << 40, Seed: 3, Service: 50 * time.Millisecond,
			Policy: fleet.Policy{Algorithm: algorithm, Hash: &fleet.Hash{TableSize: 5003}},
		})
		s.SetFactor("warm-0", 2)
		got, sent := 0.0, 0.0
		s.Sent = func(r lab.Request) {
			if sent++; r.Endpoint == "warm-0" {
				got++
			}
		}
		s.after(60 * time.Second)
		if part := got / sent; math.Abs(part-0.5) > 0.06 {
			t.Errorf("%v: one of twice the weight beside two others gets %.3f of the requests, want a half", algorithm, part)
		}
	}
}

func TestPauseSkipAndRestartByHand(t *testing.T) {
	each(t, lab.Config{Warm: 3}, func(s *story) {
		s.Join("new")
		s.after(30 * time.Second)
		s.Pause("new")
		s.wantShare("new", 0.25, warmup.Manual)
		s.after(10 * time.Minute)
		s.wantShare("new", 0.25, warmup.Manual)
		s.RestartGateway(0)
		s.wantShare("new", 0.25, warmup.Manual)
		s.Resume("new")
		s.after(30 * time.Second)
		s.wantShare("new", 0.5, warmup.Manual)
		s.Eject(0, "new")
		s.Readmit(0, "new")
		s.wantShare("new", 0.25, warmup.Recovered)
		s.after(91 * time.Second)
		s.wantShare("new", 1, warmup.Full)
		s.Rewarm("new")
		s.wantShare("new", 0.1, warmup.Manual)
		s.Skip("new")
		s.wantShare("new", 1, warmup.Full)
	})
}

// A pool in which all who warm are paused has nothing to be compiled again for. It still sends them their probes.
func TestPausedPoolStands(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		in := input(fleet.Policy{Algorithm: algorithm, Warmup: ramp(2*time.Minute, 0.001)}, warm("a"), cold("b"))
		in.Service.Endpoints[0].Weight = 1_000_000
		in.Pool.Members[1].Paused = true
		b := balancer.Compile(nil, in, epoch)
		if b.Warming() {
			t.Errorf("%v: Warming although nobody's share grows", algorithm)
		}
		got := 0
		for at := time.Duration(0); at < 2*time.Minute; at += 10 * time.Millisecond {
			if b.Pick(epoch.Add(at), -1) == 1 {
				got++
			}
		}
		if got < 9 || got > 15 {
			t.Errorf("%v: the paused one got %d requests in 120 s, want a probe every 12 s", algorithm, got)
		}
		in.Pool.Members[1].Paused = false
		if !balancer.Compile(b, in, epoch).Warming() {
			t.Errorf("%v: not Warming although the pause is over", algorithm)
		}
	}
}
