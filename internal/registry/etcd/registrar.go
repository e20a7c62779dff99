package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// errStale says that a key does not hold what was just put there: somebody else writes to it.
var errStale = errors.New("what is read back is not what was put")

// An entry is one incarnation that this client publishes. It has a lease of its own: to revoke that takes back also
// what is still on its way.
type entry struct {
	key string

	mu    sync.Mutex // held over one attempt at most
	value []byte     // to be published; nil: nothing is
	lease clientv3.LeaseID
}

var _ registry.Registrar = (*Client)(nil)

func (c *Client) instanceKey(incarnation string) string {
	return c.place.prefix + "/instances/" + incarnation
}

// Put publishes an instance, see [registry.Registrar]. One that failed is still to be published: Run goes on trying,
// until Remove.
func (c *Client) Put(ctx context.Context, in fleet.Instance) error {
	value, err := registry.Encode(in)
	if err != nil {
		return err
	}
	c.mu.Lock()
	e := c.entries[in.Incarnation]
	if e == nil {
		e = &entry{key: c.instanceKey(in.Incarnation)}
		c.entries[in.Incarnation] = e
	}
	c.mu.Unlock()
	e.mu.Lock()
	e.value = value
	e.mu.Unlock()
	return c.persist(ctx, "publish "+in.Incarnation, func(ctx context.Context, etcd *clientv3.Client) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		return c.publish(ctx, etcd, e)
	})
}

// publish puts what an entry is to be, if anything, and reads it back. The entry is locked.
func (c *Client) publish(ctx context.Context, etcd *clientv3.Client, e *entry) error {
	if e.value == nil {
		return nil
	}
	if e.lease == clientv3.NoLease {
		lease, err := etcd.Grant(ctx, int64((c.place.ttl+time.Second-1)/time.Second))
		if err != nil {
			return err
		}
		e.lease = lease.ID
	}
	_, err := etcd.Put(ctx, e.key, string(e.value), clientv3.WithLease(e.lease))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		e.lease = clientv3.NoLease
		return fmt.Errorf("its lease ended: %w", errStale)
	}
	if err != nil {
		return err
	}
	there, err := c.has(ctx, etcd, e)
	if err == nil && !there {
		err = errStale
	}
	return err
}

// has reads whether etcd has what an entry is to be.
func (c *Client) has(ctx context.Context, etcd *clientv3.Client, e *entry) (bool, error) {
	got, err := etcd.Get(ctx, e.key)
	if err != nil {
		return false, err
	}
	return len(got.Kvs) == 1 && bytes.Equal(got.Kvs[0].Value, e.value) && got.Kvs[0].Lease == int64(e.lease), nil
}

// Remove takes an incarnation away, see [registry.Registrar]. From when it is called Run does not publish it any more.
func (c *Client) Remove(ctx context.Context, incarnation string) error {
	c.mu.Lock()
	e := c.entries[incarnation]
	delete(c.entries, incarnation)
	c.mu.Unlock()
	if e == nil {
		e = &entry{key: c.instanceKey(incarnation)}
	}
	return c.persist(ctx, "remove "+incarnation, func(ctx context.Context, etcd *clientv3.Client) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.value = nil
		return c.withdraw(ctx, etcd, e)
	})
}

// withdraw takes an entry's lease away, and its key with it, and reads that it is gone. The entry is locked.
func (c *Client) withdraw(ctx context.Context, etcd *clientv3.Client, e *entry) error {
	if e.lease != clientv3.NoLease {
		if _, err := etcd.Revoke(ctx, e.lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
		e.lease = clientv3.NoLease
	}
	got, err := etcd.Get(ctx, e.key)
	if err != nil || len(got.Kvs) == 0 {
		return err
	}
	if _, err := etcd.Delete(ctx, e.key); err != nil { // it had another lease than ours
		return err
	}
	return errStale // until it is read to be gone
}

// Run keeps leases, see [registry.Registrar]: at three times in a lease's time it asks etcd whether it has everything,
// and puts again what it has lost.
func (c *Client) Run(ctx context.Context, told func(error)) error {
	return registry.Keep(ctx, scheme, c.place.ttl, nil, c.keep, told)
}

// keep does for every entry what Run promises, once.
func (c *Client) keep(ctx context.Context) error {
	c.mu.Lock()
	entries := make([]*entry, 0, len(c.entries))
	for _, e := range c.entries {
		entries = append(entries, e)
	}
	c.mu.Unlock()
	var errs []error
	for _, e := range entries {
		errs = append(errs, c.once(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			return c.refresh(ctx, etcd, e)
		}))
	}
	return errors.Join(errs...)
}

// refresh has etcd keep an entry for another lease's time. The entry is locked.
func (c *Client) refresh(ctx context.Context, etcd *clientv3.Client, e *entry) error {
	if e.value == nil {
		return nil
	}
	// This comes first because to keep a lease alive is tried without a pause while etcd cannot be reached.
	there, err := c.has(ctx, etcd, e)
	if err != nil {
		return err
	}
	if there {
		_, err = etcd.KeepAliveOnce(ctx, e.lease)
	}
	if !there || errors.Is(err, rpctypes.ErrLeaseNotFound) {
		err = c.publish(ctx, etcd, e)
		if errors.Is(err, errStale) { // with the next lease
			err = c.publish(ctx, etcd, e)
		}
	}
	return err
}
