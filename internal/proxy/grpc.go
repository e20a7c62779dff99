package proxy

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// A call of gRPC is a request whose answer says in a field, mostly of its trailers, how it went
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Calls may last, and be silent, for as long as
// their two sides like: they have a deadline of their own.

const grpcType = "application/grpc"

// isGRPC says whether a request is a call.
func isGRPC(h *http2.Head) bool {
	kind, _ := http1.Lookup(h.Fields, "Content-Type")
	if string(h.Method) != http.MethodPost || len(kind) < len(grpcType) || !http1.EqualFold(kind[:len(grpcType)], grpcType) {
		return false
	}
	return len(kind) == len(grpcType) || kind[len(grpcType)] == '+' || kind[len(grpcType)] == ';'
}

// callTimeout returns the deadline that a call brings along, 0 for none. One that is malformed is left to the endpoint.
func callTimeout(r *http1.Request) time.Duration {
	const most = 8 // digits
	value, _ := http1.Lookup(r.Fields, "Grpc-Timeout")
	if len(value) < 2 || len(value) > most+1 {
		return 0
	}
	unit := timeoutUnit(value[len(value)-1])
	n, err := strconv.ParseUint(string(value[:len(value)-1]), 10, 32)
	if unit == 0 || err != nil {
		return 0
	}
	if n > uint64(maxCall/unit) {
		return maxCall
	}
	return max(1, time.Duration(n)*unit) //nolint:gosec // below maxCall
}

// timeoutUnit returns what the last letter of a timeout stands for, 0 for nothing.
func timeoutUnit(letter byte) time.Duration {
	switch letter {
	case 'H':
		return time.Hour
	case 'M':
		return time.Minute
	case 'S':
		return time.Second
	case 'm':
		return time.Millisecond
	case 'u':
		return time.Microsecond
	case 'n':
		return time.Nanosecond
	default:
		return 0
	}
}

// maxCall is the longest deadline that makes a difference.
const maxCall = 30 * 24 * time.Hour

// The codes of gRPC that we answer with.
const (
	codeCancelled        = 1
	codeUnknown          = 2
	codeDeadlineExceeded = 4
	codePermissionDenied = 7
	codeExhausted        = 8
	codeUnimplemented    = 12
	codeInternal         = 13
	codeUnavailable      = 14
	codeUnauthenticated  = 16
)

// codeOf is the code for an answer of our own
// (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md, and what grpc's own servers say where a
// deadline passed or a head was too large).
func codeOf(status int) int {
	switch status {
	case http.StatusBadRequest:
		return codeInternal
	case http.StatusUnauthorized:
		return codeUnauthenticated
	case http.StatusForbidden:
		return codePermissionDenied
	case http.StatusNotFound, http.StatusNotImplemented:
		return codeUnimplemented
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return codeDeadlineExceeded
	case http.StatusRequestHeaderFieldsTooLarge:
		return codeExhausted
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusMisdirectedRequest:
		return codeUnavailable
	default:
		return codeUnknown
	}
}

// callStatus returns the status that the endpoint's answer ends a call with. What says so is the stream's, and gone with it.
func (x *exchange) callStatus() int {
	value, ok := http1.Lookup(x.answer.trailers, "Grpc-Status")
	if !ok {
		value, ok = http1.Lookup(x.resp.Fields, "Grpc-Status") // which had no trailers
	}
	status, err := strconv.Atoi(string(value))
	switch {
	case !ok && x.resp.Status != http.StatusOK:
		return codeOf(x.resp.Status)
	case err != nil:
		return codeUnknown
	}
	return status
}

// called counts how a call ended.
func (e *Endpoint) called(status int) {
	for _, t := range e.books {
		t.Called(status)
	}
}

// call is the code of an outcome that is an answer of our own.
func (o *outcome) call() int {
	if o.code != 0 {
		return o.code
	}
	return codeOf(o.status)
}

// callReset is the outcome of a call whose stream the endpoint reset before it answered, and whether it did: a server
// does that at the call's deadline, too, a moment before we would.
func (x *exchange) callReset(err error) (o outcome, did bool) {
	var reset *http2.StreamError
	if !x.grpc || !errors.As(err, &reset) || !reset.Remote || reset.Cause != nil || reset.Unprocessed {
		return outcome{}, false
	}
	if near := x.timeout / 10; reset.Code == http2.Cancel && near > 0 && time.Since(x.start) >= x.timeout-near {
		x.endpoint.timedOut()
		return outcome{verdict: refused, kind: ending.Timeout, status: http.StatusGatewayTimeout, reason: "the endpoint gave up at the call's deadline"}, true
	}
	x.endpoint.cut()
	return outcome{verdict: refused, kind: ending.Reset, status: http.StatusBadGateway, code: codeOfReset(reset.Code), reason: "the endpoint reset the call"}, true
}

// codeOfReset is the code for a reset
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "HTTP2 Transport Mapping", errors).
func codeOfReset(code http2.Code) int {
	switch code {
	case http2.RefusedStream:
		return codeUnavailable
	case http2.Cancel:
		return codeCancelled
	case http2.EnhanceYourCalm:
		return codeExhausted
	case http2.InadequateSecurity:
		return codePermissionDenied
	default:
		return codeInternal
	}
}

// refusal is an answer of our own to a call: a head with all that a call's trailers would say, and nothing else.
func (s *transcript) refusal(o *outcome) *http2.Head {
	s.head = http2.Head{Status: http.StatusOK, Fields: append(s.head.Fields[:0],
		http1.Field{Name: []byte("content-type"), Value: []byte(grpcType)},
		http1.Field{Name: []byte("grpc-status"), Value: strconv.AppendInt(nil, int64(o.call()), 10)},
		http1.Field{Name: []byte("grpc-message"), Value: appendPercent(nil, o.reason)},
	)}
	return &s.head
}

// appendPercent writes a message as grpc-message has it: what is not printable ASCII, and "%", by its bytes.
func appendPercent(dst []byte, message string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(message) {
		if c := message[i]; c < ' ' || c > '~' || c == '%' {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// patience returns how long a side may be silent that usually may for so long: a call's may for as long as a tunnel's.
func (f *feeder) patience(c *Conn, usual time.Duration) time.Duration {
	if f.lasting {
		return max(usual, c.p.o.TunnelTimeout)
	}
	return usual
}
