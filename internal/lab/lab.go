// Package lab runs a fleet and the gateways before it on virtual time: the balancing and the warm-up of the
// real thing, with everything around them played by one loop over events.
//
//	l := lab.New(lab.Config{Policy: policy, Warm: 10, Gateways: 50, Rate: 100, Seed: 1})
//	l.At(10*time.Second, func() { l.Join("new") })
//	l.Sent = func(r lab.Request) { … }
//	l.Run(time.Minute)
//
// The same seed gives the same run. A Lab is for one goroutine.
package lab

import (
	"math/rand/v2"
	"strconv"
	"time"

	"crossfade.dev/internal/fleet"
)

// A Config says what runs in a lab.
type Config struct {
	Policy   fleet.Policy
	Warm     int           // endpoints that have been there for ever: warm-0, warm-1 and so on
	Gateways int           // at least one
	Rate     float64       // requests a second, of all gateways together
	Even     bool          // requests come evenly spaced at each gateway instead of at random (Poisson)
	Keys     uint64        // each request carries one of so many keys, 1 and so on, any as likely; 0 is none
	Service  time.Duration // mean time that a request takes, exponential; 0 is no time
	Seed     uint64
}

// A Request is one request that a gateway sent.
type Request struct {
	At       time.Duration // since the lab began
	Gateway  int
	Key      uint64  // 0 when it has none
	Endpoint string  // its name; "" when there was nobody to send to
	Ideal    float64 // of a request that Watch's endpoint should get at this moment; see Lab.Ideal
}

// A Lab is a service, its gateways and their clients.
type Lab struct {
	Sent  func(Request) // called for every request; may be nil
	Watch string        // the endpoint that Request.Ideal is about

	config   Config
	now      time.Duration
	events   events
	random   *rand.Rand
	world    world
	gateways []*gateway
}

// New returns a lab at its beginning.
func New(c Config) *Lab {
	c.Gateways = max(1, c.Gateways)
	l := &Lab{config: c, random: rand.New(rand.NewPCG(c.Seed, 0))} //nolint:gosec // a simulation must repeat
	l.world.policy = c.Policy
	for i := range c.Warm {
		l.world.lives = append(l.world.lives, l.born("warm-"+strconv.Itoa(i), mature))
	}
	for i := range c.Gateways {
		l.gateways = append(l.gateways, newGateway(l, i))
	}
	l.publish()
	return l
}

// Now returns the time since the lab began.
func (l *Lab) Now() time.Duration { return l.now }

// At calls f when the lab has come to t; at once within Run when that has passed.
func (l *Lab) At(t time.Duration, f func()) {
	l.events.push(max(t, l.now), f)
}

// Every calls f each d from now on.
func (l *Lab) Every(d time.Duration, f func()) {
	var again func()
	again = func() {
		f()
		l.At(l.now+d, again)
	}
	l.At(l.now+d, again)
}

// Run lets time pass until t.
func (l *Lab) Run(t time.Duration) {
	for len(l.events.queue) > 0 && l.events.queue[0].at <= t {
		e := l.events.pop()
		l.now = e.at
		e.do()
	}
	l.now = max(l.now, t)
}

// Clock returns the moment that the lab shows to what it runs.
func (l *Lab) clock() time.Time {
	return time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC).Add(l.now)
}

// Gap returns the time from one request of a gateway to the next.
func (l *Lab) gap() time.Duration {
	mean := float64(l.config.Gateways) / l.config.Rate * float64(time.Second)
	if l.config.Even {
		return time.Duration(mean)
	}
	return time.Duration(mean * l.random.ExpFloat64())
}
