package proxy

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
)

// fronted puts fronts before the instances of a world.
func (w *world) fronted() {
	v := w.view()
	v.Services = w.p.State().View().Services
	for i := range v.Services {
		v.Services[i].Endpoints = slices.Clone(v.Services[i].Endpoints)
		for j := range v.Services[i].Endpoints {
			v.Services[i].Endpoints[j].Front = true
		}
	}
	w.apply(v)
}

// houseNames are the fields of the house as somebody else could spell them; stays is one that is nobody's.
var houseNames = []string{
	FieldGateway, FieldDrain, FieldRefused, FieldLoad, FieldLoadBin,
	"Crossfade-Gateway", "crossfade_gateway", "CROSSFADE_DRAIN", "Crossfade_Refused", "endpoint_load_metrics", "Endpoint-Load-Metrics_bin",
}

const stays = "X-Stays"

// houseIn returns what of the house is among fields, and whether what stays is there too.
func houseIn(h http.Header) (found []string, stayed bool) {
	for name := range h {
		plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		house := strings.HasPrefix(plain, "crossfade-") || strings.HasPrefix(plain, FieldLoad)
		if house && len(h[name]) > 0 { // a trailer that is only announced has no value
			found = append(found, plain+": "+strings.Join(h[name], "|"))
		}
	}
	slices.Sort(found)
	return found, h.Get(stays) != ""
}

func say(h http.Header) {
	for _, name := range houseNames {
		h[name] = []string{"app-0"}
	}
	h.Set(stays, "1")
}

// A place is where fields stand in a message.
type place struct {
	where string
	h     http.Header
}

// What our own programs tell each other is not heard from clients, and not told to them: in no part of a message, over no
// version, however it is spelt. Its neighbour passes everywhere.
func TestWhatIsOursStaysOurs(t *testing.T) {
	for _, front := range []bool{true, false} {
		for _, client := range []fleet.HTTP{fleet.HTTP1, fleet.HTTP2} {
			for _, endpoint := range []fleet.HTTP{fleet.HTTP1, fleet.HTTP2} {
				t.Run(fmt.Sprintf("front %t, %s to %s", front, client, endpoint), func(t *testing.T) {
					ourPlaces(t, front, client, endpoint)
				})
			}
		}
	}
}

func ourPlaces(t *testing.T, front bool, client, endpoint fleet.HTTP) {
	t.Helper()
	var mu sync.Mutex
	var came []place
	w := newWorld(t, Options{ID: "gateway-1"}, handleBoth(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		came = append(came, place{"request", r.Header.Clone()}, place{"request's trailers", r.Trailer.Clone()})
		mu.Unlock()
		say(rw.Header())
		rw.WriteHeader(http.StatusEarlyHints)
		rw.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(rw, "x")
		_ = http.NewResponseController(rw).Flush() // or its length would be known, and leave no room for trailers
		for _, name := range append(slices.Clone(houseNames), stays) {
			rw.Header()[http.TrailerPrefix+name] = []string{"app-0"}
		}
	}))
	if w.speak(endpoint); front {
		w.fronted()
	}
	var left []place
	r := w.request("POST", "/", io.NopCloser(strings.NewReader("body"))) // chunked
	say(r.Header)
	r.Trailer = http.Header{}
	say(r.Trailer)
	r = r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			left = append(left, place{"interim answer", http.Header(h).Clone()})
			return nil
		},
	}))
	a, _ := ask(t, w.client(client), r)
	left = append(left, place{"answer", a.Header}, place{"answer's trailers", a.Trailer})
	if a.StatusCode != 200 || len(left) != 3 || len(came) != 2 {
		t.Fatalf("got %d with %d heads, and %d at the endpoint", a.StatusCode, len(left), len(came))
	}
	for _, at := range append(came, left...) {
		var want []string
		if front && at.where == "request" {
			want = []string{FieldGateway + ": gateway-1"}
		}
		found, stayed := houseIn(at.h)
		if !slices.Equal(found, want) || !stayed {
			t.Errorf("the %s: got %q, and its neighbour passed: %t; want %q, true", at.where, found, stayed, want)
		}
	}
	w.wantConserved()
}

