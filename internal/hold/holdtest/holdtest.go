// Package holdtest is what every registration proxy must do, as tests against a real registry and an unmodified client of
// it: the application believes at once that it is registered; nobody else sees it before it is released, nor after it
// was told to leave, whatever it registers again; and it lives and dies in the registry as it would without a proxy.
// A proxy's own test is a call of [Run].
package holdtest

import (
	"context"
	"testing"
	"time"

	"crossfade.dev/internal/hold"
)

// A Proxy is what is tested.
type Proxy interface {
	hold.Proxy
	Addr() string // where the application reaches it
}

// An App is an application with an unmodified client of the registry. It has one instance, and registers it in services.
// Its methods are called by one goroutine at a time.
type App interface {
	// Register registers the instance in a service, and returns when the application takes it to be registered. It may be
	// called again for a service in which it is.
	Register(ctx context.Context, service string) error
	// Deregister takes that back.
	Deregister(ctx context.Context, service string) error
	// Sees asks the registry, in one call, whether the instance is in a service.
	Sees(ctx context.Context, service string) (bool, error)
	// Reconnect has its connections break, and returns when it is connected again and has done what its client does then by
	// itself.
	Reconnect(ctx context.Context) error
	// Kill ends it as SIGKILL would: it says nothing to anybody any more. A killed one can be killed again.
	Kill()
}

// A Seen is an instance as another client finds it in the registry.
type Seen struct {
	Port     int
	Metadata map[string]string // all it has
	Weight   float64           // 1 is what the application said
	Leaving  bool              // by the registry's own word
	Raw      string            // what the registry has of it, byte for byte
}

// A World is a real registry, with applications and proxies. All of it ends with the test. Names of services have letters,
// digits and dashes.
type World struct {
	Open  func() Proxy                                              // a new one before the registry, that does not run yet
	App   func(address string, port int) App                        // a new one, with an instance at this port, that talks to a proxy; "" is the registry itself
	Peer  func(ctx context.Context, service string) ([]Seen, error) // what somebody else finds there, without a proxy
	Stop  func()                                                    // the registry goes away; not called where the test is not alone
	Start func()                                                    // and is back, with what it keeps on its disk
	Room  Room
}

// Room is what a registration has room for, and a proxy.
type Room struct {
	Metadata bool
	Weight   bool
	Leaving  bool // a word of the registry's own
	Self     bool // the proxy answers an application that asks for itself as if it were there
}

// patience is longer than anything here takes on a machine that does other things too.
const patience = time.Minute

// A test is one of the suite.
type test struct {
	name string
	run  func(*scene)
}

// Run runs the suite. Each test has services that no other has. A test that is alone has a registry of its own; others
// may share one.
func Run(t *testing.T, open func(t *testing.T, alone bool) World) {
	t.Helper()
	run(t, func(t *testing.T) World { t.Helper(); return open(t, false) },
		test{"the application believes at once, others see it when it is released", heldThenReleased},
		test{"what comes late is passed on", lateIsPassedOn},
		test{"what is taken back while it is held is never seen", takenBackHeld},
		test{"what is taken back after its release is gone", takenBackReleased},
		test{"an application that connects again stays what it was", connectsAgain},
		test{"what has left never comes back", neverComesBack},
		test{"one that leaves while it is held is never seen", leavesHeld},
		test{"one that is marked as leaving registers nothing more", leavingRegistersNothing},
		test{"a killed application disappears", killedDisappears},
		test{"marks are seen, and weights", marksAreSeen},
		test{"without annotations it is what the application sent", byteForByte},
		test{"histories at random", histories},
	)
	Away(t, func(t *testing.T) World { t.Helper(); return open(t, true) })
}

// Away is the part of the suite in which a registry goes away, and is back. Each test has a registry of its own.
func Away(t *testing.T, open func(t *testing.T) World) {
	t.Helper()
	run(t, open,
		test{"a registry that is away while it is held", awayHeld},
		test{"a registry that is away while it is held, and need not be waited for", awayHeldOpen},
		test{"a registry that is away after the release", awayReleased},
		test{"a registry that is away at the leave", awayLeaving},
	)
}

func run(t *testing.T, open func(t *testing.T) World, tests ...test) {
	t.Helper()
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait, most of the time
			c.run(newScene(t, open(t)))
		})
	}
}
