// Package warmup decides what share of its full weight each endpoint of a pool gets at a moment, and says why
// in one word.
package warmup

// A Reason is why an endpoint's share is what it is, in one word.
type Reason string

// The reasons. The empty reason is an ordinary full share.
const (
	Full          Reason = ""
	New           Reason = "new"             // on its first ramp, or waits for it
	NotReady      Reason = "not-ready"       // was in service before, and does not pass its checks now
	Recovered     Reason = "recovered"       // back after a failed check or a weight of 0, on a shortened ramp
	Baseline      Reason = "baseline"        // was there before warm-up was switched on: mature
	Budget        Reason = "budget"          // raised so that warm endpoints carry at most λ times what they did
	Probe         Reason = "probe"           // got a guaranteed probe
	BypassSingle  Reason = "bypass-single"   // nobody else to send to, here or elsewhere
	BypassAllCold Reason = "bypass-all-cold" // everybody warms: shares are relative to the warmest
	Manual        Reason = "manual"          // somebody moved or paused its warm-up
	Weighed       Reason = "weight"          // a full share, of a weight that somebody multiplied
	Ejected       Reason = "ejected"         // left out by this data plane
	Panic         Reason = "panic"           // ejected, and sent to all the same: too few are in service
	Drained       Reason = "drained"         // weight 0, or leaving
	Elsewhere     Reason = "elsewhere"       // the policy distributes nothing to where it is
)
