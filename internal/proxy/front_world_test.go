package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// A frontPlan is a front's day: what it is ordered, and who asks for what.
type frontPlan struct {
	orders []timedOrders
	asks   []frontAsk
}

type timedOrders struct {
	at time.Duration
	Orders
}

// A frontAsk is one request, on a connection of its own.
type frontAsk struct {
	at      time.Duration
	version fleet.HTTP
	method  string
	ours    bool
	body    int
	takes   time.Duration // at the application
	leaves  time.Duration // after which its client leaves; 0: never
}

// A frontFate is what became of one.
type frontFate struct {
	seen   int           // by the application
	seenAt time.Duration // for the first time
	answer string        // "ok", "refused", "left", or what went wrong
	took   time.Duration
}

type frontDay struct {
	fates    []frontFate
	seen     Seen
	taken    int64
	crowded  string // what the application had more of than there were places; "" for nothing
	unsettle string // what the listener's counters do not say; "" for nothing
}

// live lives the plan through in a bubble.
func (p *frontPlan) live(t *testing.T) (day frontDay) {
	t.Helper()
	day.fates = make([]frontFate, len(p.asks))
	synctest.Test(t, func(t *testing.T) {
		f := &Front{}
		s := &stage{day: &day, plan: p, began: time.Now()}
		o := Options{Front: f, HalfCloseTimeout: time.Millisecond}
		o.Upstream.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
			ours, theirs := net.Pipe()
			s.open.Go(func() { s.application(theirs) })
			return ours, nil
		}
		w := &world{t: t, o: o, p: New(o), door: NewDoor("test"), live: map[*Conn]bool{}}
		v := w.view("127.0.0.1:1")
		v.Services[0].Pools[0].Policy.HTTP = fleet.HTTPSame
		w.apply(v)
		s.open.Go(func() {
			for _, o := range p.orders {
				time.Sleep(time.Until(s.began.Add(o.at)))
				s.mu.Lock()
				s.limit = o.Limit
				s.mu.Unlock()
				f.Order(o.Orders)
			}
		})
		var asks sync.WaitGroup
		for i := range p.asks {
			asks.Go(func() {
				time.Sleep(time.Until(s.began.Add(p.asks[i].at)))
				ours, theirs := net.Pipe()
				s.open.Go(func() { w.p.NewConn(theirs, w.door).Serve(t.Context()) })
				began := time.Now()
				answer := s.ask(i, ours)
				day.fates[i].answer, day.fates[i].took = answer, time.Since(began)
			})
		}
		asks.Wait()
		time.Sleep(time.Minute)
		w.p.Close()
		s.open.Wait()
		day.seen, day.taken = f.Seen(), f.line.taken.Load()
		d := &w.listener().Traffic.Requests
		var sum uint64
		d.Codes(func(_ int, n uint64) { sum += n })
		sum += w.listener().Traffic.Aborted.Load() + d.Cut.Load()
		if total := d.Total.Load(); sum != total || d.Active.Load() != 0 {
			day.unsettle = fmt.Sprintf("%d of %d requests accounted for, %d open", sum, total, d.Active.Load())
		}
	})
	return day
}

// A stage is where a plan is lived.
type stage struct {
	day   *frontDay
	plan  *frontPlan
	began time.Time
	open  sync.WaitGroup

	mu     sync.Mutex
	limit  int
	inside int
}