// Nor can configuration write them.
func TestConfigurationDoesNotWriteWhatIsOurs(t *testing.T) {
	send := forwarded(t, func(v *fleet.View) {
		edit := fleet.HeaderEdit{Set: []fleet.Header{header(FieldGateway, "me"), header("x-set", "1")}}
		v.Listeners[0].Hosts[0].Routes = []fleet.Route{toApp(func(r *fleet.Route) { r.Headers.Request = edit })}
	})
	if head := send("GET / HTTP/1.1\r\nHost: app\r\n\r\n"); strings.Contains(head, FieldGateway) || !strings.Contains(head, "x-set: 1\n") {
		t.Errorf("got %q, want only what may be set", head)
	}
}

// A WebSocket's 101 says nothing of ours either, and is heeded.
func TestWhatIsOursIsNotInASwitchOfProtocols(t *testing.T) {
	w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		_, _ = readHead(r)
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\ncrossfade-drain: app-0\r\nendpoint-load-metrics: TEXT eps=1\r\nX-Stays: 1\r\n\r\n")
		_, _ = io.Copy(io.Discard, r)
	}))
	w.fronted()
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n")
	head, err := readHead(c.r)
	if text := strings.ToLower(strings.Join(head, "\n")); err != nil || strings.Contains(text, "crossfade-drain") || strings.Contains(text, "load-metrics") ||
		!strings.Contains(text, "x-stays: 1") {
		t.Errorf("got %q, %v", head, err)
	}
	if got := <-w.p.Signs(); got != (Sign{"app-0", SignLeaves}) {
		t.Errorf("got the sign %v", got)
	}
	_ = c.Close()
}

// signs returns what has been told so far.
func (w *world) signs() []Sign {
	var list []Sign
	for {
		select {
		case s := <-w.p.Signs():
			list = append(list, s)
		default:
			return list
		}
	}
}

// Who leaves says so of itself, and is heard once for many answers. Nobody says it of another, and nobody who is no front.
func TestALeavingFrontIsHeard(t *testing.T) {
	for name, tc := range map[string]struct {
		front bool
		says  string
		want  []Sign
	}{
		"itself":        {true, "app-0", []Sign{{"app-0", SignLeaves}}},
		"another":       {true, "app-1", nil},
		"nobody":        {true, "", nil},
		"without front": {false, "app-0", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{}, handle(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set(FieldDrain, tc.says)
			}))
			if tc.front {
				w.fronted()
			}
			c := w.dial()
			for range 20 {
				c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
				c.wantAnswer("GET", 200, "")
			}
			if diff := cmp.Diff(tc.want, w.signs()); diff != "" {
				t.Errorf("signs (-want +got):\n%s", diff)
			}
		})
	}
}

// A decliner is a front that refuses requests unseen.
type decliner struct {
	says  string // whom it says it is
	conns atomic.Int64
	asked atomic.Int64
}

func (d *decliner) start(t *testing.T) string {
	t.Helper()
	return script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		d.conns.Add(1)
		for {
			request, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			d.asked.Add(1)
			fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\n%s: %s\r\nRetry-After: 1\r\nContent-Length: 7\r\n\r\ncold.\r\n", FieldRefused, d.says)
		}
	})
}

// What a front refuses goes elsewhere, whatever its method, with all of its body, and the connection is kept.
func TestARefusedRequestGoesElsewhere(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1000)
	for name, framing := range map[string]string{"whole": "whole", "in pieces": "pieces", "chunked": "chunked"} {
		for _, method := range []string{"GET", "POST", "PATCH"} {
			t.Run(method+" "+name, func(t *testing.T) {
				d := &decliner{says: "app-0"}
				w := newWorld(t, Options{}, d.start(t), handle(t, func(rw http.ResponseWriter, r *http.Request) {
					got, _ := io.ReadAll(r.Body)
					fmt.Fprintf(rw, "%s %t", r.Method, string(got) == body)
				}))
				w.fronted()
				c := w.dial()
				for range 40 {
					c.sayBody(method, framing, body)
					c.wantAnswer(method, 200, method+" true")
				}
				// Half of them, give or take five deviations of as many throws.
				if asked, conns := d.asked.Load(), d.conns.Load(); asked < 4 || conns != 1 {
					t.Errorf("it was asked %d times over %d connections, want some over one", asked, conns)
				}
				w.wantConserved()
				if n := w.p.State().services[0].Endpoints[0].Traffic.Counts(); n.Total != uint64(d.asked.Load()) || n.Class(5) != n.Total {
					t.Errorf("counted %d requests and %d refusals, want %d of each", n.Total, n.Class(5), d.asked.Load())
				}
			})
		}
	}
}

