package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/store"
)

var _ store.Store = (*Client)(nil)

const (
	shards = 32 // of the ages: what has not changed is not written again
	batch  = 32 // writes in one transaction; etcd takes 128, and a megabyte and a half
)

// kept is what a client remembers of what it wrote, for the one control that writes.
type kept struct {
	mu     sync.Mutex
	ages   map[string]string // by key; nil before it was read
	events uint64            // that were ever added; 0 before it was read
}

func (c *Client) agesKey() string   { return c.place.prefix + "/ages/" }
func (c *Client) eventsKey() string { return c.place.prefix + "/events/" }

// read returns everything below a prefix, without that.
func (c *Client) read(ctx context.Context, what, prefix string) (map[string][]byte, error) {
	f := following{client: c, prefix: prefix}
	err := c.persist(ctx, "read "+what, f.read)
	return f.all, err
}

// Ages returns what KeepAges kept. What cannot be read is not there, and is forgotten with the next KeepAges.
func (c *Client) Ages(ctx context.Context) (map[string]store.Age, error) {
	all, err := c.read(ctx, "ages", c.agesKey())
	if err != nil {
		return nil, err
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.store.ages = map[string]string{}
	ages := map[string]store.Age{}
	for name, data := range all {
		c.store.ages[c.agesKey()+name] = string(data)
		var some map[string]store.Age
		if json.Unmarshal(data, &some) == nil {
			maps.Copy(ages, some)
		}
	}
	return ages, nil
}

// KeepAges keeps these and forgets all others. Of more than store.MaxAges the youngest are kept: the others are warm.
func (c *Client) KeepAges(ctx context.Context, ages map[string]store.Age) error {
	c.store.mu.Lock()
	unread := c.store.ages == nil
	c.store.mu.Unlock()
	if unread {
		if _, err := c.Ages(ctx); err != nil {
			return err
		}
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	wanted, err := c.sharded(ages)
	if err != nil {
		return err
	}
	var writes []clientv3.Op
	for key, value := range wanted {
		if c.store.ages[key] != value {
			writes = append(writes, clientv3.OpPut(key, value))
		}
	}
	for key := range c.store.ages {
		if _, still := wanted[key]; !still {
			writes = append(writes, clientv3.OpDelete(key))
		}
	}
	if err := c.write(ctx, "keep ages", writes); err != nil {
		c.store.ages = nil // who knows what of it etcd has
		return err
	}
	c.store.ages = wanted
	return nil
}

// sharded returns the values that hold these ages, by key. An incarnation stays in its shard.
func (c *Client) sharded(ages map[string]store.Age) (map[string]string, error) {
	names := slices.SortedFunc(maps.Keys(ages), func(a, b string) int {
		return cmp.Or(cmp.Compare(ages[a].Age, ages[b].Age), cmp.Compare(a, b))
	})
	names = names[:min(len(names), store.MaxAges)]
	all := map[string]map[string]store.Age{}
	for _, name := range names {
		h := fnv.New32a()
		h.Write([]byte(name))
		key := c.agesKey() + strconv.Itoa(int(h.Sum32()%shards))
		if all[key] == nil {
			all[key] = map[string]store.Age{}
		}
		all[key][name] = ages[name]
	}
	out := map[string]string{}
	for key, some := range all {
		data, err := json.Marshal(some)
		if err != nil {
			return nil, fmt.Errorf("etcd: keep ages: %w", err)
		}
		out[key] = string(data)
	}
	return out, nil
}

// write does these, some at a time, so that no request to etcd is too large.
func (c *Client) write(ctx context.Context, what string, writes []clientv3.Op) error {
	const most = 1 << 20
	for len(writes) > 0 {
		n, size := 0, 0
		for n < len(writes) && n < batch && (n == 0 || size+len(writes[n].ValueBytes()) < most) {
			size += len(writes[n].ValueBytes())
			n++
		}
		if err := c.persist(ctx, what, func(ctx context.Context, etcd *clientv3.Client) error {
			_, err := etcd.Txn(ctx).Then(writes[:n]...).Commit()
			return err
		}); err != nil {
			return err
		}
		writes = writes[n:]
	}
	return nil
}

// A numbered is an event in the ring.
type numbered struct {
	Number uint64      `json:"number"` // counted from 1
	Event  fleet.Event `json:"event"`
}

// Events returns the newest events, oldest first.
func (c *Client) Events(ctx context.Context) ([]fleet.Event, error) {
	ring, err := c.ring(ctx)
	if err != nil {
		return nil, err
	}
	events := make([]fleet.Event, len(ring))
	for i, n := range ring {
		events[i] = n.Event
	}
	return events, nil
}

func (c *Client) ring(ctx context.Context) ([]numbered, error) {
	all, err := c.read(ctx, "events", c.eventsKey())
	if err != nil {
		return nil, err
	}
	ring := make([]numbered, 0, len(all))
	for _, data := range all {
		var n numbered
		if json.Unmarshal(data, &n) == nil {
			ring = append(ring, n)
		}
	}
	slices.SortFunc(ring, func(a, b numbered) int { return cmp.Compare(a.Number, b.Number) })
	return ring, nil
}

// AddEvents adds events in place of the oldest: there are store.MaxEvents places.
func (c *Client) AddEvents(ctx context.Context, events []fleet.Event) error {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if c.store.events == 0 {
		ring, err := c.ring(ctx)
		if err != nil {
			return err
		}
		if len(ring) > 0 {
			c.store.events = ring[len(ring)-1].Number
		}
	}
	number := c.store.events
	var writes []clientv3.Op
	for _, e := range events[max(0, len(events)-store.MaxEvents):] {
		number++
		data, err := json.Marshal(numbered{number, e})
		if err != nil {
			return fmt.Errorf("etcd: add events: %w", err)
		}
		writes = append(writes, clientv3.OpPut(fmt.Sprintf("%s%03d", c.eventsKey(), number%store.MaxEvents), string(data)))
	}
	if err := c.write(ctx, "add events", writes); err != nil {
		return err
	}
	c.store.events = number
	return nil
}

// lifecycleKey is where the Lifecycle called NAMESPACE/NAME is.
func (c *Client) lifecycleKey(name string) string { return c.place.prefix + "/lifecycles/" + name }

// Lifecycles follows the documents that people have put there, by NAMESPACE/NAME, until ctx ends; then it returns nil.
// While etcd is away the last ones hold.
func (c *Client) Lifecycles(ctx context.Context, apply func(map[string]string)) error {
	return c.follow(ctx, c.lifecycleKey(""), func(all map[string][]byte) { apply(documents(all)) }, func(error) {})
}

// PutLifecycle puts a document there, in place of the one with that name.
func (c *Client) PutLifecycle(ctx context.Context, namespace, name, document string) error {
	key := c.lifecycleKey(namespace + "/" + name)
	return c.persist(ctx, "put lifecycle "+namespace+"/"+name, func(ctx context.Context, etcd *clientv3.Client) error {
		_, err := etcd.Put(ctx, key, document)
		return err
	})
}

// DeleteLifecycle takes a document away, and says whether it was there.
func (c *Client) DeleteLifecycle(ctx context.Context, namespace, name string) (bool, error) {
	key, was := c.lifecycleKey(namespace+"/"+name), false
	err := c.persist(ctx, "delete lifecycle "+namespace+"/"+name, func(ctx context.Context, etcd *clientv3.Client) error {
		gone, err := etcd.Delete(ctx, key)
		was = was || err == nil && gone.Deleted > 0
		return err
	})
	return was, err
}

// SwapLifecycle puts a document there, or takes it away where next is nil, if what is there is was: nil for none. It says whether it
// is so now.
func (c *Client) SwapLifecycle(ctx context.Context, namespace, name string, was, next *string) (bool, error) {
	key, is := c.lifecycleKey(namespace+"/"+name), false
	still, do := clientv3.Compare(clientv3.CreateRevision(key), "=", 0), clientv3.OpDelete(key)
	if was != nil {
		still = clientv3.Compare(clientv3.Value(key), "=", *was)
	}
	if next != nil {
		do = clientv3.OpPut(key, *next)
	}
	err := c.persist(ctx, "change lifecycle "+namespace+"/"+name, func(ctx context.Context, etcd *clientv3.Client) error {
		answer, err := etcd.Txn(ctx).If(still).Then(do).Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			return err
		}
		if is = answer.Succeeded; !is { // an answer may have been lost, and this be asked again
			there := answer.Responses[0].GetResponseRange().Kvs
			is = next == nil && len(there) == 0 || next != nil && len(there) == 1 && string(there[0].Value) == *next
		}
		return nil
	})
	return is && err == nil, err
}

// ListLifecycles returns the documents that are there now, by NAMESPACE/NAME.
func (c *Client) ListLifecycles(ctx context.Context) (map[string]string, error) {
	all, err := c.read(ctx, "lifecycles", c.lifecycleKey(""))
	return documents(all), err
}

func documents(all map[string][]byte) map[string]string {
	texts := make(map[string]string, len(all))
	for name, data := range all {
		texts[name] = string(data)
	}
	return texts
}
