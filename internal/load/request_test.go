package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// net/http reads what we write as it was meant.
func TestRequestsOnTheWire(t *testing.T) {
	plan := Plan{
		URLs:     []string{"http://127.0.0.1:9080/a%20b?q=1", "127.0.0.1", "http://[::1]/c"},
		Requests: 1, NoKeepAlive: true, Body: []byte("hello"),
		Headers: []Header{{"host", "reviews:9080"}, {"X-One", "1"}, {"X-One", "2"}},
	}
	plan.fillIn()
	requests, err := compose(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ target, address string }{
		{"/a%20b?q=1", "127.0.0.1:9080"}, {"/", "127.0.0.1:80"}, {"/c", "[::1]:80"},
	} {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(requests[i].wire)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if r.Method != http.MethodPost || r.Host != "reviews:9080" || r.RequestURI != want.target || !r.Close || string(body) != "hello" {
			t.Errorf("got %s %s for %s with %q, close %t", r.Method, r.RequestURI, r.Host, body, r.Close)
		}
		if diff := cmp.Diff([]string{"1", "2"}, r.Header["X-One"]); diff != "" {
			t.Errorf("X-One (-want +got):\n%s", diff)
		}
		if got := requests[i].address.String(); got != want.address || requests[i].link != i {
			t.Errorf("got address %s, link %d, want %s, %d", got, requests[i].link, want.address, i)
		}
	}
}

func TestPlansThatCannotBe(t *testing.T) {
	const url = "http://127.0.0.1:1/"
	for name, plan := range map[string]Plan{
		"no URL":           {Requests: 1},
		"no end":           {URLs: []string{url}},
		"ftp":              {URLs: []string{"ftp://127.0.0.1/"}, Requests: 1},
		"streams, h1":      {URLs: []string{url}, Requests: 1, Streams: 2},
		"streams, closed":  {URLs: []string{url}, Requests: 1, Streams: 2, Protocol: HTTP2, NoKeepAlive: true},
		"TE over HTTP/2":   {URLs: []string{url}, Requests: 1, Protocol: HTTP2, Headers: []Header{{"TE", "trailers"}}},
		"gRPC, no call":    {URLs: []string{"http://127.0.0.1:1"}, Requests: 1, Protocol: GRPC},
		"half a call":      {URLs: []string{"http://127.0.0.1:1"}, Requests: 1, Protocol: GRPC, Call: "echo.Echo"},
		"call and path":    {URLs: []string{url + "x"}, Requests: 1, Protocol: GRPC, Call: "echo.Echo/Unary"},
		"call by GET":      {URLs: []string{url}, Requests: 1, Protocol: GRPC, Call: "echo.Echo/Unary", Method: "GET"},
		"call in h2":       {URLs: []string{url}, Requests: 1, Protocol: HTTP2, Call: "echo.Echo/Unary"},
		"messages in h2":   {URLs: []string{url}, Requests: 1, Protocol: HTTP2, Messages: 2},
		"pauses of one":    {URLs: []string{url}, Requests: 1, Protocol: GRPC, Call: "echo.Echo/Unary", Messages: 1, Every: 1},
		"negative streams": {URLs: []string{url}, Requests: 1, Protocol: HTTP2, Streams: -1},
		"no address":       {URLs: []string{"http:///x"}, Requests: 1},
		"credentials":      {URLs: []string{"http://me:too@127.0.0.1/"}, Requests: 1},
		"port":             {URLs: []string{"http://127.0.0.1:99999/"}, Requests: 1},
		"not a URL":        {URLs: []string{"http://127.0.0.1/%zz"}, Requests: 1},
		"negative rate":    {URLs: []string{url}, Requests: 1, Rate: -1},
		"negative time":    {URLs: []string{url}, Requests: 1, Timeout: -1},
		"poisson, closed":  {URLs: []string{url}, Requests: 1, Poisson: true},
		"method":           {URLs: []string{url}, Requests: 1, Method: "GET /"},
		"CONNECT":          {URLs: []string{url}, Requests: 1, Method: "CONNECT"},
		"header name":      {URLs: []string{url}, Requests: 1, Headers: []Header{{"A B", "1"}}},
		"header value":     {URLs: []string{url}, Requests: 1, Headers: []Header{{"A", "1\r\nB: 2"}}},
		"framing":          {URLs: []string{url}, Requests: 1, Headers: []Header{{"content-length", "1"}}},
		"source of family": {URLs: []string{"http://[::1]/"}, Requests: 1, Source: netip.MustParsePrefix("127.9.0.0/24")},
	} {
		report, err := Run(t.Context(), plan)
		if !errors.Is(err, ErrPlan) || report != nil {
			t.Errorf("%s: got %v, %v, want ErrPlan", name, report, err)
		}
	}
}

