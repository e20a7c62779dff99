package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
)

// A rig is an application and its proxy before an etcd, as somebody finds them who writes keys by hand.
type rig struct {
	*testing.T
	gate      *hold.Gate
	proxy     *Proxy
	app, etcd *clientv3.Client // through the proxy, and without
	lease     clientv3.LeaseID

	mu   sync.Mutex
	told []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s := newServer(t)
	r := &rig{T: t, proxy: open(t, s, "")}
	r.gate = &hold.Gate{Proxies: []hold.Proxy{r.proxy}, Tell: func(kind, reason string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told = append(r.told, kind+": "+reason)
	}}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.gate.Run(ctx, func(error) {}) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	r.app, r.etcd = newNaming(t, r.proxy.Addr(), 1).etcd, newNaming(t, s.address, 1).etcd
	lease, err := r.app.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	r.lease = lease.ID
	return r
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// puts puts a key with the application's lease.
func (r *rig) puts(key, value string, options ...clientv3.OpOption) *clientv3.PutResponse {
	r.Helper()
	out, err := r.app.Put(r.Context(), key, value, append(options, clientv3.WithLease(r.lease))...)
	r.ok(err)
	return out
}

// wants compares what somebody finds, as "key=value" in the order of the answer.
func (r *rig) wants(c *clientv3.Client, key string, options []clientv3.OpOption, want ...string) *clientv3.GetResponse {
	r.Helper()
	out, err := c.Get(r.Context(), key, options...)
	r.ok(err)
	var got []string
	for _, kv := range out.Kvs {
		got = append(got, string(kv.Key)+"="+string(kv.Value))
	}
	if !slices.Equal(got, want) {
		r.Errorf("%s: found %q, want %q", key, got, want)
	}
	return out
}

func all(options ...clientv3.OpOption) []clientv3.OpOption {
	return append(options, clientv3.WithPrefix())
}

// releases releases what is held, as an agent does: while etcd is away it goes on.
func (r *rig) releases() {
	r.Helper()
	err := registry.ErrAway
	for errors.Is(err, registry.ErrAway) && r.Context().Err() == nil {
		err = r.gate.Put(r.Context(), fleet.Instance{Incarnation: "a-1", Ready: true})
	}
	r.ok(err)
}

func (r *rig) hasTold(part string) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.told, func(told string) bool { return strings.Contains(told, part) }) {
		r.Errorf("told %q, want %q", r.told, part)
	}
}

func TestWhatIsHeldIsReadAsIfItWereThere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.etcd.Put(t.Context(), "/services/b", "theirs")
	r.ok(err)
	r.puts("/services/c", "3")
	first := r.puts("/services/a", "1")
	if first.Header.GetRevision() == 0 || first.Header.GetClusterId() == 0 {
		t.Errorf("the header is %v", first.Header)
	}
	again := r.puts("/services/a", "0", clientv3.WithPrevKV())
	if again.PrevKv == nil || string(again.PrevKv.Value) != "1" || again.PrevKv.Lease != int64(r.lease) {
		t.Errorf("before it there was %v", again.PrevKv)
	}
	r.wants(r.etcd, "/services/", all(), "/services/b=theirs")
	both := r.wants(r.app, "/services/", all(), "/services/a=0", "/services/b=theirs", "/services/c=3")
	if both.Count != 3 || both.Kvs[0].Version != 2 || both.Kvs[0].Lease != int64(r.lease) {
		t.Errorf("found %v", both)
	}
	r.wants(r.app, "/services/a", nil, "/services/a=0")
	r.wants(r.app, "/services/b", []clientv3.OpOption{clientv3.WithFromKey()}, "/services/b=theirs", "/services/c=3")
	r.wants(r.app, "/services/a", []clientv3.OpOption{clientv3.WithRange("/services/c"), clientv3.WithKeysOnly()}, "/services/a=", "/services/b=")
	r.wants(r.app, "/services/", all(clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)), "/services/c=3", "/services/b=theirs", "/services/a=0")
	r.wants(r.app, "/services/", all(clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend)), "/services/a=0", "/services/c=3", "/services/b=theirs")
	if out := r.wants(r.app, "/services/", all(clientv3.WithLimit(2)), "/services/a=0", "/services/b=theirs"); !out.More || out.Count != 3 {
		t.Errorf("of three, two: %v", out)
	}
	if out := r.wants(r.app, "/services/", all(clientv3.WithCountOnly())); out.Count != 3 {
		t.Errorf("counted %d", out.Count)
	}
	r.wants(r.app, "/services/", all(clientv3.WithRev(both.Header.Revision)), "/services/b=theirs") // the past
	deleted, err := r.app.Delete(t.Context(), "/services/c", clientv3.WithPrevKV())
	r.ok(err)
	if deleted.Deleted != 1 || len(deleted.PrevKvs) != 1 || string(deleted.PrevKvs[0].Value) != "3" {
		t.Errorf("deleted %v", deleted)
	}
	r.releases()
	r.wants(r.etcd, "/services/", all(), "/services/a=0", "/services/b=theirs")
	r.wants(r.app, "/services/", all(), "/services/a=0", "/services/b=theirs")
	deleted, err = r.app.Delete(t.Context(), "/services/", clientv3.WithPrefix())
	r.ok(err)
	if deleted.Deleted != 2 {
		t.Errorf("deleted %d", deleted.Deleted)
	}
	r.wants(r.etcd, "/services/", all())
}

func TestWhatIsNoRegistrationIsPassedOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, key := range []string{"/services/plain", "elsewhere"} {
		_, err := r.app.Put(t.Context(), key, "1")
		r.ok(err)
		r.wants(r.etcd, key, nil, key+"=1")
	}
	r.puts("/locks/a", "1") // has a lease, and lies elsewhere
	r.wants(r.etcd, "/locks/a", nil, "/locks/a=1")
	_, err := r.app.Get(t.Context(), "elsewhere", clientv3.WithRev(1<<40))
	if !errors.Is(err, rpctypes.ErrFutureRev) {
		t.Errorf("an error of etcd's is %v", err)
	}
	_, err = r.app.Put(t.Context(), "elsewhere", strings.Repeat("x", 1700<<10))
	if !errors.Is(err, rpctypes.ErrRequestTooLarge) {
		t.Errorf("too much is %v", err)
	}
	members, err := r.app.MemberList(t.Context())
	r.ok(err)
	if got, want := members.Members[0].ClientURLs, "http://"+r.proxy.Addr(); !slices.Equal(got, []string{want}) {
		t.Errorf("members are at %v, want %s", got, want)
	}
}

func TestLeases(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.app.Put(t.Context(), "/services/a", "1", clientv3.WithLease(12345)); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("a lease that is not there: %v", err)
	}
	r.puts("/services/a", "1")
	_, err := r.app.Revoke(t.Context(), r.lease)
	r.ok(err)
	r.wants(r.app, "/services/a", nil)
	if n := r.gate.Count(); n.Held != 0 {
		t.Errorf("counted %+v", n)
	}

	short, err := r.app.Grant(t.Context(), 60)
	r.ok(err)
	r.lease = short.ID
	r.puts("/services/b", "1")
	_, err = r.etcd.Revoke(t.Context(), r.lease) // as if it had run out
	r.ok(err)
	if _, err := r.app.KeepAliveOnce(t.Context(), r.lease); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("KeepAliveOnce = %v", err)
	}
	r.wants(r.app, "/services/b", nil)

	last, err := r.app.Grant(t.Context(), 60)
	r.ok(err)
	r.lease = last.ID
	r.puts("/services/c", "1")
	_, err = r.etcd.Revoke(t.Context(), r.lease)
	r.ok(err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := r.gate.Put(ctx, fleet.Instance{Ready: true}); !errors.Is(err, hold.ErrNothing) { // it is found out
		t.Errorf("Put = %v", err)
	}
	r.wants(r.app, "/services/c", nil)
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	create := func(value string) *clientv3.TxnResponse {
		t.Helper()
		out, err := r.app.Txn(t.Context()).If(clientv3.Compare(clientv3.CreateRevision("/services/a"), "=", 0)).
			Then(clientv3.OpPut("/other", value), clientv3.OpPut("/services/a", value, clientv3.WithLease(r.lease)), clientv3.OpGet("/services/a")).
			Else(clientv3.OpGet("/services/a"), clientv3.OpGet("/other")).Commit()
		r.ok(err)
		return out
	}
	first := create("1")
	if !first.Succeeded || len(first.Responses) != 3 || string(first.Responses[2].GetResponseRange().Kvs[0].Value) != "1" {
		t.Errorf("the first is %v", first)
	}
	r.wants(r.etcd, "/other", nil, "/other=1")
	r.wants(r.etcd, "/services/a", nil)
	second := create("2")
	if second.Succeeded || len(second.Responses) != 2 || string(second.Responses[0].GetResponseRange().Kvs[0].Value) != "1" {
		t.Errorf("the second is %v", second)
	}
	for _, c := range []struct {
		cmp  clientv3.Cmp
		want bool
	}{
		{clientv3.Compare(clientv3.Value("/services/a"), "=", "1"), true},
		{clientv3.Compare(clientv3.Value("/services/a"), "!=", "1"), false},
		{clientv3.Compare(clientv3.Version("/services/a"), "<", 1), false},
		{clientv3.Compare(clientv3.ModRevision("/services/a"), ">", 0), true},
		{clientv3.Compare(clientv3.LeaseValue("/services/a"), "=", r.lease), true},
	} {
		out, err := r.app.Txn(t.Context()).If(c.cmp, clientv3.Compare(clientv3.Value("/other"), "=", "1")).Commit()
		r.ok(err)
		if out.Succeeded != c.want {
			t.Errorf("%v: %v, want %v", c.cmp, out.Succeeded, c.want)
		}
	}
	r.releases()
	r.wants(r.etcd, "/services/a", nil, "/services/a=1")
	if third := create("3"); third.Succeeded {
		t.Errorf("the third is %v", third)
	}
	r.wants(r.etcd, "/services/a", nil, "/services/a=1")
	out, err := r.app.Txn(t.Context()).Then(clientv3.OpDelete("/services/a"), clientv3.OpPut("/services/b", "1", clientv3.WithLease(r.lease))).Commit()
	r.ok(err)
	if n := out.Responses[0].GetResponseDeleteRange().Deleted; n != 1 {
		t.Errorf("deleted %d", n)
	}
	r.wants(r.etcd, "/services/", all(), "/services/b=1")
	r.ok(r.gate.Remove(t.Context(), "a-1"))
	r.wants(r.etcd, "/services/", all())
	r.wants(r.app, "/services/", all(), "/services/b=1")
	out, err = r.app.Txn(t.Context()).If(clientv3.Compare(clientv3.CreateRevision("/services/b"), ">", 0)).Commit()
	r.ok(err)
	if !out.Succeeded {
		t.Error("what was passed on at once, and withdrawn, was never made to the application")
	}
	if out := create("4"); !out.Succeeded {
		t.Errorf("the fourth is %v", out)
	}
	r.wants(r.etcd, "/services/", all())

	nested := clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("/services/a", "1", clientv3.WithLease(r.lease))}, nil)
	if _, err := r.app.Txn(t.Context()).Then(nested).Commit(); status.Code(err) != codes.Unimplemented {
		t.Errorf("a transaction in a transaction: %v", err)
	}
	r.hasTold("hold.refused: a transaction within a transaction")
}