// application serves one connection, in whatever it is spoken to.
func (s *stage) application(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	first, err := r.Peek(3)
	if err != nil {
		return
	}
	if string(first) == "PRI" {
		_ = http2.NewServer(buffered{c, r}, nil, &http2.Options{}).Serve(func(st *http2.Stream) {
			_, _ = io.Copy(io.Discard, http2.Pipe{Stream: st})
			s.serve(string(st.Request().Path))
			_ = st.WriteHead(&http2.Head{Status: 200}, true)
		})
		return
	}
	for {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		s.serve(request.URL.Path)
		if _, err := fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

type buffered struct {
	net.Conn
	r io.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// serve is what the application does with a request. It goes on with one whose client has left, and does not count it.
func (s *stage) serve(path string) {
	var i int
	_, _ = fmt.Sscanf(path, "/%d", &i)
	s.mu.Lock()
	fate := &s.day.fates[i]
	if fate.seen++; fate.seen == 1 {
		fate.seenAt = time.Since(s.began)
	}
	one := 1
	if s.plan.asks[i].leaves > 0 {
		one = 0
	}
	if s.inside += one; s.limit > 0 && s.inside > s.limit {
		s.day.crowded = fmt.Sprintf("%d at once, of %d", s.inside, s.limit)
	}
	s.mu.Unlock()
	time.Sleep(s.plan.asks[i].takes)
	s.mu.Lock()
	s.inside -= one
	s.mu.Unlock()
}

// ask asks for i and says what came of it.
func (s *stage) ask(i int, c net.Conn) string {
	a := &s.plan.asks[i]
	left := false
	if a.leaves > 0 {
		leave := time.AfterFunc(a.leaves, func() {
			s.mu.Lock()
			left = true
			s.mu.Unlock()
			_ = c.Close()
		})
		defer leave.Stop()
	}
	answer := a.askH1
	if a.version == fleet.HTTP2 {
		answer = a.askH2
	}
	said, err := answer(c, fmt.Sprintf("/%d", i))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		return said
	case left:
		return "left"
	default:
		return err.Error()
	}
}

func (a *frontAsk) askH1(c net.Conn, path string) (string, error) {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: app\r\nContent-Length: %d\r\n", a.method, path, a.body)
	if a.ours {
		text += byGateway + "\r\n"
	}
	said := make(chan struct{})
	go func() { // it may be answered before it has said everything
		defer close(said)
		_, _ = io.WriteString(c, text+"\r\n"+strings.Repeat("x", a.body))
	}()
	defer func() { _ = c.Close(); <-said }()
	got, err := http.ReadResponse(bufio.NewReader(c), nil)
	switch {
	case err != nil:
		return "", err
	case got.StatusCode == 200:
		return "ok", nil
	case got.StatusCode == 503 && got.Header.Get(FieldRefused) != "":
		return "refused", nil
	}
	return got.Status, nil
}

func (a *frontAsk) askH2(c net.Conn, path string) (string, error) {
	h2 := http2.NewClient(c, &http2.Options{})
	done := make(chan struct{})
	go func() { defer close(done); _ = h2.Run() }()
	defer func() { h2.Close(); <-done }()
	h := get(path)
	h.Method = []byte(a.method)
	if a.ours {
		h.Fields = append(h.Fields, http1.Field{Name: []byte(FieldGateway), Value: []byte("g")})
	}
	s, err := h2.Open(h, a.body == 0)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if a.body > 0 {
		if _, err := s.WriteBody(make([]byte, a.body), true); err != nil {
			return "", err
		}
		s.Flush()
	}
	got, err := s.ReadHead()
	if reset, is := errors.AsType[*http2.StreamError](err); is && reset.Unprocessed {
		return "refused", nil
	}
	if err != nil {
		return "", err
	}
	if got.Status != 200 {
		return strconv.Itoa(got.Status), nil
	}
	return "ok", nil
}

// retriable says whether the request may be refused; perhaps only once all of it has come.
func (a *frontAsk) retriable() bool {
	return a.body <= window && (a.ours || a.version == fleet.HTTP2 || a.method == "GET" || a.method == "PUT")
}

func drawFrontPlan(t *rapid.T) *frontPlan {
	ms := func(most int, what string) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, what)) * time.Millisecond
	}
	p := &frontPlan{}
	wait := 100 * time.Millisecond * time.Duration(rapid.IntRange(0, 5).Draw(t, "max wait"))
	limit, at := 0, time.Duration(0)
	for range rapid.IntRange(1, 4).Draw(t, "orders") { // the limit only grows: who has a place keeps it
		limit += rapid.IntRange(1, 3).Draw(t, "limit")
		p.orders = append(p.orders, timedOrders{at, Orders{Incarnation: "r-1", Limit: limit, MaxWait: wait, Report: rapid.Bool().Draw(t, "report")}})
		at += ms(500, "after") + time.Microsecond
	}
	last := p.orders[len(p.orders)-1]
	switch rapid.IntRange(0, 2).Draw(t, "end") {
	case 1:
		last.Limit = 0
		p.orders = append(p.orders, timedOrders{at, last.Orders})
	case 2:
		last.Refusing = true
		p.orders = append(p.orders, timedOrders{at, last.Orders})
	}
	at = 500 * time.Microsecond
	for range rapid.IntRange(1, 30).Draw(t, "requests") {
		at += ms(50, "pause") + time.Millisecond // one after another: their order is known
		a := frontAsk{
			at: at, version: rapid.SampledFrom(versions).Draw(t, "version"), ours: rapid.Bool().Draw(t, "ours"),
			method: rapid.SampledFrom([]string{"GET", "POST", "PUT"}).Draw(t, "method"), takes: ms(300, "takes"),
		}
		if a.method != "GET" {
			a.body = rapid.SampledFrom([]int{0, 10, window, window + 1, 4 * window}).Draw(t, "body")
		}
		if rapid.IntRange(0, 5).Draw(t, "leaves") == 0 {
			a.leaves = time.Millisecond + ms(400, "after") + rapid.SampledFrom([]time.Duration{0, 300 * time.Microsecond}).Draw(t, "and")
		}
		p.asks = append(p.asks, a)
	}
	return p
}

