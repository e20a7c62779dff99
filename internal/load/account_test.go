package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whatever a server does, what it knows to have done is what the report says.
func TestConservation(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := Plan{
			Requests:    rapid.Uint64Range(1, 60).Draw(rt, "requests"),
			Connections: 1, // so that the server's refusals meet the next request
			NoKeepAlive: rapid.Bool().Draw(rt, "no keepalive"),
			Rate:        rapid.SampledFrom([]float64{0, 1, 50, 5000}).Draw(rt, "rate"),
		}
		plan.Poisson = plan.Rate > 0 && rapid.Bool().Draw(rt, "poisson")
		deeds := rapid.SliceOfN(rapid.IntRange(0, 7), 1, 30).Draw(rt, "deeds")
		report, want, err := runMisbehaving(t, plan, deeds)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want.Lost, report.Lost); diff != "" || want.OK != report.OK {
			rt.Fatalf("got %d ok, want %d; losses (-server +client):\n%s", report.OK, want.OK, diff)
		}
		if report.Sent != plan.Requests {
			rt.Fatalf("got %d sent, want %d", report.Sent, plan.Requests)
		}
	})
}

// runMisbehaving runs a plan on virtual time against a server that does the numbered deeds in turn, and returns
// the report and the server's own counts.
func runMisbehaving(t *testing.T, plan Plan, deeds []int) (report *Report, did Report, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		table := []struct {
			deed  deed
			count *uint64
		}{
			{answering(okAnswer), &did.OK},
			{cutting("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end"), &did.OK},
			{answering(errorAnswer), &did.Lost.ServerError},
			{cutting(""), &did.Lost.EOF},
			{cutting(okAnswer[:len(okAnswer)-1]), &did.Lost.Cut},
			{hanging, &did.Lost.Timeout},
			{cutting("nothing like HTTP\r\n\r\n"), &did.Lost.Other},
			{nil, &did.Lost.Refused}, // answers, and refuses the next connection
		}
		var mu sync.Mutex
		turn, refusals := 0, 0
		plan = inBubble(plan, func() deed {
			mu.Lock()
			defer mu.Unlock()
			chosen := table[deeds[turn%len(deeds)]]
			turn++
			if chosen.deed == nil {
				refusals++
				did.OK++
				return cutting("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			}
			*chosen.count++
			return chosen.deed
		})
		connect := plan.dial
		plan.dial = func(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if refusals > 0 {
				refusals--
				did.Lost.Refused++
				return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}
			return connect(ctx, address)
		}
		report, err = Run(t.Context(), plan)
	})
	return report, did, err
}

func TestCheckFindsEveryImbalance(t *testing.T) {
	balanced := func() *Report {
		return &Report{
			Protocol: GRPC, Sent: 6, OK: 2, Lost: Losses{Cut: 1, ServerError: 1, GRPCError: 1, Rejected: 1},
			Statuses: map[int]uint64{200: 3, 500: 1}, Endpoints: map[string]uint64{"a": 3}, NoEndpoint: 1,
			GRPCStatuses: map[string]uint64{"OK": 2, "UNAVAILABLE": 1}, Resets: map[string]uint64{"REFUSED_STREAM": 1},
			Seconds: []Second{{Sent: 5, OK: 1}, {Second: 1, Sent: 1, OK: 1, Lost: Losses{Cut: 1, ServerError: 1, GRPCError: 1, Rejected: 1}}},
		}
	}
	if err := balanced().Check(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	for name, spoil := range map[string]func(*Report){
		"sent":       func(r *Report) { r.Sent++ },
		"ok":         func(r *Report) { r.OK++ },
		"a loss":     func(r *Report) { r.Lost.Reset++ },
		"abandoned":  func(r *Report) { r.Abandoned++ },
		"a status":   func(r *Report) { r.Statuses[200]++ },
		"gRPC":       func(r *Report) { r.GRPCStatuses["OK"]-- },
		"a reset":    func(r *Report) { r.Resets["CANCEL"]++ },
		"endpoint":   func(r *Report) { r.Endpoints["b"]++ },
		"unnamed":    func(r *Report) { r.NoEndpoint++ },
		"late":       func(r *Report) { r.Late++ },
		"a second":   func(r *Report) { r.Seconds[0].Sent++ },
		"other loss": func(r *Report) { r.Lost.Cut--; r.Lost.EOF++ },
	} {
		r := balanced()
		spoil(r)
		if err := r.Check(); !errors.Is(err, ErrUnaccounted) {
			t.Errorf("%s: got %v, want ErrUnaccounted", name, err)
		}
	}
}

func TestTraceHasEveryRequestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		odd := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Crossfade-Endpoint: \"<odd>\" \xff\r\n\r\n"
		plan := inBubble(Plan{Rate: 1000, Requests: 50, Connections: 3, Trace: &out},
			inTurn(answering(okAnswer), cutting(""), answering(errorAnswer), answering(odd), answering(okAnswer)))
		report, err := Run(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		seen, outcomes, named := map[uint64]bool{}, map[string]uint64{}, uint64(0)
		for lines := bufio.NewScanner(&out); lines.Scan(); {
			var line struct {
				Request  uint64 `json:"request"`
				Due      int64  `json:"due_ns"`
				Sent     int64  `json:"sent_ns"`
				Ended    int64  `json:"ended_ns"`
				Outcome  string `json:"outcome"`
				Status   int    `json:"status"`
				Endpoint string `json:"endpoint"`
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Fatalf("%s: %v", lines.Bytes(), err)
			}
			if want := int64(line.Request) * 1e6; seen[line.Request] || line.Due != want || line.Sent < want || line.Ended < line.Sent {
				t.Errorf("got %+v, want it once and due at %d", line, want)
			}
			seen[line.Request] = true
			outcomes[line.Outcome]++
			if line.Endpoint == "one" {
				named++
			}
		}
		if len(seen) != 50 || outcomes["ok"] != report.OK || outcomes["eof"] != 1 || outcomes["5xx"] != 1 || named != report.Endpoints["one"] {
			t.Errorf("got %d lines, %v, %d answers of one; want as the report: %+v", len(seen), outcomes, named, report)
		}
	})
}

func TestTraceThatCannotBeWrittenIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, write := net.Pipe()
		_ = read.Close()
		report, err := Run(t.Context(), inBubble(Plan{Requests: 1, Trace: write}, inTurn(answering(okAnswer))))
		if err == nil || report == nil || report.OK != 1 {
			t.Errorf("got %v and %v, want a report and an error", report, err)
		}
	})
}

func TestBookingAllocatesNothing(t *testing.T) {
	books, at := newAccount(), time.Duration(0)
	got := result{outcome: OK, status: 200, endpoint: "reviews-v1-1"}
	books.ended(0, 0, got)
	books.inFlight = 0
	if n := testing.AllocsPerRun(1000, func() {
		at += time.Microsecond
		books.began(at, 0, time.Second)
		books.ended(at, time.Millisecond, got)
	}); n != 0 {
		t.Errorf("got %v allocations a request, want 0", n)
	}
}

func TestStrangersCannotFillTheReport(t *testing.T) {
	counts := map[string]uint64{}
	for i := range 100 {
		bump(counts, strings.Repeat("x", i), 10)
	}
	if len(counts) != 11 || counts[moreOfThem] != 90 {
		t.Errorf("got %d keys and %d in the rest, want 11 and 90", len(counts), counts[moreOfThem])
	}
	if got := detail(errors.New(strings.Repeat("ä", 1000) + "\xff")); len(got) > maxDetail+len("…") {
		t.Errorf("got %d bytes of detail, want at most %d", len(got), maxDetail)
	}
}

func TestAllowance(t *testing.T) {
	for _, c := range []struct {
		text       string
		sent, lost uint64
		want       bool
	}{
		{"0", 1000, 0, true},
		{"0", 1000, 1, false},
		{"3", 1000, 3, true},
		{"3", 1000, 4, false},
		{"1%", 1000, 10, true},
		{"1%", 1000, 11, false},
		{"100%", 5, 5, true},
		{"0%", 0, 0, true},
	} {
		a, err := ParseAllowance(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Allows(&Report{Sent: c.sent, LostTotal: c.lost}); got != c.want {
			t.Errorf("%s of %d sent, %d lost: got %t, want %t", c.text, c.sent, c.lost, got, c.want)
		}
	}
	for _, text := range []string{"", "-1", "1.5", "101%", "-1%", "NaN%", "%", "Inf%"} {
		if a, err := ParseAllowance(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, a)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "512": 512, "7B": 7, "10KB": 10_000, "4KiB": 4096, "1MB": 1_000_000, "256MiB": MaxBody} {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "KB", "-1", "1.5KB", "257MiB", "99999999999999999999", "1GB", "4294967295MiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}
