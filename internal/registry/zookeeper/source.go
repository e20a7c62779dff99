package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"crossfade.dev/internal/registry"
)

// retryHosts is after what time hosts are looked up again that were not known.
const retryHosts = 10 * time.Second

var (
	errLost  = errors.New("the connection was lost")
	errEnded = errors.New("the watch ended")
)

// Watch follows the instances, see [registry.Source]: those of one service, where the URL names one, or else of all. It ends
// with nil when ctx does.
func (c *Client) Watch(ctx context.Context, apply func(registry.List), away func(error)) error {
	first, gone := true, false
	for ctx.Err() == nil {
		f := &following{client: c, dirty: map[string]bool{}, unknown: map[string]bool{}, bell: make(chan struct{}, 1), up: make(chan struct{}), lost: make(chan struct{})}
		err := f.run(ctx, func(readings map[string]registry.Reading) {
			apply(registry.MakeList(readings, first))
			first = false
			if gone {
				gone = false
				away(nil)
			}
		})
		if ctx.Err() == nil && !gone {
			gone = true
			away(fmt.Errorf("zookeeper: follow %s: %w: %w", c.place.root, registry.ErrAway, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// A following is one session of a watch, from its connection to the loss of that: then nobody can say which changes were
// missed, and everything is read again in the next one.
type following struct {
	client  *Client
	line    line
	session *session

	mu       sync.Mutex
	services map[string]map[string]registry.Reading // by service, and by the name of the node
	dirty    map[string]bool                        // paths that have changed since they were read
	unknown  map[string]bool                        // paths of registrations whose host is not known
	bell     chan struct{}                          // rings when something is dirty
	up, lost chan struct{}                          // closed when the session has begun, and when its connection has ended
}

// hear notes what happens; the session calls it.
func (f *following) hear(e zk.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case e.Type == zk.EventSession && e.State == zk.StateHasSession:
		closed(f.up)
	case e.Type == zk.EventSession && (e.State == zk.StateDisconnected || e.State == zk.StateExpired):
		select {
		case <-f.up:
			closed(f.lost)
			f.line.cut() // it does not go on with another connection
		default: // it has not begun
		}
	case e.Type > 0:
		f.dirty[e.Path] = true
		select {
		case f.bell <- struct{}{}:
		default:
		}
	}
}

// closed closes a channel that may be closed already. The following is locked.
func closed(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// run reads everything, then what changes, and applies it, until ctx ends or the connection is lost.
func (f *following) run(ctx context.Context, apply func(map[string]registry.Reading)) error {
	s, err := f.client.open(ctx, &f.line, f.hear)
	if err != nil {
		return err
	}
	f.session = s
	defer s.conn.Close()
	if err := f.begin(ctx); err != nil {
		s.cut()
		return err
	}
	again := time.NewTicker(retryHosts)
	defer again.Stop()
	for {
		apply(f.readings())
		for changed := false; !changed; {
			select {
			case <-ctx.Done():
				return errEnded
			case <-f.lost:
				return errLost
			case <-f.bell:
				changed, err = f.changes(ctx)
			case <-again.C:
				changed, err = f.again(ctx)
			}
			if err != nil {
				return err
			}
		}
	}
}

// begin waits for the session, and reads everything.
func (f *following) begin(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-f.up:
	case <-bounded.Done():
		return fmt.Errorf("no session: %w", bounded.Err())
	}
	if err := f.session.identify(bounded); err != nil {
		return err
	}
	if err := f.session.sync(bounded); err != nil {
		return err
	}
	f.services = map[string]map[string]registry.Reading{}
	if service := f.client.place.service; service != "" {
		return f.look(ctx, map[string]bool{f.client.place.directory(service): true})
	}
	return f.look(ctx, map[string]bool{f.client.place.root: true})
}

// changes reads what has changed, and says whether that is anything.
func (f *following) changes(ctx context.Context) (bool, error) {
	f.mu.Lock()
	dirty := f.dirty
	f.dirty = map[string]bool{}
	f.mu.Unlock()
	if len(dirty) == 0 {
		return false, nil
	}
	return true, f.look(ctx, dirty)
}

// again looks up those hosts once more that were not known, and says whether any is now. Their nodes are watched already.
func (f *following) again(ctx context.Context) (bool, error) {
	f.mu.Lock()
	unknown := f.unknown
	f.unknown = map[string]bool{}
	f.mu.Unlock()
	changed := false
	for path := range unknown {
		bounded, cancel := context.WithTimeout(ctx, patience)
		is, err := f.session.get(bounded, path)
		cancel()
		if errors.Is(err, zk.ErrNoNode) {
			continue
		}
		if err != nil {
			return false, err
		}
		service, _, _ := strings.Cut(strings.TrimPrefix(path, f.client.place.root+"/"), "/")
		reading := f.read(ctx, path, service, is)
		changed = changed || reading.Err == nil
		f.note(path, service, &reading)
	}
	return changed, nil
}
