//go:build integration

package e2e

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// wantEnded waits until the endpoint has noted why a call was over.
func (c *callees) wantEnded(t *testing.T, id string, wants ...error) {
	t.Helper()
	select {
	case got := <-c.note(id).ended:
		for _, want := range wants {
			if errors.Is(got, want) {
				return
			}
		}
		t.Errorf("at the endpoint it ended with %v, want one of %v", got, wants)
	case <-time.After(soon):
		t.Fatalf("the endpoint has not heard of the end after %v", soon)
	}
}

func (l *line) cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	asks, id := asking(ctx, doWait)
	stream := l.open(asks, t)
	exchange(t, stream, 10)
	cancel()
	l.callees.wantEnded(t, id, context.Canceled)
	_, err := stream.Recv()
	wantCode(t, err, codes.Canceled)
}

// lineCut is a client that goes away with its connection.
func (l *line) lineCut(t *testing.T) {
	other := l.callees.dialUp(t, l.door, "calls.camp", l.trusted)
	ctx, id := asking(bounded(t), doWait)
	stream := other.open(ctx, t)
	exchange(t, stream, 10)
	if err := other.conn.Close(); err != nil {
		t.Fatal(err)
	}
	l.callees.wantEnded(t, id, context.Canceled)
}

// deadline of a call is known to both sides, and ends it for both.
func (l *line) deadline(t *testing.T) {
	const patience = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(bounded(t), patience)
	defer cancel()
	asks, id := asking(ctx, doWait)
	_, err := l.UnaryCall(asks, &testgrpc.SimpleRequest{})
	wantCode(t, err, codes.DeadlineExceeded)
	l.callees.wantEnded(t, id, context.DeadlineExceeded, context.Canceled) // by its own clock, or by a reset
	if left := l.callees.note(id).deadline; left <= 0 || left > patience {
		t.Errorf("the endpoint was told that it has %v, want up to %v", left, patience)
	}
}

// ignoredDeadline ends a call although the endpoint goes on; the connection is good for others.
func (l *line) ignoredDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(bounded(t), 300*time.Millisecond)
	defer cancel()
	asks, id := asking(ctx, doIgnore)
	defer close(l.callees.note(id).release) // or else it counts against the streams that the endpoint takes
	_, err := l.UnaryCall(asks, &testgrpc.SimpleRequest{})
	wantCode(t, err, codes.DeadlineExceeded)
	if _, err := l.UnaryCall(bounded(t), &testgrpc.SimpleRequest{}); err != nil {
		t.Error(err)
	}
}

// forgottenDeadline is one that neither client nor endpoint looks at: the gateway ends the call, for both.
func (c *callees) forgottenDeadline(t *testing.T) {
	id := strconv.FormatUint(rand.Uint64(), 16)
	defer close(c.note(id).release)
	const empty = "\x00\x00\x00\x00\x00" // a message of no bytes
	req, err := http.NewRequestWithContext(bounded(t), http.MethodPost, "http://calls.camp/grpc.testing.TestService/UnaryCall", strings.NewReader(empty))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/grpc", "Te": "trailers", "Grpc-Timeout": "300m", callID: id, callDo: doIgnore,
	} {
		req.Header.Set(name, value)
	}
	transport := plainHTTP2()
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	got := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status") // in the one or in the other
	if want := strconv.Itoa(int(codes.DeadlineExceeded)); resp.StatusCode != http.StatusOK || got != want {
		t.Errorf("got %s with grpc-status %q, want 200 with %s", resp.Status, got, want)
	}
	c.wantEnded(t, id, context.DeadlineExceeded, context.Canceled)
}