func TestAConditionThatDoesNotHoldAnyMore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out, err := r.app.Txn(t.Context()).If(clientv3.Compare(clientv3.CreateRevision("/services/a"), "=", 0)).
		Then(clientv3.OpPut("/services/a", "ours", clientv3.WithLease(r.lease))).Commit()
	r.ok(err)
	if !out.Succeeded {
		t.Fatal("it did not hold at first")
	}
	_, err = r.etcd.Put(t.Context(), "/services/a", "theirs")
	r.ok(err)
	if err := r.gate.Put(t.Context(), fleet.Instance{Ready: true}); !errors.Is(err, errTaken) || errors.Is(err, registry.ErrAway) {
		t.Errorf("Put = %v", err)
	}
	r.hasTold("hold.refused: /services/a in etcd")
	r.wants(r.etcd, "/services/a", nil, "/services/a=theirs")
	r.ok(r.gate.Remove(t.Context(), "a-1"))
	r.wants(r.etcd, "/services/a", nil, "/services/a=theirs")
}

// TestWhatIsTakenBackOnItsWay: the release waits while the application takes its registration back, and comes too late.
func TestWhatIsTakenBackOnItsWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	events := r.etcd.Watch(t.Context(), "/services/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	r.puts("/services/a", "1")
	r.proxy.turn <- struct{}{} // the application's deletion has it
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.gate.Put(ctx, fleet.Instance{Ready: true}) }()
	key := hold.Key{Registry: r.proxy.Registry(), Name: "/services/a"}
	for r.gate.State(key) != hold.Released {
		<-time.After(time.Millisecond)
	}
	(&move{proxy: r.proxy}).deleted(&pb.DeleteRangeRequest{Key: []byte(key.Name)}, &pb.DeleteRangeResponse{})
	<-r.proxy.turn
	if err := <-done; err == nil {
		t.Error("it is registered")
	}
	r.wants(r.app, "/services/a", nil)
	_, err := r.etcd.Put(t.Context(), "/services/last", "")
	r.ok(err)
	if first := (<-events).Events[0]; string(first.Kv.Key) != "/services/last" { // not even for a moment
		t.Errorf("others saw %v of %s", first.Type, first.Kv.Key)
	}
}