// Whatever comes in whatever order: each request is answered by the application, which sees it once, or refused, which
// means that the application never sees it and its sender may send it elsewhere, or its client has left. There are never
// more at the application than there are places, nobody overtakes who came before, and in the end it all adds up.
func TestFrontConservation(t *testing.T) {
	kinds := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		p := drawFrontPlan(rt)
		day := p.live(t)
		for kind, n := range day.check(p, rt.Fatalf) {
			kinds[kind] += n
		}
	})
	for _, kind := range []string{"ok", "refused", "left", "waited"} {
		if kinds[kind] == 0 {
			t.Errorf("nothing was %s: the test shows too little: %v", kind, kinds)
		}
	}
	t.Log(kinds)
}

// check says what is wrong with the day, and counts what became of requests.
func (d *frontDay) check(p *frontPlan, fatal func(string, ...any)) (kinds map[string]int) {
	kinds = map[string]int{"waited": int(d.seen.Limited)}
	var turned uint64
	for i, got := range d.fates {
		a := &p.asks[i]
		kinds[got.answer]++
		switch {
		case got.answer == "ok" && got.seen == 1:
		case got.answer == "refused" && got.seen == 0 && a.retriable():
			turned++
			if wait := p.orders[0].MaxWait; got.took > wait+time.Second { // who cannot be refused yet is looked at every second
				fatal("request %d %+v waited for %v to be refused, though nobody should for more than %v", i, *a, got.took, wait)
			}
		case got.answer == "left" && got.seen <= 1 && a.leaves > 0:
		default:
			fatal("request %d %+v: %+v", i, *a, got)
		}
	}
	served := slices.DeleteFunc(slices.Clone(d.fates), func(f frontFate) bool { return f.seen == 0 })
	if !slices.IsSortedFunc(served, func(a, b frontFate) int { return int(a.seenAt - b.seenAt) }) {
		fatal("somebody was overtaken: %+v", served)
	}
	if d.crowded != "" || d.unsettle != "" {
		fatal("crowded: %s; unsettled: %s", d.crowded, d.unsettle)
	}
	// A client that left may have done so before its request was read, or been refused without hearing of it.
	got, left := d.seen, uint64(kinds["left"])
	all := uint64(len(p.asks))
	if got.Open != 0 || got.Waiting != 0 || d.taken != 0 || got.Total > all || got.Total+left < all || got.Refused < turned || got.Refused > turned+left {
		fatal("got %+v and %d places taken in the end, of %d requests, %d refused, %d left", got, d.taken, all, turned, left)
	}
	return kinds
}

