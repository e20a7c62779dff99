package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errNow = errors.New("not now")

// TestKeep is on virtual time: what it tells, and how often it asks.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hurry := make(chan struct{}, 1)
		var asked atomic.Int32
		var away atomic.Bool
		told := make(chan error, 10)
		ended := make(chan error, 1)
		go func() {
			ended <- Keep(ctx, "somewhere", 9*time.Second, func() <-chan struct{} { return hurry }, func(context.Context) error {
				asked.Add(1)
				if away.Load() {
					return errNow
				}
				return nil
			}, func(err error) { told <- err })
		}()
		after := func(d time.Duration, want int32) {
			t.Helper()
			before := asked.Load()
			time.Sleep(d)
			synctest.Wait()
			if got := asked.Load() - before; got != want {
				t.Errorf("asked %d times in %v, want %d", got, d, want)
			}
		}
		synctest.Wait()
		after(9*time.Second, 3)
		hurry <- struct{}{}
		after(time.Second, 1)
		away.Store(true)
		after(2*time.Second, 1)
		after(2*time.Second, 10) // soon again, while it is away
		if err := <-told; len(told) > 0 || !errors.Is(err, ErrAway) || !errors.Is(err, errNow) || !strings.HasPrefix(err.Error(), "somewhere: ") {
			t.Errorf("told %v, and %d more", err, len(told))
		}
		away.Store(false)
		after(time.Second, 1)
		if err := <-told; len(told) > 0 || err != nil {
			t.Errorf("told %v, and %d more", err, len(told))
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestPersist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		passing := func(err error) bool { return errors.Is(err, errNow) }
		err := Persist(t.Context(), "publish", func(context.Context) error {
			if tries++; tries < 4 {
				return errNow
			}
			return nil
		}, passing)
		if err != nil || tries != 4 {
			t.Errorf("%v after %d tries", err, tries)
		}
		err = Persist(t.Context(), "publish a-1", func(context.Context) error { return errNoPort }, passing)
		if !errors.Is(err, errNoPort) || errors.Is(err, ErrAway) || !strings.HasPrefix(err.Error(), "publish a-1: ") {
			t.Errorf("what time does not mend: %v", err)
		}
		began := time.Now()
		err = Persist(t.Context(), "publish", func(context.Context) error { return errNow }, passing)
		if took := time.Since(began); !errors.Is(err, ErrAway) || !errors.Is(err, errNow) || took != patience {
			t.Errorf("%v after %v, want %v", err, took, patience)
		}
	})
}

func TestPasswords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ env, user, file, want, wrong string }{
		{"", "", "", "", ""},
		{"env", "", "", "", ""},
		{"env", "me", "", "env", ""},
		{"env", "me", file, "s3cret", ""},
		{"", "me", "", "", "user me has no password"},
		{"env", "me", empty, "", "is empty"},
		{"env", "", file, "", "no user"},
		{"env", "me", file + "s", "", "no such file"},
	} {
		t.Setenv(PasswordEnv, tt.env)
		got, err := Password(tt.user, tt.file)
		if got != tt.want || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
}
