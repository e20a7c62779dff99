package zookeeper

import (
	"math"
	"slices"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/wire/jute"
)

// multi is a request that changes several nodes, or none.
func (l *link) multi(q jute.Request, record, frame []byte) ([]byte, *call) {
	parts, err := jute.ReadMulti(record)
	if err != nil {
		return l.refuse(q, "multi", err)
	}
	if !l.concerned(parts) {
		return frame, &call{}
	}
	if at, code, others := l.judge(parts); code != jute.OK {
		return l.fail(q, parts, at, code, others)
	}
	steps, forward := make([]*step, len(parts)), []jute.Change(nil)
	for i := range parts {
		c := parts[i]
		if steps[i] = l.step(&parts[i]); steps[i] == nil {
			steps[i] = &step{forward: &c}
		}
		if f := steps[i].forward; f != nil {
			forward = append(forward, *f)
		}
	}
	end := func(code jute.Code) { undo(steps, code) }
	if len(forward) > 0 {
		return jute.Multi(q.Xid, forward), &call{lost: func() { end(jute.ConnectionLoss) }, then: func(r jute.Reply, rest, frame []byte) []byte {
			results, err := jute.ReadResults(rest)
			if r.Err != jute.OK || err != nil || len(results) != len(forward) {
				end(jute.RuntimeInconsistency)
				return frame
			}
			w := r.Write()
			w.Results(merge(parts, steps, results))
			return w.Frame()
		}}
	}
	out, c := here(q.Xid, "/", func(r jute.Reply) []byte {
		w := r.Write()
		w.Results(merge(parts, steps, nil))
		return w.Frame()
	})
	c.lost = func() { end(jute.ConnectionLoss) }
	return out, c
}

// fail answers a multi of which a part fails that is done here, unless one of the others before it does.
func (l *link) fail(q jute.Request, parts []jute.Change, at int, code jute.Code, others []int) ([]byte, *call) {
	return jute.Multi(q.Xid, l.rehearsal(parts, others)), &call{then: func(r jute.Reply, rest, frame []byte) []byte {
		results, err := jute.ReadResults(rest)
		if r.Err != jute.OK || err != nil || len(results) != len(others)+1 {
			return frame
		}
		for i, part := range others {
			if err := results[i].Err; err != jute.OK && err != jute.RuntimeInconsistency {
				at, code = part, err
			}
		}
		w := r.Write()
		w.Results(failed(len(parts), at, code))
		return w.Frame()
	}}
}

// concerned says whether parts are about registrations.
func (l *link) concerned(parts []jute.Change) bool {
	for i := range parts {
		c := &parts[i]
		if l.s.nodes[c.Path] != nil || l.registers(c) || c.Op.Creates() && c.Flags == jute.FlagEphemeralSequential {
			return true
		}
	}
	return false
}

// A sketch is what a node that is hidden would be, part for part.
type sketch struct {
	there   bool
	version int32
}

// judge says which part is the first to fail of those that are done here, and which others stand before it. Nothing has been
// done yet.
func (l *link) judge(parts []jute.Change) (at int, code jute.Code, others []int) {
	held := l.s.p.gate.State(hold.Key{}) != hold.Released
	sketches := map[string]*sketch{}
	for i := range parts {
		c := &parts[i]
		k := sketches[c.Path]
		if k == nil {
			switch n := l.s.nodes[c.Path]; {
			case n != nil && n.decided():
				k = &sketch{there: true, version: n.version}
			case n == nil && held && l.registers(c):
				k = &sketch{}
			default: // for the server to say
				others = append(others, i)
				continue
			}
			sketches[c.Path] = k
		}
		if code := k.take(c); code != jute.OK {
			return i, code, others
		}
	}
	return 0, jute.OK, nil
}

// rehearsal asks the server whether parts would succeed, and does nothing: its last part fails.
func (l *link) rehearsal(parts []jute.Change, which []int) []jute.Change {
	changes := make([]jute.Change, 0, len(which)+1)
	for _, i := range which {
		c := parts[i]
		if n := l.s.nodes[c.Path]; n != nil {
			c.Path, c.Version = n.at, n.there(c.Version)
		}
		changes = append(changes, c)
	}
	return append(changes, jute.Change{Op: jute.OpCheck, Path: "/", Version: math.MaxInt32})
}

// take does one part.
func (k *sketch) take(c *jute.Change) jute.Code {
	switch {
	case c.Op.Creates() && k.there:
		return jute.NodeExists
	case c.Op.Creates():
		*k = sketch{there: true}
	case !k.there:
		return jute.NoNode
	case c.Version >= 0 && c.Version != k.version:
		return jute.BadVersion
	case c.Op == jute.OpDelete:
		k.there = false
	case c.Op == jute.OpSetData:
		k.version++
	}
	return jute.OK
}

// failed is what a multi is answered with, of which a part failed.
func failed(n, at int, code jute.Code) []jute.Result {
	results := make([]jute.Result, n)
	for i := range results {
		results[i] = jute.Result{Op: jute.OpError}
		switch {
		case i == at:
			results[i].Err = code
		case i > at:
			results[i].Err = jute.RuntimeInconsistency
		}
	}
	return results
}

// merge puts what was done here between what the server did. Either all of it was done, or nothing.
func merge(parts []jute.Change, steps []*step, results []jute.Result) []jute.Result {
	merged := make([]jute.Result, len(parts))
	at, code, next := -1, jute.OK, 0
	for i, st := range steps {
		if st.forward == nil {
			continue
		}
		merged[i] = results[next]
		next++
		if err := merged[i].Err; at < 0 && err != jute.OK {
			at, code = i, err
		}
	}
	if at >= 0 {
		undo(steps, jute.RuntimeInconsistency)
		return failed(len(parts), at, code)
	}
	for i, st := range steps {
		op := merged[i].Op
		if st.forward == nil {
			merged[i], op = st.result, parts[i].Op
			if op == jute.OpCreate2 {
				op = jute.OpCreate // as servers answer it here
			}
		}
		st.end(jute.OK, &merged[i])
		merged[i].Op = op
	}
	return merged
}

// undo takes back what the books say of steps, the last one first.
func undo(steps []*step, code jute.Code) {
	for _, st := range slices.Backward(steps) {
		st.end(code, &st.result)
	}
}
