package zookeeper

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/wire/jute"
)

// run runs a gate before a proxy until the test ends.
func run(t *testing.T, p *Proxy, g *hold.Gate) *hold.Gate {
	t.Helper()
	g.Proxies = []hold.Proxy{p}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx, func(error) {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return g
}

func instance(ramp float64) fleet.Instance {
	return fleet.Instance{Incarnation: "a-1", Name: "a", Namespace: "default", Labels: map[string]string{"app": "a"}, Weight: 1, Ready: true, Ramp: ramp}
}

// put releases everything, and goes on until it is.
func put(t *testing.T, g *hold.Gate, in fleet.Instance) {
	t.Helper()
	eventually(t, "it is released", func() bool { return g.Put(t.Context(), in) == nil })
}

func remove(t *testing.T, g *hold.Gate) {
	t.Helper()
	eventually(t, "it is withdrawn", func() bool { return g.Remove(t.Context(), "a-1") == nil })
}

// A twin says the same to a proxy and to a server, in directories of their own, and finds out what is not answered the same.
type twin struct {
	proxied, direct *speaker
	dirs            [2]string
	ramps           bool // the weight in the data is not what was written
}

// both says something, and returns what was heard, of either.
func (w *twin) both(say func(s *speaker, dir string) string) (proxied, direct string) {
	for i, s := range []*speaker{w.proxied, w.direct} {
		heard := say(s, w.dirs[i])
		heard += " [" + s.heard() + "]"
		heard = strings.ReplaceAll(heard, w.dirs[i], "")
		if w.ramps {
			heard = weight.ReplaceAllString(heard, "?")
		}
		if i == 0 {
			proxied = heard
		} else {
			direct = heard
		}
	}
	return proxied, direct
}

var weight = regexp.MustCompile(`\\"weight\\":\\"\d+\\"`)

func (w *twin) stat(s *speaker, stat jute.Stat) string {
	owner := "nobody"
	switch stat.Owner {
	case 0:
	case s.session:
		owner = "self"
	default:
		owner = "other"
	}
	if stat.Czxid <= 0 || stat.Mzxid < stat.Czxid || stat.Ctime <= 0 || stat.Mtime < stat.Ctime {
		owner += " at a strange time"
	}
	if w.ramps {
		stat.DataLength = 0
	}
	return fmt.Sprintf("version %d, %d bytes, of %s, %d children", stat.Version, stat.DataLength, owner, stat.Children)
}

// step does one thing that an application may do, drawn at random.
func (w *twin) step(rt *rapid.T) (string, func(s *speaker, dir string) string) {
	name := rapid.SampledFrom([]string{"/a", "/b"}).Draw(rt, "name")
	version := int32(rapid.IntRange(-1, 2).Draw(rt, "version"))
	data := rapid.SampledFrom([]string{"127.0.0.1:80", `{"payload":{"metadata":{"weight":"100"}}}`, `{"payload":{"metadata":{"weight":"50","x":"y"}}}`}).Draw(rt, "data")
	what := rapid.SampledFrom([]string{"create", "create", "create2", "delete", "delete", "set", "set", "exists", "data", "children", "children2", "acl", "multi", "reads"}).Draw(rt, "what")
	// One that exists sets would see what is not there when it is released, not when it is made.
	watch := !w.ramps && what == "data" && rapid.Bool().Draw(rt, "watch")
	change := func(dir, what string) jute.Change {
		c := create(dir+name, data)
		switch what {
		case "create":
			c.Op = jute.OpCreate
		case "delete":
			c = jute.Change{Op: jute.OpDelete, Path: dir + name, Version: version}
		case "set":
			c = jute.Change{Op: jute.OpSetData, Path: dir + name, Data: []byte(data), Version: version}
		case "check":
			c = jute.Change{Op: jute.OpCheck, Path: dir + name, Version: version}
		}
		return c
	}
	switch what {
	case "create", "create2", "delete", "set":
		return fmt.Sprint(what, name, " ", version), func(s *speaker, dir string) string {
			code, res := s.do(change(dir, what))
			return w.result(s, code, res)
		}
	case "multi":
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"create", "create2", "delete", "set", "check"}), 1, 3).Draw(rt, "parts")
		return fmt.Sprint(what, parts, name, " ", version), func(s *speaker, dir string) string {
			var changes []jute.Change
			for _, part := range parts {
				changes = append(changes, change(dir, part))
			}
			changes = append(changes, jute.Change{Op: jute.OpCheck, Path: dir, Version: -1})
			var all []string
			for _, res := range s.multi(changes...) {
				all = append(all, w.result(s, res.Err, res))
			}
			return strings.Join(all, "; ")
		}
	case "reads":
		return what, func(s *speaker, dir string) string { return w.reads(s, dir) }
	}
	op := map[string]jute.Op{"exists": jute.OpExists, "data": jute.OpGetData, "children": jute.OpGetChildren, "children2": jute.OpGetChildren2, "acl": jute.OpGetACL}[what]
	return fmt.Sprint(what, name, " ", watch), func(s *speaker, dir string) string { return w.looks(s, op, dir, name, watch) }
}

