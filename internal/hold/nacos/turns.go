package nacos

import (
	"context"
	"sync"
)

// turns has calls of the registry about one instance follow each other, so that what is withdrawn does not overtake what
// registers it. The zero value is not ready.
type turns struct {
	mu  sync.Mutex
	all map[string]*turn
}

type turn struct {
	free  chan struct{} // has one token
	users int           // that have it or wait
}

// take waits for the turn of a key, in the order of calls. Whoever has it gives it back by what is returned.
func (t *turns) take(ctx context.Context, key string) (done func(), err error) {
	t.mu.Lock()
	k := t.all[key]
	if k == nil {
		k = &turn{free: make(chan struct{}, 1)}
		k.free <- struct{}{}
		t.all[key] = k
	}
	k.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(t.all, key)
		}
	}
	select {
	case <-k.free:
		return func() { k.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
