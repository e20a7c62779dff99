package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Its port is open before it can serve.
func TestServesOnceItHasLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(8 * time.Second)
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 503}, {7999 * time.Millisecond, 503}, {time.Millisecond, 200}, {time.Hour, 200}} {
			time.Sleep(step.wait)
			for _, path := range []string{"/", "/health"} {
				answer := httptest.NewRecorder()
				s.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
				if answer.Code != step.want || answer.Header().Get("x-asyncinit-instance") == "" {
					t.Errorf("%s after %s more: %d of instance %q, want %d", path, step.wait, answer.Code, answer.Header().Get("x-asyncinit-instance"), step.want)
				}
			}
		}
	})
}

func TestRun(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var said strings.Builder
	none := func(string) string { return "" }
	if err := run(ended, []string{"--listen", "127.0.0.1:0"}, none, &said); err != nil {
		t.Errorf("asked to stop, it ends with %v", err)
	}
	if err := run(t.Context(), []string{"--listen", "nowhere"}, none, &said); err == nil {
		t.Error("listened nowhere")
	}
	if err := run(t.Context(), []string{"--what"}, none, &said); err == nil || !strings.Contains(said.String(), "-init") {
		t.Errorf("wrong usage: %v, said %q", err, said.String())
	}
}
