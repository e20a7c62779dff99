package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/go-zookeeper/zk"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

var (
	// errStale says that ZooKeeper does not have what was just put there, or still has what was taken away.
	errStale = errors.New("what is read back is not what was put")
	errTaken = errors.New("the node is somebody else's")
)

// An entry is one incarnation that this client publishes.
type entry struct {
	incarnation string

	mu    sync.Mutex       // held over one attempt at most
	want  *node            // to be published; nil: nothing is
	there map[string]*node // what may be in ZooKeeper, by path: more than one while the name of a node changes
}

// published says that something is to be there.
func (e *entry) published() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.want != nil
}

// Put publishes an instance, see [registry.Registrar]. One that failed in the registry is still to be published: Run goes on
// trying, until Remove.
func (c *Client) Put(ctx context.Context, in fleet.Instance) error {
	n, err := c.place.node(in)
	if err != nil {
		return fmt.Errorf("zookeeper: publish %s: %w", in.Incarnation, err)
	}
	c.mu.Lock()
	e := c.entries[in.Incarnation]
	if e == nil {
		e = &entry{incarnation: in.Incarnation, there: map[string]*node{}}
	}
	c.mu.Unlock()
	e.mu.Lock()
	e.want = n
	e.mu.Unlock()
	c.mu.Lock()
	c.entries[in.Incarnation] = e // where it was removed meanwhile
	c.mu.Unlock()
	return c.persist(ctx, "publish "+in.Incarnation, func(ctx context.Context, s *session) error { return c.refresh(ctx, s, e) })
}

// Remove takes an incarnation away that this client has put, see [registry.Registrar]. When the registry is away Run
// goes on trying.
func (c *Client) Remove(ctx context.Context, incarnation string) error {
	c.mu.Lock()
	e := c.entries[incarnation]
	c.mu.Unlock()
	if e == nil {
		return nil
	}
	e.mu.Lock()
	e.want = nil
	e.mu.Unlock()
	return c.persist(ctx, "remove "+incarnation, func(ctx context.Context, s *session) error { return c.refresh(ctx, s, e) })
}

// Run looks three times in the time to live whether ZooKeeper has everything, see [registry.Registrar], and puts again what
// it has lost. That a session lives is the library's business.
func (c *Client) Run(ctx context.Context, told func(error)) error {
	return registry.Keep(ctx, scheme, c.place.ttl, nil, c.keep, told)
}

// keep does for every entry what Run promises, once.
func (c *Client) keep(ctx context.Context) error {
	var errs []error
	for _, e := range c.all() {
		errs = append(errs, c.once(ctx, func(ctx context.Context, s *session) error { return c.refresh(ctx, s, e) }))
	}
	return errors.Join(errs...)
}

func (c *Client) all() []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.entries))
}

// refresh has ZooKeeper have what an entry is to be, and nothing else of it. It forgets an entry of which nothing is left.
func (c *Client) refresh(ctx context.Context, s *session, e *entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.want != nil {
		if err := c.publish(ctx, s, e); err != nil {
			return err
		}
	}
	for path, n := range e.there {
		if e.want != nil && e.want.path() == path {
			continue
		}
		if err := c.withdraw(ctx, s, e, n); err != nil {
			return err
		}
		delete(e.there, path)
	}
	if e.want == nil {
		c.mu.Lock()
		delete(c.entries, e.incarnation)
		c.mu.Unlock()
	}
	return nil
}

// publish puts what an entry is to be, and reads it back. What it was under another name goes in the same transaction:
// there is no moment in which nobody is listed, or both. The entry is locked.
func (c *Client) publish(ctx context.Context, s *session, e *entry) error {
	n := e.want
	ops, err := c.replace(ctx, s, e)
	if err != nil {
		return err
	}
	e.there[n.path()] = n // or from here on may be
	if len(ops) == 0 {
		return nil
	}
	for path, old := range e.there {
		if path == n.path() {
			continue
		}
		if is, err := s.get(ctx, path); err == nil && c.by(old, is) == e.incarnation {
			ops = append(ops, &zk.DeleteRequest{Path: path, Version: is.stat.Version})
		}
	}
	if err := multi(ctx, s, ops); err != nil {
		return err
	}
	is, err := s.get(ctx, n.path())
	if err == nil && (!bytes.Equal(is.data, n.data) || is.stat.EphemeralOwner != s.conn.SessionID()) {
		err = errStale
	}
	return err
}

