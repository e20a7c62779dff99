package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"crossfade.dev/internal/fleet"
)

// ErrLost says that control ended the feed or went away.
var ErrLost = errors.New("control is away")

// A Client follows a control in another process.
type Client struct{ conn *grpc.ClientConn }

// Dial returns a client of the control behind the Unix socket at path. It does not connect; Follow and Report
// do. Close it.
func Dial(path string) (*Client, error) {
	conn, err := grpc.NewClient("unix:"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's directory and peer credentials guard it
		grpc.WithDefaultCallOptions(
			grpc.ForceCodec(jsonCodec{}),
			grpc.MaxCallRecvMsgSize(maxMessage),
			grpc.MaxCallSendMsgSize(maxMessage),
		),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithConnectParams(grpc.ConnectParams{ // a control that comes back is found within a second
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("feed at %s: %w", path, err)
	}
	return &Client{conn}, nil
}

// Close ends everything under way.
func (c *Client) Close() error { return c.conn.Close() }

// Follow is Control's. While apply runs nothing is read: control itself skips views that are overtaken before they
// are sent. A view that comes alone is applied at once; after it, and after each of many that follow one another,
// Follow rests for as long as makes following cheap; see rest. So a change waits for at most three rests: the one
// that goes on, and one after each of the two views that control had written before.
func (c *Client) Follow(ctx context.Context, who Hello, apply func(fleet.View)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	desc := followStream()
	stream, err := c.conn.NewStream(ctx, &desc, "/"+service+"/Follow")
	if err != nil {
		return fmt.Errorf("follow: %w: %w", ErrLost, err)
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
			return fmt.Errorf("follow: %w: %w", ErrLost, err)
		}
		if m.Snapshot == nil {
			return fmt.Errorf("follow: %w: it sent no snapshot", ErrLost)
		}
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

// Report is Control's.
func (c *Client) Report(ctx context.Context, r fleet.Report) error {
	if err := c.conn.Invoke(ctx, "/"+service+"/Report", &r, &ack{}); err != nil {
		return fmt.Errorf("report: %w: %w", ErrLost, err)
	}
	return nil
}
