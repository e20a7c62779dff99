package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"crossfade.dev/internal/registry"
)

// errGone says that a watch cannot go on where it was: everything is read again.
var errGone = errors.New("the watch ended")

var _ registry.Source = (*Client)(nil)

// Watch follows the instances, see [registry.Source]. It ends with nil when ctx does.
func (c *Client) Watch(ctx context.Context, apply func(registry.List), away func(error)) error {
	var reader registry.Reader
	return c.follow(ctx, c.instanceKey(""), func(entries map[string][]byte) { apply(reader.List(entries)) }, away)
}

// follow calls apply with all keys below a prefix, without that, at once and after every change.
func (c *Client) follow(ctx context.Context, prefix string, apply func(map[string][]byte), away func(error)) error {
	gone := false
	for ctx.Err() == nil {
		f := following{client: c, prefix: prefix}
		err := c.once(ctx, f.read)
		if err == nil {
			apply(maps.Clone(f.all))
			if gone {
				gone = false
				away(nil)
			}
			err = f.changes(ctx, apply)
		}
		if ctx.Err() == nil && !gone && !errors.Is(err, errGone) {
			gone = true
			away(fmt.Errorf("etcd: follow %s: %w: %w", prefix, registry.ErrAway, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// A following is one watch, from a first reading on.
type following struct {
	client  *Client
	prefix  string
	all     map[string][]byte
	rev     atomic.Int64 // of all, and
	cluster uint64       // of whom
}

func (f *following) read(ctx context.Context, etcd *clientv3.Client) error {
	got, err := etcd.Get(ctx, f.prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	f.rev.Store(got.Header.Revision)
	f.cluster, f.all = got.Header.ClusterId, make(map[string][]byte, len(got.Kvs))
	for _, kv := range got.Kvs {
		f.all[strings.TrimPrefix(string(kv.Key), f.prefix)] = kv.Value
	}
	return nil
}

// changes applies what changes until ctx ends or etcd is away. It fails with errGone when everything is to be read again.
// A watch does not say that etcd is away, but waits: therefore etcd is asked, beside it.
func (f *following) changes(ctx context.Context, apply func(map[string][]byte)) error {
	etcd, err := f.client.connected(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer stop()
	asked := make(chan error, 1)
	go func() { asked <- f.ask(ctx) }()
	news := etcd.Watch(ctx, f.prefix, clientv3.WithPrefix(), clientv3.WithRev(f.rev.Load()+1))
	for {
		select {
		case err := <-asked:
			return err
		case w, more := <-news:
			if !more || w.CompactRevision > 0 {
				return errGone
			}
			if err := w.Err(); err != nil {
				return err
			}
			f.take(w)
			for more := true; more; { // all that has come meanwhile, at once
				select {
				case w, open := <-news:
					if open && w.Err() == nil {
						f.take(w)
						continue
					}
					return errGone
				default:
					more = false
				}
			}
			apply(maps.Clone(f.all))
		}
	}
}

func (f *following) take(w clientv3.WatchResponse) {
	f.rev.Store(w.Header.Revision)
	for _, e := range w.Events {
		key := strings.TrimPrefix(string(e.Kv.Key), f.prefix)
		if e.Type == clientv3.EventTypeDelete {
			delete(f.all, key)
		} else {
			f.all[key] = e.Kv.Value
		}
	}
}

// ask asks etcd now and then, until it does not answer or is another one, or one that has forgotten what the watch goes by.
func (f *following) ask(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return errGone
		case <-time.After(askEvery):
		}
		seen := f.rev.Load()
		err := f.client.once(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
			got, err := etcd.Get(ctx, f.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err == nil && (got.Header.ClusterId != f.cluster || got.Header.Revision < seen) {
				err = errGone
			}
			return err
		})
		if err != nil {
			return err
		}
	}
}
