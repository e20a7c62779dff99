package etcd

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/metadata"
)

// put serves KV.Put: a registration is a transaction of one.
func (p *Proxy) put(ctx context.Context, in frame) (*reply, error) {
	var put pb.PutRequest
	if err := in.decode(&put); err != nil {
		return nil, unreadable(err)
	}
	if !p.registers(&put) {
		return p.pass(ctx, pb.KV_Put_FullMethodName, in)
	}
	r, out, err := p.transact(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{putOp(&put)}})
	if err != nil {
		return r, err
	}
	answer := out.Responses[0].GetResponsePut()
	answer.Header = out.Header
	return r.with(answer)
}

// registers says whether a put is a registration.
func (p *Proxy) registers(put *pb.PutRequest) bool {
	if !bytes.HasPrefix(put.Key, []byte(p.prefix)) {
		return false
	}
	return put.Lease != 0 || p.find(put.Key) != nil
}

// find is what the application takes to be registered with a key.
func (p *Proxy) find(key []byte) *registration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mine[string(key)]
}

// all are the registrations in a range, in the order of their keys: those that etcd has, or those that it has not.
func (p *Proxy) all(begin, end []byte, wanted func(*registration) bool) []*registration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*registration
	for _, r := range p.mine {
		if within(r.key, begin, end) && wanted(r) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *registration) int { return bytes.Compare(a.key, b.key) })
	return list
}

func every(*registration) bool     { return true }
func missing(r *registration) bool { return !r.has } // guarded by the proxy's mu, which all holds

// deleteRange serves KV.DeleteRange: of registrations it is a transaction of one.
func (p *Proxy) deleteRange(ctx context.Context, in frame) (*reply, error) {
	var del pb.DeleteRangeRequest
	if err := in.decode(&del); err != nil {
		return nil, unreadable(err)
	}
	if len(p.all(del.Key, del.RangeEnd, every)) == 0 {
		return p.pass(ctx, pb.KV_DeleteRange_FullMethodName, in)
	}
	op := &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &del}}
	r, out, err := p.transact(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{op}})
	if err != nil {
		return r, err
	}
	answer := out.Responses[0].GetResponseDeleteRange()
	answer.Header = out.Header
	return r.with(answer)
}

// read serves KV.Range: what is held is shown to whoever registered it.
func (p *Proxy) read(ctx context.Context, in frame) (*reply, error) {
	var question pb.RangeRequest
	if err := in.decode(&question); err != nil {
		return nil, unreadable(err)
	}
	held := p.all(question.Key, question.RangeEnd, missing)
	if len(held) == 0 {
		return p.pass(ctx, pb.KV_Range_FullMethodName, in)
	}
	var answer pb.RangeResponse
	r, err := p.answer(ctx, pb.KV_Range_FullMethodName, in, &answer)
	if err != nil {
		return r, err
	}
	overlay(&question, &answer, held)
	return r.with(&answer)
}

// overlay adds registrations to what etcd has answered. It leaves questions about the past as they are.
func overlay(question *pb.RangeRequest, answer *pb.RangeResponse, held []*registration) {
	if question.Revision > 0 || question.MinModRevision+question.MaxModRevision+question.MinCreateRevision+question.MaxCreateRevision > 0 {
		return
	}
	for _, r := range held {
		if slices.ContainsFunc(answer.Kvs, func(kv *mvccpb.KeyValue) bool { return bytes.Equal(kv.Key, r.key) }) {
			continue
		}
		answer.Count++
		if question.CountOnly {
			continue
		}
		kv := r.kv()
		if question.KeysOnly {
			kv.Value = nil
		}
		answer.Kvs = append(answer.Kvs, kv)
	}
	slices.SortStableFunc(answer.Kvs, func(a, b *mvccpb.KeyValue) int {
		if question.SortOrder == pb.RangeRequest_DESCEND {
			a, b = b, a
		}
		return compareBy(question.SortTarget, a, b)
	})
	if limit := question.Limit; limit > 0 && int64(len(answer.Kvs)) > limit {
		answer.Kvs, answer.More = answer.Kvs[:limit], true
	}
}

func compareBy(target pb.RangeRequest_SortTarget, a, b *mvccpb.KeyValue) int {
	switch target {
	case pb.RangeRequest_VERSION:
		return cmp.Compare(a.Version, b.Version)
	case pb.RangeRequest_CREATE:
		return cmp.Compare(a.CreateRevision, b.CreateRevision)
	case pb.RangeRequest_MOD:
		return cmp.Compare(a.ModRevision, b.ModRevision)
	case pb.RangeRequest_VALUE:
		return bytes.Compare(a.Value, b.Value)
	default:
		return bytes.Compare(a.Key, b.Key)
	}
}

// outgoing is what a context says of the application.
func outgoing(ctx context.Context) metadata.MD {
	md, _ := metadata.FromOutgoingContext(ctx)
	return tokens(md)
}