func TestSeveralURLsTakeTurnsAndShareConnections(t *testing.T) {
	var (
		mu   sync.Mutex
		seen = map[string]int{}
	)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.Path]++
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	defer serving.Wait()
	defer server.Close()
	base := "http://" + listener.Addr().String()
	report, err := Run(t.Context(), Plan{URLs: []string{base + "/a", base + "/b", base + "/c"}, Requests: 30, Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"/a": 10, "/b": 10, "/c": 10}, seen); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if report.Connects > 2 {
		t.Errorf("got %d connections, want at most 2", report.Connects)
	}
}

func TestConnectionsComeFromTheSourcesInTurn(t *testing.T) {
	var (
		mu   sync.Mutex
		from = map[string]int{}
	)
	script := func() deed {
		return func(conn net.Conn) bool {
			mu.Lock()
			defer mu.Unlock()
			from[conn.RemoteAddr().(*net.TCPAddr).IP.String()]++
			return answering(okAnswer)(conn)
		}
	}
	source, err := ParseSource("127.9.0.0/29")
	if err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Plan{URLs: []string{listen(t, script)}, Requests: 60, Connections: 3, NoKeepAlive: true, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"127.9.0.1": 10, "127.9.0.2": 10, "127.9.0.3": 10, "127.9.0.4": 10, "127.9.0.5": 10, "127.9.0.6": 10}
	if diff := cmp.Diff(want, from); diff != "" || report.Connects != 60 {
		t.Errorf("got %d connections, want 60; by source (-want +got):\n%s", report.Connects, diff)
	}
}