// sayBody sends a request with a body.
func (c *client) sayBody(method, framing, body string) {
	half := len(body) / 2
	switch framing {
	case "chunked":
		c.say("%s / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", method, half, body[:half])
		c.say("%x\r\n%s\r\n0\r\nX-After: 1\r\n\r\n", len(body)-half, body[half:])
	case "pieces":
		c.say("%s / HTTP/1.1\r\nHost: app\r\nContent-Length: %d\r\n\r\n%s", method, len(body), body[:half])
		c.say("%s", body[half:])
	default:
		c.say("%s / HTTP/1.1\r\nHost: app\r\nContent-Length: %d\r\n\r\n%s", method, len(body), body)
	}
}

// A refusal is the answer where nobody else can be asked, or who says it is not to be believed.
func TestARefusalIsTheAnswer(t *testing.T) {
	long := strings.Repeat("x", 3*window)
	for name, tc := range map[string]struct {
		says  [2]string
		alone bool
		front bool
		body  string
		asked int64 // attempts
	}{
		"of the only one":   {says: [2]string{"app-0"}, alone: true, front: true, asked: 1},
		"of the second one": {says: [2]string{"app-0", "app-1"}, front: true, asked: 2},
		"of somebody else":  {says: [2]string{"app-1", "app-0"}, front: true, asked: 1},
		"without a front":   {says: [2]string{"app-0", "app-1"}, asked: 1},
		"of a long body":    {says: [2]string{"app-0", "app-1"}, front: true, body: long, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			ds := []*decliner{{says: tc.says[0]}, {says: tc.says[1]}}
			addresses := []string{ds[0].start(t), ds[1].start(t)}
			if tc.alone {
				addresses = addresses[:1]
			}
			w := newWorld(t, Options{}, addresses...)
			if tc.front {
				w.fronted()
			}
			c := w.dial()
			c.sayBody("POST", "whole", tc.body)
			a := c.wantAnswer("POST", 503, "cold.\r\n")
			if asked := ds[0].asked.Load() + ds[1].asked.Load(); asked != tc.asked || a.Header.Get("Retry-After") != "1" {
				t.Errorf("got %v after %d attempts, want Retry-After after %d", a.Header, asked, tc.asked)
			}
			if found, _ := houseIn(a.Header); len(found) > 0 {
				t.Errorf("the client sees %q", found)
			}
			w.wantConserved()
		})
	}
}

// An answer that is no refusal is the answer, whatever it says beside.
func TestOnlyARefusalIsOne(t *testing.T) {
	var asked atomic.Int64
	both := func(name string) string {
		return handle(t, func(rw http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			rw.Header().Set(FieldRefused, name)
		})
	}
	w := newWorld(t, Options{}, both("app-0"), both("app-1"))
	w.fronted()
	c := w.dial()
	for range 20 {
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 200, "")
	}
	if n := asked.Load(); n != 20 {
		t.Errorf("20 requests were sent %d times", n)
	}
}

