package holdtest

import (
	"fmt"

	"pgregory.net/rapid"

	"crossfade.dev/internal/hold"
)

// A record is what a history has come to: what everybody should find.
type record struct {
	state   hold.State
	leaving bool
	wanted  map[string]bool // by service: the application is registered there
	there   map[string]bool // others find it
	thinned bool            // but need not any more: what a registry forgets of an instance that leaves is not made again
}

// histories: whatever an application and its agent do, and in whichever order, others find it where it is registered
// after its release, and before its leave, and nowhere else.
func histories(s *scene) {
	const rounds, most = 12, 12 // every one of them asks a real registry
	round := 0
	rapid.Check(s.T, func(rt *rapid.T) {
		if round++; round > rounds {
			return
		}
		app := s.begin(nil)
		defer app.Kill()
		services := []string{s.service(fmt.Sprintf("r%d-a", round)), s.service(fmt.Sprintf("r%d-b", round))}
		r := &record{wanted: map[string]bool{}, there: map[string]bool{}}
		var done []string
		for range rapid.IntRange(3, most).Draw(rt, "steps") {
			service := rapid.SampledFrom(services).Draw(rt, "service")
			step := rapid.SampledFrom([]string{"register", "register", "deregister", "reconnect", "put", "leave", "remove"}).Draw(rt, "step")
			done = append(done, step+" "+service)
			s.step(r, app, step, service)
			for _, service := range services {
				if r.there[service] && r.thinned {
					continue
				}
				if r.there[service] {
					s.until(fmt.Sprintf("others find it in %s after %q", service, done), func() bool { return s.has(service) })
				} else if s.has(service) {
					rt.Fatalf("others find it in %s after %q", service, done)
				}
			}
		}
	})
}

// step does one thing, and records what it is to come to.
func (s *scene) step(r *record, app App, step, service string) {
	switch step {
	case "register":
		s.registers(app, service)
		r.wanted[service] = true
		if r.state == hold.Released && !r.leaving {
			r.there[service] = true
		}
	case "deregister":
		if r.wanted[service] {
			s.deregisters(app, service)
		}
		delete(r.wanted, service)
		delete(r.there, service)
	case "reconnect":
		s.reconnects(app)
		r.thinned = r.leaving // where a registration lives by its connection, it ended with that
	case "put":
		if r.state == hold.Drained || r.leaving || len(r.wanted) == 0 {
			return
		}
		s.release()
		r.state = hold.Released
		for service := range r.wanted {
			r.there[service] = true
		}
	case "leave":
		if r.state == hold.Drained {
			return
		}
		in := instance()
		in.Leaving = true
		s.put(in)
		r.leaving = true
	case "remove":
		s.remove()
		r.state, r.leaving = hold.Drained, true
		clear(r.there)
	}
}