func TestSourceAddresses(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"127.9.0.1", []string{"127.9.0.1", "127.9.0.1"}},
		{"127.9.0.6/31", []string{"127.9.0.6", "127.9.0.7", "127.9.0.6"}},
		{"127.9.0.7/30", []string{"127.9.0.5", "127.9.0.6", "127.9.0.5"}},
		{"fd00::/126", []string{"fd00::", "fd00::1", "fd00::2", "fd00::3", "fd00::"}},
	} {
		prefix, err := ParseSource(c.text)
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range c.want {
			if got := sourceAddr(prefix, uint64(n)).String(); got != want {
				t.Errorf("%s, address %d: got %s, want %s", c.text, n, got, want)
			}
		}
	}
	for _, text := range []string{"", "localhost", "127.0.0.1/33", "127.0.0/24"} {
		if got, err := ParseSource(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestTable(t *testing.T) {
	report := &Report{
		Mode: "open", URLs: []string{"http://gateway/"}, Addresses: []string{"127.0.0.1:80"},
		Rate: 100, Poisson: true, Seed: 3, Connections: 50, KeepAlive: true, Interrupted: true,
		Sent: 1000, OK: 990, LostTotal: 7, Lost: Losses{Reset: 3, ServerError: 2, Other: 2}, Abandoned: 3,
		Unsent: 1, Late: 5, LateMax: 12_345 * time.Microsecond, Connects: 12, IdleClosed: 1,
		Statuses:  map[int]uint64{200: 990, 503: 2},
		Endpoints: map[string]uint64{"reviews-v1-1": 800, "reviews-v2-1\x1b": 190}, NoEndpoint: 2,
		OtherDetails: map[string]uint64{"dial: \x1bcannot": 2},
		Latency:      Latency{From: "due", Mean: 1234567, P50: time.Millisecond, P90: 2 * time.Millisecond, P99: 3 * time.Second, P999: 4567 * time.Microsecond, Max: 5 * time.Second},
		Elapsed:      10 * time.Second, SentPerSecond: 100, OKPerSecond: 99,
	}
	const want = `http://gateway/  at 127.0.0.1:80
open loop: 100 requests/s (poisson gaps, seed 3), at most 50 connections, kept alive

interrupted
sent                 1000  100.0/s in 10s
= ok                  990  99 %
+ refused               0
+ reset                 3  0.3 %
+ eof                   0
+ cut                   0
+ timeout               0
+ 5xx                   2  0.2 %
+ other                 2  0.2 %
+ abandoned             3  in flight when interrupted
lost                    7  0.7 %
late                    5  at most 12.3ms after they were due
never sent              1  no connection came free
connections            12
closed idle             1  by the peer, between two requests
other: 2 × "dial: \x1bcannot"

status
  200                 990
  503                   2

endpoint
  reviews-v1-1        800  80.65 %
  reviews-v2-1\x1b        190  19.15 %
  (not named)           2

latency of ok answers, from the moment each request was due (corrected for coordinated omission)
  p50                 1ms
  p90                 2ms
  p99                  3s
  p99.9            4.57ms
  max                  5s
  mean             1.23ms
`
	var got strings.Builder
	if err := report.WriteTable(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 999: "999ns", 1234: "1.23µs", 98_765: "98.8µs", 456_789: "457µs", 999_999: "1ms", 12_345_678: "12.3ms",
		1_234_567_890: "1.23s", 65_432 * time.Millisecond: "1m5.4s", 3723 * time.Second: "1h2m3s", 3723*time.Second + 4e8: "1h2m3s",
	} {
		if got := short(d); got != want {
			t.Errorf("%d ns: got %s, want %s", d, got, want)
		}
	}
	line := Second{Second: 4, Sent: 10, OK: 7, Lost: Losses{EOF: 1, Timeout: 2}, Late: 3, InFlight: 1, P99: 3456 * time.Microsecond}.String()
	if want := "   5s  sent 10  ok 7  lost 3 (eof 1, timeout 2)  late 3  in flight 1  p99 3.46ms"; line != want {
		t.Errorf("got %q, want %q", line, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"10%", "7", "10KB", "127.9.0.0/24", "http://a/b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := ParseAllowance(text); err == nil && (a.Fraction < 0 || a.Fraction > 1) {
			t.Errorf("allowance %q: got %+v", text, a)
		}
		if n, err := ParseSize(text); err == nil && (n < 0 || n > MaxBody) {
			t.Errorf("size %q: got %d", text, n)
		}
		if prefix, err := ParseSource(text); err == nil && !prefix.Contains(sourceAddr(prefix, 1<<40)) {
			t.Errorf("source %q: got %v", text, sourceAddr(prefix, 1<<40))
		}
		u, err := parseURL(text)
		if err != nil {
			return
		}
		var r request
		if err := r.write(u, &Plan{Method: "GET"}); err != nil {
			return
		}
		if _, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.wire))); err != nil {
			t.Errorf("URL %q is sent as %q: %v", text, r.wire, err)
		}
	})
}

// TestManyURLsAreFewLines holds that the head of the table does not push the account off the screen.
func TestManyURLsAreFewLines(t *testing.T) {
	for n, want := range map[int]string{
		1:   "u0  at a0\n",
		5:   "u0  at a0\nu1  at a1\nu2  at a2\nu3  at a3\nu4  at a4\n",
		6:   "u0  at a0\nu1  at a1\nu2  at a2\nu3  at a3\nand 2 more URLs\n",
		100: "u0  at a0\nu1  at a1\nu2  at a2\nu3  at a3\nand 96 more URLs\n",
	} {
		r := Report{Mode: "closed", Connections: 1}
		for i := range n {
			r.URLs, r.Addresses = append(r.URLs, fmt.Sprint("u", i)), append(r.Addresses, fmt.Sprint("a", i))
		}
		var got strings.Builder
		r.writeHead(&got)
		if want += "closed loop: 1 connections, one per request\n\n"; got.String() != want {
			t.Errorf("%d URLs: got\n%s\nwant\n%s", n, got.String(), want)
		}
	}
}
