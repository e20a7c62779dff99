package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// sameWish is for how long after a signal another one is the same wish: timeout(1) signals a program, and then its
// whole group.
const sameWish = time.Second

// signals are those that end a program: the first ends its context, which drains what drains. The second ends it at
// once, unless it has asked for hurries; then the third does.
type signals struct {
	heeded atomic.Bool
	hurry  chan struct{} // closed at the second
}

type signalsKey struct{}

// withSignals returns a context that the first signal ends, with its name as the cause.
func withSignals(parent context.Context) (ctx context.Context, stop func()) {
	s := &signals{hurry: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, signalsKey{}, s))
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	stop = func() {
		signal.Stop(c)
		cancel(nil)
	}
	go s.hear(c, cancel)
	return ctx, stop
}

// hear passes signals on, until one is to end the program as if nobody listened.
func (s *signals) hear(c chan os.Signal, cancel context.CancelCauseFunc) {
	defer signal.Stop(c)
	cancel(errors.New(nameOf(<-c)))
	ignore(c, sameWish)
	if !s.heeded.Load() {
		return
	}
	<-c
	close(s.hurry)
	ignore(c, sameWish)
}

// ignore passes over the signals of a while.
func ignore(c chan os.Signal, d time.Duration) {
	for over := time.After(d); ; {
		select {
		case <-c:
		case <-over:
			return
		}
	}
}

func nameOf(s os.Signal) string {
	switch s {
	case os.Interrupt:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	}
	return s.String()
}

// hurries returns a channel that is closed at the second signal: whoever asks for it sees to it that the program then
// ends soon. It is nil where ctx knows no signals.
func hurries(ctx context.Context) <-chan struct{} {
	s, ok := ctx.Value(signalsKey{}).(*signals)
	if !ok {
		return nil
	}
	s.heeded.Store(true)
	return s.hurry
}
