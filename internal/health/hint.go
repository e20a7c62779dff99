package health

import "sync/atomic"

// A hint is for whoever watches a target: that somebody could not reach it.
type hint struct {
	bell chan struct{} // size one
	gone atomic.Bool
}

// Doubt has a target looked at now, because somebody lost a connection to it, or got none: connections to its address
// are made, quickly one after another, until one succeeds, or so many have failed that it is unhealthy. It says whether
// the target is one that is looked at.
func (c *Checker) Doubt(key string) bool { return c.hint(key, false) }

// Gone has a target count as unhealthy from now on, without a verdict, because somebody knows that nobody listens there.
// When its address takes connections again and its check passes, the verdict is that it is healthy. It says whether the
// target is one that is looked at.
func (c *Checker) Gone(key string) bool { return c.hint(key, true) }

func (c *Checker) hint(key string, gone bool) bool {
	c.mu.Lock()
	h := c.watches[key]
	c.mu.Unlock()
	if h == nil {
		return false
	}
	if gone {
		h.gone.Store(true)
	}
	select {
	case h.bell <- struct{}{}:
	default: // it has not been heard yet, and will say what is true then
	}
	return true
}

func (c *Checker) newHint(key string) *hint {
	h := &hint{bell: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watches == nil {
		c.watches = map[string]*hint{}
	}
	c.watches[key] = h
	return h
}

func (c *Checker) forget(key string, h *hint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watches[key] == h {
		delete(c.watches, key)
	}
}
