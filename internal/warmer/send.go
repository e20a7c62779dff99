package warmer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
)

// The protocols of a fleet.WarmupRequest.
const (
	protocolHTTP  = "http"
	protocolHTTP2 = "http2"
	protocolGRPC  = "grpc"
)

const (
	answerTime = 10 * time.Second       // a request that takes longer has failed
	afterFail  = 100 * time.Millisecond // before the next is sent in the place of one that failed
	mostBody   = 16 << 20               // bytes of an answer that are read
)

// A sender sends the requests of a plan.
type sender struct {
	kinds []*http.Request // without a context and a body
	plan  fleet.WarmupRequests
	bad   []error // of kinds that are no requests
	plain *http.Transport
	h2    *http.Transport
}

func newSender(w *Warmer, plan fleet.WarmupRequests) *sender {
	s := &sender{
		plan: plan, kinds: make([]*http.Request, len(plan.Requests)), bad: make([]error, len(plan.Requests)),
		plain: newTransport(w, plan.Concurrency), h2: newTransport(w, plan.Concurrency),
	}
	s.h2.Protocols = new(http.Protocols)
	s.h2.Protocols.SetUnencryptedHTTP2(true)
	for i := range plan.Requests {
		r := &plan.Requests[i]
		s.kinds[i], s.bad[i] = newRequest(r, w.Address(r.Port).String())
	}
	return s
}

func newTransport(w *Warmer, idle int) *http.Transport {
	dial := w.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &http.Transport{DialContext: dial, DisableCompression: true, MaxIdleConnsPerHost: idle}
}

func (s *sender) close() {
	s.plain.CloseIdleConnections()
	s.h2.CloseIdleConnections()
}

// newRequest returns what of a request is the same each time.
func newRequest(r *fleet.WarmupRequest, address string) (*http.Request, error) {
	method, path := r.Method, r.Path
	if r.Protocol == protocolGRPC {
		method, path = http.MethodPost, "/"+r.Method
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Host = "http", address
	req := &http.Request{Method: method, URL: u, Host: r.Host, Header: http.Header{}, ContentLength: int64(len(r.Body))}
	req.Header.Set("User-Agent", "crossfade-warmup")
	for _, h := range r.Headers {
		req.Header.Add(h.Name, h.Value)
	}
	if r.Protocol == protocolGRPC {
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		req.ContentLength += 5
	}
	req.Header.Set(Marker, "1")
	return req, nil
}

// send sends one request and waits for the whole of its answer. After a failure it waits a little more: who cannot
// answer is not helped by being asked faster.
func (s *sender) send(ctx context.Context, kind int) outcome {
	o := outcome{kind: kind}
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	o.cause = s.try(bounded, kind)
	o.took = time.Since(began)
	o.cut = o.cause != "" && ctx.Err() != nil
	if o.cause != "" {
		select {
		case <-time.After(afterFail):
		case <-ctx.Done():
		}
	}
	return o
}

// try returns why a request failed, "" if it did not.
func (s *sender) try(ctx context.Context, kind int) string {
	if s.bad[kind] != nil {
		return s.bad[kind].Error()
	}
	r := &s.plan.Requests[kind]
	req := s.kinds[kind].Clone(ctx)
	if body := r.Body; req.ContentLength > 0 {
		if r.Protocol == protocolGRPC {
			body = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...) //nolint:gosec // config bounds bodies
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	transport := s.plain
	if r.Protocol != protocolHTTP {
		transport = s.h2
	}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return short(err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, mostBody))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return short(err)
	}
	if r.Protocol == protocolGRPC {
		return judgeCall(answer)
	}
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Sprintf("HTTP %d", answer.StatusCode)
	}
	return ""
}

// judgeCall reads the status of a call where gRPC puts it: after the body, or in the head of an answer that has none.
func judgeCall(answer *http.Response) string {
	status := answer.Trailer.Get("Grpc-Status")
	if status == "" {
		status = answer.Header.Get("Grpc-Status")
	}
	switch code, err := strconv.Atoi(status); {
	case status == "":
		return fmt.Sprintf("HTTP %d without a status of gRPC", answer.StatusCode)
	case err != nil || evidence.CallName(code) == "":
		return "a status that gRPC does not have"
	case code != 0:
		return "gRPC " + evidence.CallName(code)
	}
	return ""
}

// short is the cause without the addresses around it.
func short(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
