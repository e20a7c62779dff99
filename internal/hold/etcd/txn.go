package etcd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/hold"
)

var (
	errNotTaken = errors.New("the condition of its transaction does not hold")
	errNested   = status.Error(codes.Unimplemented, "the registration proxy does not take registrations in a transaction within a transaction")
)

// txn serves KV.Txn.
func (p *Proxy) txn(ctx context.Context, in frame) (*reply, error) {
	var txn pb.TxnRequest
	if err := in.decode(&txn); err != nil {
		return nil, unreadable(err)
	}
	concerns, nested := p.concerned(&txn, 0)
	switch {
	case nested:
		p.gate.Note("hold.refused", "a transaction within a transaction below "+p.prefix+" in "+p.name+"; the registration proxy does not take it")
		return nil, errNested
	case !concerns:
		return p.pass(ctx, pb.KV_Txn_FullMethodName, in)
	}
	r, out, err := p.transact(ctx, &txn)
	if err != nil {
		return r, err
	}
	return r.with(out)
}

// concerned says whether a transaction registers, deletes or asks for registrations, and whether one within it does.
func (p *Proxy) concerned(txn *pb.TxnRequest, depth int) (concerns, nested bool) {
	for _, c := range txn.Compare {
		concerns = concerns || len(p.all(c.Key, c.RangeEnd, missing)) > 0
	}
	for _, op := range slices.Concat(txn.Success, txn.Failure) {
		switch {
		case op.GetRequestPut() != nil:
			concerns = concerns || p.registers(op.GetRequestPut())
		case op.GetRequestDeleteRange() != nil:
			del := op.GetRequestDeleteRange()
			concerns = concerns || len(p.all(del.Key, del.RangeEnd, every)) > 0
		case op.GetRequestRange() != nil:
			question := op.GetRequestRange()
			concerns = concerns || len(p.all(question.Key, question.RangeEnd, missing)) > 0
		case op.GetRequestTxn() != nil:
			inner, deeper := p.concerned(op.GetRequestTxn(), depth+1)
			nested = nested || inner || deeper
		}
	}
	return concerns, nested
}

// A move is a transaction on its way.
type move struct {
	proxy *Proxy
	holds bool                             // what it asks of what is held holds
	only  []*pb.Compare                    // what it asks of etcd
	puts  map[*pb.PutRequest]*registration // its registrations
	asked map[*registration]bool           // those of them that the gate has been asked about
	pass  map[*registration]*pb.RequestOp  // those of these that etcd gets, as it gets them
}

