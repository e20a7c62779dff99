// Package warmup decides what share of its full weight each endpoint of a pool gets at a moment, and says why
// in one word.
package warmup

// A Reason is why an endpoint's share is what it is, in one word.
type Reason string

// The reasons. The empty reason is an ordinary full share.
const (
	Full          Reason = ""
	New           Reason = "new"             // on its first ramp
	Recovered     Reason = "recovered"       // back after a failed check, on a shortened ramp
	Baseline      Reason = "baseline"        // was there before warm-up was switched on: mature
	Budget        Reason = "budget"          // raised so that warm endpoints carry at most λ times what they did
	Probe         Reason = "probe"           // got a guaranteed probe
	BypassSingle  Reason = "bypass-single"   // nobody else to send to, here or elsewhere
	BypassAllCold Reason = "bypass-all-cold" // everybody warms: shares are relative to the warmest
	Manual        Reason = "manual"          // somebody, or the endpoint's own label, moved or paused its warm-up
	Ejected       Reason = "ejected"         // left out by this data plane
	Panic         Reason = "panic"           // ejected, and sent to all the same: too few are in service
	Drained       Reason = "drained"         // weight 0, or leaving
	Elsewhere     Reason = "elsewhere"       // the policy distributes nothing to where it is
)