// Load reports are kept by whom they are of, in the form in which they come.
func TestLoadReportsAreKept(t *testing.T) {
	load := evidence.Load{CPU: 0.25, Named: []evidence.Metric{{Name: evidence.WarmAge, Value: 12}}}
	for name, tc := range map[string]struct {
		field string
		value string
		kept  bool
	}{
		"text":     {FieldLoad, string(load.AppendHeader(nil, evidence.LoadText)), true},
		"JSON":     {FieldLoad, string(load.AppendHeader(nil, evidence.LoadJSON)), true},
		"binary":   {FieldLoad, string(load.AppendHeader(nil, evidence.LoadBinary)), true},
		"trailer":  {"Trailer:" + FieldLoadBin, string(load.AppendTrailer(nil)), true},
		"nonsense": {FieldLoad, "TEXT cpu_utilization=NaN", false},
		"nothing":  {"X-Other", "1", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{}, handleBoth(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", grpcType)
				rw.Header().Set(tc.field, tc.value)
				_, _ = io.WriteString(rw, "\x00\x00\x00\x00\x00")
				rw.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			}))
			w.speak(fleet.HTTP2)
			if code, _, _ := outcomeOf(t, w.dialStreams(), call("/x/m")); code != "0" {
				t.Fatalf("the call ended with %q", code)
			}
			w.wantConserved()
			e := w.p.State().services[0].Endpoints[0]
			got := e.Traffic.Reports.Last()
			switch {
			case tc.kept && got == nil:
				t.Error("nothing was kept")
			case tc.kept:
				if diff := cmp.Diff(load, got.Load); diff != "" {
					t.Errorf("kept (-want +got):\n%s", diff)
				}
			case got != nil:
				t.Errorf("kept %v", got)
			}
			if unread := e.Traffic.Reports.Unread.Load(); (unread == 1) != (name == "nonsense") {
				t.Errorf("%d could not be read", unread)
			}
		})
	}
}

// What an application says of its load goes through its sidecar, where its clients are those whom it tells, and through a
// gateway where the policy of its pool lets clients have it. Its marks pass nowhere.
func TestLoadReportsPassWhereTheyMay(t *testing.T) {
	value := base64.RawStdEncoding.EncodeToString([]byte{9, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f})
	for _, passes := range []struct{ inbound, policy bool }{{true, false}, {false, true}, {false, false}} {
		w := newWorld(t, Options{}, handleBoth(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set(FieldLoad, "TEXT eps=1")
			rw.Header().Set(FieldDrain, "app-0")
			_, _ = io.WriteString(rw, "x")
			rw.Header().Set(http.TrailerPrefix+FieldLoadBin, value)
			rw.Header().Set(http.TrailerPrefix+FieldDrain, "app-0")
		}))
		v := w.view()
		v.Services = w.p.State().View().Services
		v.Services[0].Inbound = passes.inbound
		v.Services[0].Pools[0].Policy.HTTP, v.Services[0].Pools[0].Policy.LoadReports = fleet.HTTP2, passes.policy
		w.apply(v)
		a, _ := ask(t, w.client(fleet.HTTP2), w.request("GET", "/", nil))
		var want []string
		if passes.inbound || passes.policy {
			want = []string{"TEXT eps=1", value}
		}
		var got []string
		if report := a.Header.Get(FieldLoad); report != "" {
			got = append(got, report)
		}
		if report := a.Trailer.Get(FieldLoadBin); report != "" {
			got = append(got, report)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", passes, diff)
		}
		if a.Header.Get(FieldDrain)+a.Trailer.Get(FieldDrain) != "" {
			t.Errorf("%+v: the application's mark passed", passes)
		}
	}
}

