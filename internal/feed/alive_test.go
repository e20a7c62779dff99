package feed

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"crossfade.dev/internal/fleet"
)

// A line joins two ends by pipes, until it is stopped: then, as with a process that has got SIGSTOP, nothing is closed, and
// nothing comes any more.
type line struct {
	accepts chan net.Conn
	closed  chan struct{}
	stopped chan struct{} // closed when nothing passes any more
	once    sync.Once
}

func newLine() *line {
	return &line{accepts: make(chan net.Conn), closed: make(chan struct{}), stopped: make(chan struct{})}
}

func (l *line) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepts:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *line) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *line) Addr() net.Addr { return &net.UnixAddr{Name: "line", Net: "unix"} }

func (l *line) dial(ctx context.Context, _ string) (net.Conn, error) {
	client, near := net.Pipe()
	far, server := net.Pipe()
	select {
	case l.accepts <- server:
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.stopped:
		<-ctx.Done()
		return nil, ctx.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	go l.pass(near, far)
	go l.pass(far, near)
	return client, nil
}

// pass passes on what from says, as long as the line does.
func (l *line) pass(from, to net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		select {
		case <-l.stopped:
			if err == nil { // whoever writes goes on, as the socket's buffer lets it
				_, _ = io.Copy(io.Discard, from)
			}
			return // and does not hear of an end
		default:
		}
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			_ = from.Close()
			return
		}
	}
}

// A host is a control that shows one view, and notes who has gone.
type host struct{ left chan time.Time }

func (h *host) Follow(ctx context.Context, _ Hello, apply func(fleet.View)) error {
	apply(fleet.View{Snapshot: &fleet.Snapshot{Number: 1}, Taken: time.Now()})
	<-ctx.Done()
	h.left <- time.Now()
	return ctx.Err()
}

func (h *host) Report(context.Context, fleet.Report) error { return nil }

// When one end is stopped, and closes nothing, the other notices within some seconds: also on one machine, where that is
// all that can go wrong. Who is only quiet is not given up.
func TestWhoIsStoppedIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h, l := &host{left: make(chan time.Time, 1)}, newLine()
		server := Server{Control: h, Path: "line", Log: slog.New(slog.DiscardHandler)}
		var side sync.WaitGroup
		side.Go(func() { _ = server.serve(ctx, l) })
		client, err := connect("passthrough:///line", answerLocal, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(l.dial))
		if err != nil {
			t.Fatal(err)
		}
		lost := make(chan error, 1)
		met := make(chan struct{})
		side.Go(func() {
			lost <- client.Follow(ctx, Hello{ID: "gateway-1", Role: "gateway"}, func(fleet.View) { close(met) })
		})
		<-met
		time.Sleep(10 * time.Minute)
		select {
		case err := <-lost:
			t.Fatalf("Follow = %v, though nothing has happened", err)
		case <-h.left:
			t.Fatal("control has given up a follower to which nothing has happened")
		default:
		}
		const most = alive + answerLocal + time.Second
		stopped := time.Now()
		close(l.stopped)
		if err := <-lost; !errors.Is(err, ErrLost) {
			t.Errorf("Follow = %v, want that control is away", err)
		}
		if took := time.Since(stopped); took > most {
			t.Errorf("the follower noticed after %v, want %v at most", took, most)
		}
		if took := (<-h.left).Sub(stopped); took > most {
			t.Errorf("control noticed after %v, want %v at most", took, most)
		}
		cancel()
		_, _ = client.Close(), l.Close()
		side.Wait()
	})
}