// The law above can fail: with a line that forgets who waits, and with one that lets newcomers pass.
func TestFrontConservationNotices(t *testing.T) {
	p := &frontPlan{orders: []timedOrders{{0, Orders{Limit: 1}}}, asks: []frontAsk{{method: "GET"}, {method: "POST"}}}
	ok := func() frontDay {
		return frontDay{fates: []frontFate{{seen: 1, seenAt: 1, answer: "ok"}, {seen: 1, seenAt: 2, answer: "ok"}}, seen: Seen{Total: 2}}
	}
	for name, spoil := range map[string]func(*frontDay){
		"nothing":           func(*frontDay) {},
		"seen twice":        func(d *frontDay) { d.fates[0].seen = 2 },
		"not seen":          func(d *frontDay) { d.fates[0].seen = 0 },
		"refused, but seen": func(d *frontDay) { d.fates[0].answer = "refused" },
		"refused a POST":    func(d *frontDay) { d.fates[1] = frontFate{answer: "refused"} },
		"overtaken":         func(d *frontDay) { d.fates[0].seenAt = 3 },
		"left open":         func(d *frontDay) { d.seen.Open = 1 },
		"a place lost":      func(d *frontDay) { d.taken = 1 },
		"not counted":       func(d *frontDay) { d.seen.Total = 1 },
	} {
		day, failed := ok(), false
		spoil(&day)
		day.check(p, func(string, ...any) { failed = true })
		if failed != (name != "nothing") {
			t.Errorf("%s: noticed is %t", name, failed)
		}
	}
}

// Who may be refused waits for MaxWait and no longer; who may not waits as long as it takes, and is served.
func TestFrontMaxWait(t *testing.T) {
	const wait, long = 700 * time.Millisecond, 10 * time.Second
	p := &frontPlan{
		orders: []timedOrders{{0, Orders{Incarnation: "r-1", Limit: 1, MaxWait: wait}}},
		asks:   []frontAsk{{at: time.Millisecond, method: "GET", takes: long}},
	}
	for i, a := range []frontAsk{
		{method: "GET"},
		{method: "GET", version: fleet.HTTP2},
		{method: "POST", ours: true, body: 10},
		{method: "POST", version: fleet.HTTP2, body: 10},
		{method: "POST"},
		{method: "PUT", body: window + 1},
		{method: "POST", ours: true, body: 4 * window},
	} {
		a.at = time.Duration(i+2) * time.Millisecond
		p.asks = append(p.asks, a)
	}
	day := p.live(t)
	day.check(p, t.Fatalf)
	for i, got := range day.fates[1:] {
		a := p.asks[i+1]
		switch {
		case a.retriable() && (got.answer != "refused" || got.took != wait):
			t.Errorf("%+v: got %+v, want a refusal after %v", a, got, wait)
		case !a.retriable() && (got.answer != "ok" || got.took < long-time.Second):
			t.Errorf("%+v: got %+v, want an answer once there is a place", a, got)
		}
	}
}

// Told to refuse, a front does so at once, also to those who wait.
func TestFrontRefusesThoseWhoWait(t *testing.T) {
	o := Orders{Incarnation: "r-1", Limit: 1, MaxWait: time.Hour}
	refusing := o
	refusing.Refusing = true
	const when = 3 * time.Second
	p := &frontPlan{orders: []timedOrders{{0, o}, {when, refusing}}}
	for i := range 5 {
		for j, version := range versions {
			p.asks = append(p.asks, frontAsk{at: time.Duration(2*i+j+1) * time.Millisecond, method: "GET", version: version, takes: time.Minute})
		}
	}
	day := p.live(t)
	for i, got := range day.fates[1:] {
		if a := p.asks[i+1]; got.answer != "refused" || a.at+got.took != when {
			t.Errorf("%+v: got %+v, want a refusal at %v", a, got, when)
		}
	}
	if day.fates[0].answer != "ok" {
		t.Errorf("got %+v, want what was there answered", day.fates[0])
	}
}
