package feed

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/pace"
)

// Every arrow is a whole value, so what a change costs grows with the fleet. To read a snapshot and go by it costs
// a follower about three times what it costs to write it (docs/decisions/0021), so snapshots go down at most every
// sixty times what writing one costs: a twentieth of a processor for each follower, less for control. What is new
// in the meantime goes down with the next, at most slowest later. A fleet whose snapshot is written within a
// millisecond, of some hundred endpoints, is told of every change at once.
const (
	sixtyfold = 60
	slowest   = 4 * time.Second
)

// An encoder writes snapshots, each once for all followers.
type encoder struct {
	mu       sync.Mutex // guards the following
	pace     pace.Pace
	snapshot *fleet.Snapshot // that was written last
	text     []byte
}

func newEncoder() *encoder {
	return &encoder{pace: pace.Pace{Factor: sixtyfold, Most: slowest, Free: time.Millisecond}}
}

// encode returns the snapshot as JSON, for nobody to write to.
func (e *encoder) encode(s *fleet.Snapshot) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.snapshot == s {
		return e.text, nil
	}
	began := time.Now()
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	e.pace.Spent(began, time.Now())
	e.snapshot, e.text = s, text
	return text, nil
}

// rest waits until the next snapshot may be written. All followers wait for the same moment, so that they share it.
func (e *encoder) rest(ctx context.Context) {
	e.mu.Lock()
	wait := e.pace.Wait(time.Now())
	e.mu.Unlock()
	if wait <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// A written view is a viewMessage whose snapshot is written already.
type written struct {
	snapshot []byte
	elapsed  time.Duration
}

// MarshalJSON writes what a viewMessage is read from.
func (w *written) MarshalJSON() ([]byte, error) {
	text := make([]byte, 0, len(w.snapshot)+64)
	text = append(text, `{"snapshot":`...)
	text = append(text, w.snapshot...)
	text = append(text, `,"elapsed_ns":`...)
	text = strconv.AppendInt(text, int64(w.elapsed), 10)
	return append(text, '}'), nil
}

// served is what the handlers of gRPC get: control, and an encoder for all who see the whole of it.
type served struct {
	Control

	encoder *encoder
	roles   func(context.Context) ([]string, error) // that whoever calls may have; nil allows everybody all
}

// send follows control for who, and passes every view on to out, as fast as the encoder's pace allows. An agent's views
// are its own, and small: each is written when it comes.
func (s *served) send(ctx context.Context, who Hello, out func(any) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return s.Follow(ctx, who, func(v fleet.View) {
		write, rest := s.encoder.encode, s.encoder.rest
		if who.Role == agent {
			write, rest = alone, func(context.Context) {}
		}
		text, err := write(v.Snapshot)
		if err == nil {
			err = out(&written{text, time.Since(v.Taken)})
		}
		if err != nil {
			cancel(err)
			return
		}
		rest(ctx)
	})
}

func alone(s *fleet.Snapshot) ([]byte, error) { return json.Marshal(s) }