// replace returns what has to be done for a node to be what an entry is to be, in this session: nothing when it is that.
func (c *Client) replace(ctx context.Context, s *session, e *entry) ([]any, error) {
	n := e.want
	create := &zk.CreateRequest{Path: n.path(), Data: n.data, Acl: c.place.access(), Flags: zk.FlagEphemeral}
	is, err := s.get(ctx, n.path())
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return []any{create}, c.parents(ctx, s, n.directory)
	case err != nil:
		return nil, err
	case is.stat.EphemeralOwner == s.conn.SessionID() && bytes.Equal(is.data, n.data):
		return nil, nil
	case is.stat.EphemeralOwner == s.conn.SessionID():
		return []any{&zk.SetDataRequest{Path: n.path(), Data: n.data, Version: is.stat.Version}}, nil
	}
	// It is of a session that has ended, as far as we know, or somebody else's.
	if by := c.by(n, is); by != e.incarnation && (by == "" || c.place.layout != dubboApp) {
		return nil, fmt.Errorf("%s: %w", n.path(), errTaken)
	}
	return []any{&zk.DeleteRequest{Path: n.path(), Version: is.stat.Version}, create}, nil
}

// multi does all of these, or none.
func multi(ctx context.Context, s *session, ops []any) error {
	answers, err := ask(ctx, func() ([]zk.MultiResponse, error) { return s.conn.Multi(ops...) })
	for _, a := range answers {
		if a.Error != nil {
			return a.Error // the one that failed
		}
	}
	return err
}

// by is the incarnation that a node says; "" is none. A node of a Dubbo application is called by its address: who was there
// before under an agent is no more.
func (c *Client) by(n *node, is found) string {
	service := strings.TrimSuffix(strings.TrimPrefix(n.directory, c.place.root+"/"), "/providers")
	r, err := c.place.read(service, n.name, is.data, is.stat.Czxid)
	if err != nil {
		return ""
	}
	return r.Metadata[registry.Prefix+"incarnation"]
}

// withdraw takes away what an entry was, and reads that it is gone. The entry is locked.
func (c *Client) withdraw(ctx context.Context, s *session, e *entry, n *node) error {
	is, err := s.get(ctx, n.path())
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return nil
	case err != nil:
		return err
	case c.by(n, is) != e.incarnation: // somebody else has come there
		return nil
	}
	if err := do(ctx, func() error { return s.conn.Delete(n.path(), is.stat.Version) }); err != nil {
		return err
	}
	return errStale // until it is read to be gone
}

// parents makes the nodes that a registration stands below. They stay.
func (c *Client) parents(ctx context.Context, s *session, directory string) error {
	for i := 1; i <= len(directory); i++ {
		if i < len(directory) && directory[i] != '/' {
			continue
		}
		path := directory[:i]
		if _, err := s.get(ctx, path); !errors.Is(err, zk.ErrNoNode) {
			if err != nil && !errors.Is(err, zk.ErrNoAuth) {
				return err
			}
			continue // it is there
		}
		err := do(ctx, func() error {
			_, err := s.conn.Create(path, nil, 0, c.place.access())
			return err
		})
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	return nil
}

// access is who may do what with a node of ours.
func (p *place) access() []zk.ACL {
	switch p.acl {
	case "creator":
		return zk.AuthACL(zk.PermAll)
	case "read":
		return append(zk.AuthACL(zk.PermAll), zk.WorldACL(zk.PermRead)...)
	}
	return zk.WorldACL(zk.PermAll)
}