func TestAWatchTellsWhatEtcdHas(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	events := r.app.Watch(ctx, "/services/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	r.puts("/services/a", "1")
	r.releases()
	r.ok(r.gate.Remove(t.Context(), "a-1"))
	var got []string
	for len(got) < 2 {
		for _, e := range (<-events).Events {
			got = append(got, fmt.Sprintf("%v %s", e.Type, e.Kv.Key))
		}
	}
	if want := []string{"PUT /services/a", "DELETE /services/a"}; !slices.Equal(got, want) {
		t.Errorf("it saw %q, want %q", got, want)
	}
}

// TestAnApplicationThatLogsIn: what it shows of itself is shown for it at the release, too.
func TestAnApplicationThatLogsIn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, err := range []error{
		func() error { _, err := r.etcd.UserAdd(t.Context(), "root", "r"); return err }(),
		func() error { _, err := r.etcd.UserGrantRole(t.Context(), "root", "root"); return err }(),
		func() error { _, err := r.etcd.UserAdd(t.Context(), "app", "a"); return err }(),
		func() error { _, err := r.etcd.RoleAdd(t.Context(), "writer"); return err }(),
		func() error {
			_, err := r.etcd.RoleGrantPermission(t.Context(), "writer", "/services/", clientv3.GetPrefixRangeEnd("/services/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		}(),
		func() error { _, err := r.etcd.UserGrantRole(t.Context(), "app", "writer"); return err }(),
		func() error { _, err := r.etcd.AuthEnable(t.Context()); return err }(),
	} {
		r.ok(err)
	}
	if _, err := r.app.Put(t.Context(), "/services/a", "1", clientv3.WithLease(r.lease)); err == nil {
		t.Error("somebody who has not logged in registers")
	}
	app, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + r.proxy.Addr()}, Username: "app", Password: "a"})
	r.ok(err)
	defer app.Close()
	r.app = app
	lease, err := app.Grant(t.Context(), 60)
	r.ok(err)
	r.lease = lease.ID
	r.puts("/services/a", "1")
	r.wants(app, "/services/a", nil, "/services/a=1")
	peer, err := clientv3.New(clientv3.Config{Endpoints: r.etcd.Endpoints(), Username: "root", Password: "r"})
	r.ok(err)
	defer peer.Close()
	_, err = peer.UserChangePassword(t.Context(), "app", "a") // its token ends, as after some time
	r.ok(err)
	r.releases()
	r.wants(peer, "/services/a", nil, "/services/a=1")
	_, err = peer.UserChangePassword(t.Context(), "app", "a")
	r.ok(err)
	r.ok(r.gate.Remove(t.Context(), "a-1"))
	r.wants(peer, "/services/a", nil)
}