// transact does a transaction that has to do with registrations. What etcd does not get of it is answered as if it had.
func (p *Proxy) transact(ctx context.Context, in *pb.TxnRequest) (*reply, *pb.TxnResponse, error) {
	var r *reply
	var out *pb.TxnResponse
	err := p.alone(ctx, func(ctx context.Context) error {
		m := &move{proxy: p, holds: true, puts: map[*pb.PutRequest]*registration{}, asked: map[*registration]bool{}, pass: map[*registration]*pb.RequestOp{}}
		var err error
		r, out, err = m.do(ctx, in)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return r, out, nil
}

func (m *move) do(ctx context.Context, in *pb.TxnRequest) (*reply, *pb.TxnResponse, error) {
	for _, c := range in.Compare {
		if r := m.proxy.find(c.Key); r != nil && !r.has && len(c.RangeEnd) == 0 {
			m.holds = m.holds && fulfils(r.kv(), c)
		} else {
			m.only = append(m.only, c)
		}
	}
	for _, op := range slices.Concat(in.Success, in.Failure) {
		if put := op.GetRequestPut(); put != nil && m.proxy.registers(put) {
			m.admit(ctx, put)
		}
	}
	if err := m.leases(ctx); err != nil {
		m.settle(nil, 0, err)
		return nil, nil, err
	}
	sent := &pb.TxnRequest{Compare: m.only, Success: m.strip(in.Success), Failure: m.strip(in.Failure)}
	if !m.holds {
		sent = &pb.TxnRequest{Success: sent.Failure}
	}
	question, err := encode(sent)
	if err != nil {
		return nil, nil, status.Error(codes.Internal, err.Error())
	}
	var out pb.TxnResponse
	r, err := m.proxy.answer(ctx, pb.KV_Txn_FullMethodName, question, &out)
	if err != nil {
		m.settle(nil, 0, err)
		return r, nil, err
	}
	out.Succeeded = out.Succeeded && m.holds
	taken := in.Failure
	if out.Succeeded {
		taken = in.Success
	}
	m.settle(taken, out.Header.GetRevision(), nil)
	err = m.merge(ctx, taken, &out)
	return r, &out, err
}

// admit makes a registration of a put, and asks the gate where it may go to etcd at once.
func (m *move) admit(ctx context.Context, put *pb.PutRequest) {
	p := m.proxy
	r := &registration{proxy: p, key: put.Key, value: put.Value, lease: put.Lease, only: m.only, who: outgoing(ctx), version: 1}
	if old := p.find(put.Key); old != nil {
		if put.IgnoreValue {
			r.value = old.value
		}
		if put.IgnoreLease {
			r.lease = old.lease
		}
		r.created, r.version = old.created, old.version+1
	}
	m.puts[put] = r
	if p.gate.State(r.of()) != hold.Released {
		return
	}
	m.asked[r] = true
	if verdict, mark := p.gate.Register(r.of(), r); verdict == hold.Pass {
		m.pass[r] = putOp(&pb.PutRequest{Key: r.key, Value: marked(r.value, mark), Lease: r.lease, PrevKv: put.PrevKv})
	}
}

// leases asks etcd for those of registrations that it does not get: it would refuse those that it does not know.
func (m *move) leases(ctx context.Context) error {
	asked := map[int64]bool{0: true}
	for _, r := range m.puts {
		if m.pass[r] != nil || asked[r.lease] {
			continue
		}
		asked[r.lease] = true
		var answer pb.LeaseTimeToLiveResponse
		if err := m.proxy.ask(ctx, pb.Lease_LeaseTimeToLive_FullMethodName, &pb.LeaseTimeToLiveRequest{ID: r.lease}, &answer); err != nil {
			return err
		}
		if answer.TTL <= 0 {
			return rpctypes.ErrGRPCLeaseNotFound
		}
	}
	return nil
}

// strip is what etcd gets of a branch.
func (m *move) strip(ops []*pb.RequestOp) []*pb.RequestOp {
	var list []*pb.RequestOp
	for _, op := range ops {
		r := m.puts[op.GetRequestPut()]
		switch {
		case r == nil:
			list = append(list, op)
		case m.pass[r] != nil:
			list = append(list, m.pass[r])
		}
	}
	return list
}

// settle tells the gate what became of what etcd got: of the branch that was taken, at a revision, or that nothing was.
func (m *move) settle(taken []*pb.RequestOp, revision int64, err error) {
	for put, r := range m.puts {
		done := slices.ContainsFunc(taken, func(op *pb.RequestOp) bool { return op.GetRequestPut() == put })
		switch {
		case m.pass[r] == nil:
			if m.asked[r] && !done {
				m.undo(r)
			}
		case err != nil:
			m.proxy.gate.Settle(r.of(), r, away(err))
		case !done:
			m.proxy.gate.Settle(r.of(), r, errNotTaken)
		default:
			m.keep(r, true, revision)
			m.proxy.gate.Settle(r.of(), r, nil)
		}
	}
}

// undo tells the gate that what it has been told is not so.
func (m *move) undo(r *registration) {
	m.proxy.gate.Forget(r.of(), r)
	if old := m.proxy.find(r.key); old != nil {
		m.proxy.gate.Register(old.of(), old) // it is swallowed, like this one
	}
}

// keep notes that the application takes a registration to be made.
func (m *move) keep(r *registration, has bool, revision int64) {
	p := m.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	r.has, r.modified = has, revision
	if r.created == 0 {
		r.created = revision
	}
	p.mine[string(r.key)] = r
}

// merge completes etcd's answer: with what it did not get, and what it does not know.
func (m *move) merge(ctx context.Context, taken []*pb.RequestOp, out *pb.TxnResponse) error {
	rest := out.Responses
	out.Responses = nil
	for _, op := range taken {
		r := m.puts[op.GetRequestPut()]
		if r != nil && m.pass[r] == nil {
			answer, err := m.hold(ctx, op.GetRequestPut(), r, out.Header)
			if err != nil {
				return err
			}
			out.Responses = append(out.Responses, answer)
			continue
		}
		if len(rest) == 0 {
			return status.Error(codes.Internal, "etcd has answered less than it was asked")
		}
		answer := rest[0]
		rest = rest[1:]
		switch {
		case answer.GetResponseRange() != nil:
			question := op.GetRequestRange()
			overlay(question, answer.GetResponseRange(), m.proxy.all(question.GetKey(), question.GetRangeEnd(), missing))
		case answer.GetResponseDeleteRange() != nil:
			m.deleted(op.GetRequestDeleteRange(), answer.GetResponseDeleteRange())
		}
		out.Responses = append(out.Responses, answer)
	}
	return nil
}

// hold answers for etcd. When the gate has been opened meanwhile, etcd gets the registration after all.
func (m *move) hold(ctx context.Context, put *pb.PutRequest, r *registration, header *pb.ResponseHeader) (*pb.ResponseOp, error) {
	p := m.proxy
	answer := &pb.PutResponse{Header: header}
	if old := p.find(r.key); put.PrevKv && old != nil {
		answer.PrevKv = old.kv()
	}
	verdict, mark := hold.Answer, hold.Mark{}
	if !m.asked[r] {
		verdict, mark = p.gate.Register(r.of(), r)
	}
	m.keep(r, false, header.GetRevision())
	if verdict == hold.Pass {
		err := p.ask(ctx, pb.KV_Put_FullMethodName, &pb.PutRequest{Key: r.key, Value: marked(r.value, mark), Lease: r.lease}, &pb.PutResponse{})
		if err == nil {
			r.seen(true)
		}
		p.gate.Settle(r.of(), r, away(err))
		if err != nil {
			return nil, err
		}
	}
	return &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: answer}}, nil
}

