package load

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// An Outcome is how one request ended. Every request has exactly one.
type Outcome uint8

// The outcomes. OK and Abandoned are not losses; all others are.
const (
	OK          Outcome = iota // a whole answer with a status below 500
	Refused                    // nobody listened on the address
	Reset                      // the connection was reset before any byte of the answer
	EOF                        // the connection was closed before any byte of the answer
	Cut                        // the connection was closed or reset within the answer
	Timeout                    // no connection, or no whole answer, in time
	ServerError                // a whole answer with a status of 500 or above
	GRPCError                  // a whole answer to a call, with a status other than OK
	Rejected                   // the server reset the stream with REFUSED_STREAM: it did nothing, a client may retry
	Unprocessed                // the stream came after the last one that the server's GOAWAY took: likewise
	StreamReset                // the server reset the stream with another code, before or within the answer
	Other                      // not HTTP, not gRPC where that was asked for, or an error of this machine; the report lists what was seen
	Abandoned                  // still in flight when the run was interrupted
)

var outcomeNames = [...]string{"ok", "refused", "reset", "eof", "cut", "timeout", "5xx", "grpc", "rejected", "unprocessed", "stream_reset", "other", "abandoned"}

func (o Outcome) String() string { return outcomeNames[o] }

// Lost says whether the client saw the request fail.
func (o Outcome) Lost() bool { return o != OK && o != Abandoned }

// Retryable says whether the server is known not to have acted on the request (RFC 9113, 8.7): clients that send
// it once more do no harm. This one does not.
func (o Outcome) Retryable() bool { return o == Refused || o == Rejected || o == Unprocessed }

// known says whether requests of a protocol can end like that.
func (o Outcome) known(p Protocol) bool {
	switch o {
	case GRPCError:
		return p == GRPC
	case Rejected, Unprocessed, StreamReset:
		return p != HTTP1
	default:
		return true
	}
}

// Losses counts lost requests by kind.
type Losses struct {
	Refused     uint64 `json:"refused"`
	Reset       uint64 `json:"reset"`
	EOF         uint64 `json:"eof"`
	Cut         uint64 `json:"cut"`
	Timeout     uint64 `json:"timeout"`
	ServerError uint64 `json:"5xx"`
	GRPCError   uint64 `json:"grpc"`
	Rejected    uint64 `json:"rejected"`
	Unprocessed uint64 `json:"unprocessed"`
	StreamReset uint64 `json:"stream_reset"`
	Other       uint64 `json:"other"`
}

// of returns the count of one kind; o must be a loss.
func (l *Losses) of(o Outcome) *uint64 {
	return [...]*uint64{
		nil, &l.Refused, &l.Reset, &l.EOF, &l.Cut, &l.Timeout, &l.ServerError,
		&l.GRPCError, &l.Rejected, &l.Unprocessed, &l.StreamReset, &l.Other, nil,
	}[o]
}

// Each calls yield with every kind of loss, zero counts included, always in the same order.
func (l *Losses) Each(yield func(kind Outcome, n uint64)) {
	for kind := Refused; kind <= Other; kind++ {
		yield(kind, *l.of(kind))
	}
}

// Total returns the number of requests lost.
func (l *Losses) Total() uint64 {
	var sum uint64
	l.Each(func(_ Outcome, n uint64) { sum += n })
	return sum
}

// classify says which loss an error is; begun means that a byte of the answer had come.
func classify(err error, begun bool) Outcome {
	if ended, ok := errors.AsType[*streamError](err); ok {
		return ended.outcome
	}
	closed, reset := isEnd(err), isReset(err)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return Timeout
	case begun && (closed || reset):
		return Cut
	case closed:
		return EOF
	case reset:
		return Reset
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	default:
		return Other
	}
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// maxDetail bounds the text that a stranger's bytes can put into a report.
const maxDetail = 120

// detail describes an error without the ports in it, so that equal causes read equal.
func detail(err error) string {
	text := err.Error()
	if op, ok := errors.AsType[*net.OpError](err); ok {
		text = op.Op + ": " + op.Err.Error()
	}
	text = strings.ToValidUTF8(text, "?")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}