// Two refused connections in a row are a sign, one is none, and one that succeeds between them begins the row anew.
func TestRefusedConnectionsAreASign(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := nl.Addr().String()
	_ = nl.Close()
	w := newWorld(t, Options{Retries: -1}, address)
	get := func(status int) {
		t.Helper()
		c := w.dial()
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		if a, _ := c.answer("GET"); a.StatusCode != status {
			t.Fatalf("got %d, want %d", a.StatusCode, status)
		}
	}
	get(503)
	if got := w.signs(); len(got) != 0 {
		t.Fatalf("once: got %v", got)
	}
	if nl, err = net.Listen("tcp", address); err != nil {
		t.Skip("the port is somebody else's by now: ", err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := nl.Accept()
		if err != nil {
			return
		}
		_, _ = readHead(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		_ = c.Close()
		_ = nl.Close()
	}()
	get(200)
	<-served
	get(503)
	if got := w.signs(); len(got) != 0 {
		t.Fatalf("once, and once again after it had come back: got %v", got)
	}
	for range 5 {
		get(503)
	}
	if diff := cmp.Diff([]Sign{{"app-0", SignRefused}}, w.signs()); diff != "" {
		t.Errorf("six in a row (-want +got):\n%s", diff)
	}
	if n := w.p.State().services[0].Endpoints[0].Traffic.ConnectFail.Load(); n != 7 {
		t.Errorf("got %d failed connects, want 7", n)
	}
}

// Who cuts what it was asked may be gone.
func TestACutAnswerIsASign(t *testing.T) {
	w := newWorld(t, Options{}, script(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		_, _ = readHead(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(n+1)+"\r\n\r\nx")
	}))
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	c.wantAnswer("GET", 200, "x")
	if got := w.signs(); len(got) != 0 {
		t.Errorf("a whole answer: got %v", got)
	}
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	if _, _, err := c.tryAnswer("GET"); err == nil {
		t.Error("half an answer looks whole")
	}
	if diff := cmp.Diff([]Sign{{"app-0", SignDoubted}}, w.signs()); diff != "" {
		t.Errorf("half an answer (-want +got):\n%s", diff)
	}
}

// What a front says and is told costs nothing.
func TestAFrontAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	once := chatty(t)
	for range 100 {
		once()
	}
	if got := testing.AllocsPerRun(2000, once); got != 0 { // a report that is read is rare
		t.Errorf("got %v allocations per request, want 0", got)
	}
}

func BenchmarkGetFromAFront(b *testing.B) {
	once := chatty(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// chatty is keepAlive with a front that says all that one can say.
func chatty(t testing.TB) func() {
	t.Helper()
	answer := []byte("HTTP/1.1 200 OK\r\ncrossfade-drain: app-0\r\n" +
		"endpoint-load-metrics: TEXT application_utilization=0.5,rps_fractional=120,named_metrics.warm.age_s=12,named_metrics.warm.share=0.3\r\n" +
		"Content-Length: 1\r\n\r\nx")
	heard := make(chan bool, 1)
	w := newWorld(t, Options{ID: "gateway-1"}, script(t, func(n int, c *net.TCPConn, _ *bufio.Reader) {
		b := make([]byte, 4096)
		for first := true; ; first = false {
			m, err := c.Read(b)
			if err != nil {
				return
			}
			if first && n == 0 {
				heard <- bytes.Contains(b[:m], []byte("crossfade-gateway: gateway-1\r\n"))
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}))
	w.fronted()
	c := w.dial()
	request, got := []byte("GET / HTTP/1.1\r\nHost: app\r\n\r\n"), make([]byte, 4096)
	once := func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for n := 0; !bytes.HasSuffix(got[:n], []byte("\r\n\r\nx")); {
			m, err := c.Read(got[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
	}
	once()
	if !<-heard || bytes.Contains(got, []byte("crossfade-drain")) || bytes.Contains(got, []byte("load-metrics")) {
		t.Fatalf("the client got %q", got)
	}
	return once
}

// Who sends is said to fronts only, in a second attempt too.
func TestASecondAttemptIsWrittenForWhomItGoesTo(t *testing.T) {
	for _, front := range []bool{true, false} {
		var came atomic.Value
		nl, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		dead := nl.Addr().String()
		_ = nl.Close()
		w := newWorld(t, Options{ID: "gateway-1"}, dead, handle(t, func(_ http.ResponseWriter, r *http.Request) {
			came.Store(r.Header.Get(FieldGateway))
		}))
		v := w.view()
		v.Services = slices.Clone(w.p.State().View().Services)
		v.Services[0].Endpoints = slices.Clone(v.Services[0].Endpoints)
		v.Services[0].Endpoints[0].Front, v.Services[0].Endpoints[1].Front = !front, front
		w.apply(v)
		want := ""
		if front {
			want = "gateway-1"
		}
		c := w.dial()
		for w.p.State().services[0].Endpoints[0].Traffic.ConnectFail.Load() < 5 {
			c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
			c.wantAnswer("GET", 200, "")
			if got := came.Load(); got != want {
				t.Fatalf("front %t: got %q, want %q", front, got, want)
			}
		}
	}
}