// deleted takes in that the application took registrations back.
func (m *move) deleted(del *pb.DeleteRangeRequest, answer *pb.DeleteRangeResponse) {
	p := m.proxy
	for _, r := range p.all(del.GetKey(), del.GetRangeEnd(), every) {
		p.mu.Lock()
		has := r.has
		delete(p.mine, string(r.key))
		p.mu.Unlock()
		there := slices.ContainsFunc(answer.PrevKvs, func(kv *mvccpb.KeyValue) bool { return bytes.Equal(kv.Key, r.key) })
		if !has && !there {
			answer.Deleted++
			if del.PrevKv {
				answer.PrevKvs = append(answer.PrevKvs, r.kv())
			}
		}
		if p.gate.Deregister(r.of()) == hold.Pass {
			p.gate.Gone(r.of())
		}
	}
}

// fulfils says whether a key fulfils a condition.
func fulfils(kv *mvccpb.KeyValue, c *pb.Compare) bool {
	var order int
	switch c.Target {
	case pb.Compare_VERSION:
		order = cmp.Compare(kv.Version, c.GetVersion())
	case pb.Compare_CREATE:
		order = cmp.Compare(kv.CreateRevision, c.GetCreateRevision())
	case pb.Compare_MOD:
		order = cmp.Compare(kv.ModRevision, c.GetModRevision())
	case pb.Compare_VALUE:
		order = bytes.Compare(kv.Value, c.GetValue())
	case pb.Compare_LEASE:
		order = cmp.Compare(kv.Lease, c.GetLease())
	}
	switch c.Result {
	case pb.Compare_EQUAL:
		return order == 0
	case pb.Compare_GREATER:
		return order > 0
	case pb.Compare_LESS:
		return order < 0
	default:
		return order != 0
	}
}
