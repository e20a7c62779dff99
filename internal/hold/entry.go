package hold

import (
	"slices"
	"time"
)

// A Key names what an application registers: one instance in one service. Where a registration lives by one connection,
// that is part of the name. The zero key names nothing.
type Key struct {
	Registry string // as [Proxy.Registry] says
	Name     string // there
}

func (k Key) String() string { return k.Name + " in " + k.Registry }

// An entry is what a gate knows of a key.
type entry struct {
	key   Key
	place uint64 // in the order of registration

	registration Registration // the newest
	wanted       bool         // the application takes it to be registered
	may          bool         // the registry may have it
	mark         *Mark        // with which the registry is known to have it; nil: it is not known to
	passing      []passage    // what is on its way through the proxy, oldest first
	passed       uint64       // of those there ever were
	ending       int          // deregistrations that the proxy has passed on, and the registry not answered
	busy         bool         // one of our own calls is under way
	owed         bool         // the application took it back meanwhile: it may come after, and is withdrawn then
	told         time.Time    // when it was last said to be swallowed
	refused      string       // what the registry said when it did not take it
}

// A passage is a registration on its way through the proxy.
type passage struct {
	r        Registration
	before   Registration // what the application had registered then; nil is nothing
	mark     Mark
	may      bool // the registry may have had it before
	owed     bool // likewise
	doubtful bool // a withdrawal of ours went the same way: nobody knows which was first
}

// arrived takes a passage off the list.
func (e *entry) arrived(r Registration) (passage, bool) {
	i := slices.IndexFunc(e.passing, func(p passage) bool { return p.r == r })
	if i < 0 {
		return passage{}, false
	}
	p := e.passing[i]
	e.passing = slices.Delete(e.passing, i, i+1)
	return p, true
}

// drop takes everything that belongs to a registration off the list.
func (e *entry) drop(r Registration) {
	e.passing = slices.DeleteFunc(e.passing, func(p passage) bool { return p.r == r })
	for i := range e.passing {
		if e.passing[i].before == r {
			e.passing[i].before = nil
		}
	}
}

// clear forgets an entry that nobody wants, and no registry has. The gate is locked.
func (g *Gate) clear(e *entry) {
	if !e.wanted && !e.may && len(e.passing) == 0 && g.entries[e.key] == e {
		delete(g.entries, e.key)
	}
}
