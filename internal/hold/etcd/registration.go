package etcd

import (
	"bytes"
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/hold"
)

var errTaken = errors.New("what the application made a condition of it does not hold any more: somebody else has the key")

// A registration is a key that the application has put with a lease. Whoever writes to it has the proxy's turn; has and
// the revisions are guarded by its mu, too.
type registration struct {
	proxy *Proxy
	key   []byte
	value []byte
	lease int64
	only  []*pb.Compare // conditions of the transaction that it came in
	who   metadata.MD   // the application

	has               bool // etcd has it, when last seen
	created, modified int64
	version           int64
}

func (r *registration) of() hold.Key {
	return hold.Key{Registry: r.proxy.name, Name: string(r.key)}
}

// kv is how etcd would show it.
func (r *registration) kv() *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: r.key, Value: r.value, Lease: r.lease, CreateRevision: r.created, ModRevision: r.modified, Version: r.version}
}

// current says whether it is what the application takes to be registered.
func (r *registration) current() bool {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	return r.proxy.mine[string(r.key)] == r
}

func (r *registration) seen(has bool) {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	r.has = has
}

// Release puts it into etcd, see [hold.Registration]. What came under a condition is put under that, unless it is there.
func (r *registration) Release(ctx context.Context, m hold.Mark) error {
	return r.proxy.alone(ctx, func(ctx context.Context) error {
		if !r.current() {
			return nil
		}
		put := putOp(&pb.PutRequest{Key: r.key, Value: marked(r.value, m), Lease: r.lease})
		in := &pb.TxnRequest{Success: []*pb.RequestOp{put}}
		if len(r.only) > 0 {
			in.Compare = []*pb.Compare{r.ours()}
			in.Failure = []*pb.RequestOp{txnOp(&pb.TxnRequest{Compare: r.only, Success: []*pb.RequestOp{put}})}
		}
		out, err := r.do(ctx, in)
		switch {
		case isLost(err):
			r.proxy.forget(func(o *registration) bool { return o == r })
			return err
		case err != nil:
			return err
		case !out.Succeeded && !out.Responses[0].GetResponseTxn().GetSucceeded():
			return errTaken
		}
		r.seen(true)
		return nil
	})
}

// Withdraw takes it out of etcd, unless the key is somebody else's by now, see [hold.Registration].
func (r *registration) Withdraw(ctx context.Context) error {
	return r.proxy.alone(ctx, func(ctx context.Context) error {
		in := &pb.TxnRequest{
			Compare: []*pb.Compare{r.ours()},
			Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: r.key}}}},
		}
		_, err := r.do(ctx, in)
		if err == nil {
			r.seen(false)
		}
		return err
	})
}

// ours is the condition that the key is there, and has our lease; or is not there, when it had none.
func (r *registration) ours() *pb.Compare {
	return &pb.Compare{Key: r.key, Result: pb.Compare_EQUAL, Target: pb.Compare_LEASE, TargetUnion: &pb.Compare_Lease{Lease: r.lease}}
}

// do does a transaction as the application, and logs in for it when its token has ended.
func (r *registration) do(ctx context.Context, in *pb.TxnRequest) (*pb.TxnResponse, error) {
	var out pb.TxnResponse
	err := r.proxy.ask(metadata.NewOutgoingContext(ctx, r.who), pb.KV_Txn_FullMethodName, in, &out)
	if stale(err) {
		if r.who, err = r.proxy.again(ctx); err == nil {
			err = r.proxy.ask(metadata.NewOutgoingContext(ctx, r.who), pb.KV_Txn_FullMethodName, in, &out)
		}
	}
	if err != nil {
		return nil, away(err)
	}
	return &out, nil
}

// stale says whether etcd does not know a token any more, or knows a newer state of its users.
func stale(err error) bool {
	return status.Code(err) == codes.Unauthenticated || errors.Is(rpctypes.Error(err), rpctypes.ErrAuthOldRevision)
}

// isLost says whether etcd does not know a lease any more.
func isLost(err error) bool {
	return err != nil && status.Code(err) == codes.NotFound && errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound)
}

// forget forgets registrations whose leases have ended.
func (p *Proxy) forget(ended func(*registration) bool) {
	var gone []*registration
	p.mu.Lock()
	for key, r := range p.mine {
		if ended(r) {
			gone = append(gone, r)
			delete(p.mine, key)
		}
	}
	p.mu.Unlock()
	for _, r := range gone {
		p.gate.Forget(r.of(), r)
	}
}

// revoke has etcd end a lease.
func (p *Proxy) revoke(ctx context.Context, in frame) (*reply, error) {
	var lease pb.LeaseRevokeRequest
	if err := in.decode(&lease); err != nil {
		return nil, unreadable(err)
	}
	r, err := p.pass(ctx, pb.Lease_LeaseRevoke_FullMethodName, in)
	if err == nil || isLost(err) {
		p.forget(func(r *registration) bool { return r.lease == lease.ID })
	}
	return r, err
}

// kept takes in what etcd says of a lease: without time to live it has ended.
func (p *Proxy) kept(f frame) {
	var lease pb.LeaseKeepAliveResponse
	if f.decode(&lease) == nil && lease.TTL <= 0 {
		p.forget(func(r *registration) bool { return r.lease == lease.ID })
	}
}

func unreadable(err error) error { return status.Error(codes.InvalidArgument, err.Error()) }

func putOp(put *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}}
}

func txnOp(txn *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: txn}}
}

// within says whether a key lies in a range as etcd writes them: end "" is the key begin alone, "\0" everything from it.
func within(key, begin, end []byte) bool {
	switch {
	case len(end) == 0:
		return bytes.Equal(key, begin)
	case len(end) == 1 && end[0] == 0:
		return bytes.Compare(key, begin) >= 0
	}
	return bytes.Compare(key, begin) >= 0 && bytes.Compare(key, end) < 0
}
