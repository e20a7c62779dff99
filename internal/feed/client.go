package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/fleet"
)

var (
	// ErrLost says that control ended the feed or went away.
	ErrLost = errors.New("control is away")
	// ErrRefused says that control does not let the client do that, now or later.
	ErrRefused = errors.New("control refused")
)

// lost is what an error of gRPC means.
func lost(err error) error {
	if status.Code(err) == codes.PermissionDenied {
		return fmt.Errorf("%w: %s", ErrRefused, status.Convert(err).Message())
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// A Client follows a control in another process.
type Client struct {
	// Log is told why control cannot be followed where waiting mends nothing: it refuses, or one end does not believe the
	// other's certificate. Each reason once, until a view has come. Set before the client is used; nil is silent.
	Log *slog.Logger

	conn *grpc.ClientConn
	told atomic.Pointer[string] // the last reason
}

// tell puts the reason of an end of Follow into the log, if it is one that somebody has to do something about.
func (c *Client) tell(ctx context.Context, err error) {
	const ofTLS = "tls: " // gRPC keeps of an error under it no more than its text
	if c.Log == nil || !errors.Is(err, ErrRefused) && !strings.Contains(err.Error(), ofTLS) {
		return
	}
	reason := err.Error()
	if last := c.told.Swap(&reason); last == nil || *last != reason {
		c.Log.ErrorContext(ctx, "control cannot be followed", "err", err)
	}
}

// Dial returns a client of the control behind the Unix socket at path. It does not connect; Follow and Report
// do. Close it.
func Dial(path string) (*Client, error) {
	return connect("unix:"+path, answerLocal, grpc.WithTransportCredentials(insecure.NewCredentials())) // the socket's directory and peer credentials guard it
}

// connect returns a client of a control that is given up when it does not answer for so long.
func connect(target string, answer time.Duration, options ...grpc.DialOption) (*Client, error) {
	options = append([]grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.ForceCodec(jsonCodec{}),
			grpc.MaxCallRecvMsgSize(maxMessage),
			grpc.MaxCallSendMsgSize(maxMessage),
		),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: alive, Timeout: answer}),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithConnectParams(grpc.ConnectParams{ // a control that comes back is found within a second
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
	}, options...)
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("feed at %s: %w", target, err)
	}
	return &Client{conn: conn}, nil
}

// Close ends everything under way.
func (c *Client) Close() error { return c.conn.Close() }

// Follow is Control's; its error wraps ErrLost or ErrRefused, unless ctx ended. While apply runs nothing is read: control
// itself skips views that are overtaken before they are sent. A view that comes alone is applied at once; after it, and
// after each of many that follow one another, Follow rests for as long as makes following cheap; see rest. So a change
// waits for at most three rests: the one that goes on, and one after each of the two views that control had written before.
func (c *Client) Follow(ctx context.Context, who Hello, apply func(fleet.View)) error {
	err := c.follow(ctx, who, apply)
	if err != nil && ctx.Err() == nil {
		c.tell(ctx, err)
	}
	return err
}

func (c *Client) follow(ctx context.Context, who Hello, apply func(fleet.View)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	desc := followStream()
	stream, err := c.conn.NewStream(ctx, &desc, "/"+service+"/Follow")
	if err != nil {
		return fmt.Errorf("follow: %w", lost(err))
	}
	if err := errors.Join(stream.SendMsg(&who), stream.CloseSend()); err != nil {
		return fmt.Errorf("follow: %w: %w", ErrLost, err)
	}
	for {
		var m viewMessage
		err := stream.RecvMsg(&m)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return fmt.Errorf("follow: %w", ErrLost)
		case err != nil:
			return fmt.Errorf("follow: %w", lost(err))
		}
		if m.Snapshot == nil {
			return fmt.Errorf("follow: %w: it sent no snapshot", ErrLost)
		}
		c.told.Store(nil)
		began := time.Now()
		apply(fleet.View{Snapshot: m.Snapshot, Taken: began.Add(-m.Elapsed)})
		select {
		case <-time.After(rest(m.took + time.Since(began))):
		case <-ctx.Done():
		}
	}
}

// rest says how long nothing is read after a view that took so long to decode and apply: following so takes a
// twentieth of one processor, however often the world changes. A rest lasts a second at most, so that nobody
// waits for long; views that take longer than 50 ms cost more than a twentieth.
func rest(took time.Duration) time.Duration { return min(19*took, time.Second) }

// Report is Control's; its error wraps ErrLost or ErrRefused.
func (c *Client) Report(ctx context.Context, r fleet.Report) error {
	if err := c.conn.Invoke(ctx, "/"+service+"/Report", &r, &ack{}); err != nil {
		return fmt.Errorf("report: %w", lost(err))
	}
	return nil
}