func (w *twin) looks(s *speaker, op jute.Op, dir, name string, watch bool) string {
	if op == jute.OpGetACL {
		r, rest := s.ask(jute.Look{Op: op, Path: dir + name}.Frame)
		if r.Err != jute.OK {
			return r.Err.String()
		}
		in := jute.NewReader(rest)
		return fmt.Sprint(in.ACL(), w.stat(s, in.Stat()), in.End())
	}
	code, seen := s.look(op, dir+name, watch)
	if code != jute.OK {
		return code.String()
	}
	if op == jute.OpGetChildren {
		seen.Stat = jute.Stat{Czxid: 1, Mzxid: 1, Ctime: 1, Mtime: 1}
	}
	_, list := s.look(jute.OpGetChildren, dir, false)
	return fmt.Sprintf("%q %s %v in %v", seen.Data, w.stat(s, seen.Stat), seen.Children, list.Children)
}

func (w *twin) result(s *speaker, code jute.Code, res jute.Result) string {
	switch {
	case code != jute.OK:
		return code.String()
	case res.Op == jute.OpCreate, res.Op == jute.OpDelete, res.Op == jute.OpCheck, res.Op == jute.OpError:
		return res.Path
	}
	return res.Path + " " + w.stat(s, res.Stat)
}

func (w *twin) reads(s *speaker, dir string) string {
	r, rest := s.ask(func(xid int32) []byte {
		q := jute.Request{Xid: xid, Op: jute.OpMultiRead}.Write()
		for _, look := range []jute.Look{{Op: jute.OpGetData, Path: dir + "/a"}, {Op: jute.OpGetChildren, Path: dir + "/b"}, {Op: jute.OpGetData, Path: dir + "/none"}} {
			q.Int(int32(look.Op))
			q.Bool(false)
			q.Int(-1)
			q.Text(look.Path)
			q.Bool(false)
		}
		q.Int(-1)
		q.Bool(true)
		q.Int(-1)
		return q.Frame()
	})
	seen, err := jute.ReadSeen(rest)
	if err != nil {
		s.Fatalf("several reads: %v, %v", r.Err, err)
	}
	var all []string
	for _, one := range seen {
		said := one.Err.String()
		if one.Op == jute.OpGetData {
			said = fmt.Sprintf("%q %s", one.Data, w.stat(s, one.Stat))
		}
		all = append(all, said, fmt.Sprint(one.Children))
	}
	return strings.Join(all, "; ")
}

// Whatever an application says, it is answered as by a server, event for event, and whatever becomes of its registrations
// meanwhile: held, released, withdrawn, swallowed, over a connection or the next one.
func TestAnApplicationNoticesNothing(t *testing.T) {
	t.Parallel()
	const most = 30
	s := shared(t)
	var round atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		n := round.Add(1)
		p := open(t, s.address(), "")
		g := run(t, p, &hold.Gate{})
		w := &twin{
			proxied: speak(t, p.Addr()), direct: speak(t, s.address()), ramps: rapid.Bool().Draw(rt, "ramps"),
			dirs: [2]string{fmt.Sprintf("/services/p%d", n), fmt.Sprintf("/services/d%d", n)},
		}
		defer w.proxied.leave()
		defer w.direct.leave()
		w.direct.mkdir(w.dirs[0])
		w.direct.mkdir(w.dirs[1])
		var done []string
		removed := false
		for range rapid.IntRange(1, most).Draw(rt, "steps") {
			switch act := rapid.SampledFrom([]string{"say", "say", "say", "say", "say", "put", "remove", "reconnect"}).Draw(rt, "act"); {
			case act == "put" && !removed:
				ramp := 1.0
				if w.ramps {
					ramp = rapid.SampledFrom([]float64{0.1, 0.5, 1}).Draw(rt, "ramp")
				}
				done = append(done, fmt.Sprint("PUT ", ramp))
				ctx, cancel := context.WithCancel(t.Context())
				if c := g.Count(); c.Held+c.Released == 0 {
					cancel() // it would wait for the first
				}
				_ = g.Put(ctx, instance(ramp))
				cancel()
			case act == "remove" && len(done) > most/2:
				done = append(done, "REMOVE")
				removed = true
				if err := g.Remove(t.Context(), "a-1"); err != nil {
					rt.Fatalf("Remove after %q: %v", done, err)
				}
			case act == "reconnect":
				done = append(done, "RECONNECT")
				w.reconnect(rt)
			default:
				what, say := w.step(rt)
				done = append(done, what)
				if got, want := w.both(say); got != want {
					rt.Fatalf("after %q: answered\n%s\nby the server itself\n%s", done, got, want)
				}
			}
			if _, seen := w.direct.look(jute.OpGetChildren, w.dirs[0], false); removed && len(seen.Children) > 0 {
				rt.Fatalf("after %q others find %v", done, seen.Children)
			}
		}
		if _, seen := w.direct.look(jute.OpGetChildren, w.dirs[0], false); g.State(hold.Key{}) == hold.Held && len(seen.Children) > 0 {
			rt.Fatalf("before its release, after %q, others find %v", done, seen.Children)
		}
	})
}

// reconnect goes on in the same sessions, over other connections.
func (w *twin) reconnect(rt *rapid.T) {
	for _, s := range []*speaker{w.proxied, w.direct} {
		if got := s.connect(); got.TimeoutMS <= 0 || got.Session != s.session {
			rt.Fatalf("it connects again: %+v", got)
		}
	}
}
