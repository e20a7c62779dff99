package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"crossfade.dev/internal/load"
)

// runHere runs a command line in this process and returns what it said.
func runHere(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestLoadAgainstAServer(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) != 10_000 || r.Method != http.MethodPost || r.Host != "reviews" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("X-Who", []string{"a", "b"}[n.Add(1)%2])
		if n.Load()%10 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	trace := filepath.Join(t.TempDir(), "trace")
	args := []string{
		"load", "--requests", "100", "--connections", "1", "--body", "10KB", "-H", "Host: reviews",
		"--endpoint-header", "x-who", "--output", "json", "--trace", trace, "--quiet", server.URL,
	}
	code, stdout, stderr := runHere(t.Context(), args...)
	if code != 1 || !strings.Contains(stderr, "10 lost and 0 never sent of 100") {
		t.Errorf("got exit code %d and %q, want 1 and 10 lost", code, stderr)
	}
	var report load.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Sent != 100 || report.OK != 90 || report.Lost != (load.Losses{ServerError: 10}) || report.Statuses[503] != 10 {
		t.Errorf("got %+v, want 100 sent, 90 ok, 10 answers of 503", report)
	}
	if report.Endpoints["a"] != 50 || report.Endpoints["b"] != 50 {
		t.Errorf("got endpoints %v, want 50 of each", report.Endpoints)
	}
	if report.Latency.P50 <= 0 || report.Latency.Max < report.Latency.P50 || report.Connects != 1 {
		t.Errorf("got latency %+v and %d connections", report.Latency, report.Connects)
	}
	if err := report.Check(); err != nil {
		t.Error(err)
	}
	lines, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(lines, []byte("\n")); got != 100 {
		t.Errorf("got %d lines of trace, want 100", got)
	}
	if code, _, stderr := runHere(t.Context(), append(args, "--max-loss", "10%")...); code != 0 || stderr != "" {
		t.Errorf("with losses allowed: got exit code %d and %q, want 0", code, stderr)
	}
}

func TestLoadInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 20 {
			cancel()
		}
	}))
	defer server.Close()
	code, stdout, stderr := runHere(ctx, "load", "--duration", "1h", "--connections", "1", server.URL)
	if code != exitInterrupted || !strings.Contains(stdout, "interrupted\nsent                   20 ") || !strings.Contains(stdout, "= ok                   20 ") {
		t.Errorf("got exit code %d, %q and\n%s\nwant %d and an account of 20", code, stderr, stdout, exitInterrupted)
	}
}

func TestLoadMisuse(t *testing.T) {
	for _, line := range []string{"load", "load --what http://127.0.0.1:1/", "load --rate x http://127.0.0.1:1/", "load ftp://a/", "load --max-loss x http://127.0.0.1:1/"} {
		if code, _, _ := runHere(t.Context(), strings.Fields(line)...); code != 2 {
			t.Errorf("crossfade %s: got exit code %d, want 2", line, code)
		}
	}
}
