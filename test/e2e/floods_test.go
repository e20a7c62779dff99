//go:build integration

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// A flood is something said again and again.
type flood struct {
	name string
	say  func(r *raider, i int) error
	deaf bool // and its answers not read
	slit bool // with windows of one byte
}

// quick is answered at once, patient when its client leaves.
const (
	quick   = "/one/1"
	patient = "/one/wait"
)

var floods = []flood{
	{name: "rapid reset", say: func(r *raider, i int) error {
		return errors.Join(r.ask(stream(i), "GET", quick), r.framer.WriteRSTStream(stream(i), http2.ErrCodeCancel))
	}},
	{name: "rapid reset of what takes long", say: func(r *raider, i int) error {
		return errors.Join(r.ask(stream(i), "GET", patient), r.framer.WriteRSTStream(stream(i), http2.ErrCodeCancel))
	}},
	{name: "resets that the gateway is made to send", say: func(r *raider, i int) error {
		return errors.Join(r.ask(stream(i), "GET", patient), r.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, stream(i), make([]byte, 4)))
	}},
	{name: "malformed requests", say: func(r *raider, i int) error { return r.ask(stream(i), "GET", quick, "Capital", "1") }},
	{name: "streams beyond the bound", say: func(r *raider, i int) error { return r.ask(stream(i), "GET", patient) }},
	{name: "SETTINGS", say: func(r *raider, _ int) error { return r.framer.WriteSettings() }},
	{name: "PING", say: func(r *raider, _ int) error { return r.framer.WritePing(false, [8]byte{}) }},
	{name: "PING whose answers are not read", deaf: true, say: func(r *raider, _ int) error {
		return r.framer.WritePing(false, [8]byte{})
	}},
	{name: "PRIORITY", say: func(r *raider, _ int) error {
		return r.framer.WritePriority(1, http2.PriorityParam{StreamDep: 3})
	}},
	{name: "frames of no known type", say: func(r *raider, _ int) error { return r.framer.WriteRawFrame(0x99, 0, 0, nil) }},
	{name: "WINDOW_UPDATE", say: func(r *raider, _ int) error { return r.framer.WriteWindowUpdate(0, 1) }},
	{name: "empty DATA", say: func(r *raider, i int) error {
		if i == 0 {
			return r.ask(1, "POST", patient)
		}
		return r.framer.WriteData(1, false, nil)
	}},
	{name: "CONTINUATION", say: func(r *raider, i int) error {
		if i == 0 {
			return r.framer.WriteRawFrame(http2.FrameHeaders, 0, 1, r.fields(":method", "GET", ":scheme", "http", ":path", quick))
		}
		return r.framer.WriteContinuation(1, false, r.fields(fmt.Sprint("x-", i), "1"))
	}},
	{name: "heads that unpack to too much", say: (*raider).bomb},
	{name: "windows of one byte", slit: true, say: func(r *raider, i int) error {
		if i == 0 {
			return r.ask(1, "GET", "/one/10000000")
		}
		return r.framer.WriteWindowUpdate(1, 1)
	}},
}

// TestFloods has raiders say each of the floods on several connections. Each of these is told to be calm and closed;
// what the gateway spends on it is bounded by what it spends on so many requests of honest clients; memory is bounded
// too, however often it happens; and clients beside, of HTTP/1.1 and of HTTP/2, lose nothing.
func TestFloods(t *testing.T) {
	launched, _, _ := launchHTTP2(t, nil)
	s := &siege{t: t, gateway: launched.gateway(t).pid}
	s.watch()
	one := beginLoad(t, bystanders, "http://"+ingress+"/calm-one/1000")
	two := honest(t)
	one.seconds(t, 1)
	price := s.price(two)
	s.resting.memory = s.memory()
	t.Logf("an honest request costs %v, memory at rest is %d KB", price, s.resting.memory>>10)
	s.allowed = slack + raiders*streamsOfRaider*streamCost
	for _, round := range []string{"", " again"} { // however often it happens
		for _, f := range floods {
			t.Run(f.name+round, func(t *testing.T) { s.flooded(t, f, two, price) })
		}
	}
	t.Run("windows held shut", s.heldShut)
	t.Run("heads at the bound", headsAtTheBound)
	if asked, failed := two.stop(); len(failed) > 0 {
		t.Errorf("of the others' %d requests over HTTP/2 %d were lost: %v", asked, len(failed), failed[0])
	}
	account, shots := one.stop(t)
	if n := len(lost(shots)); n > 0 {
		t.Errorf("of the others' %d requests over HTTP/1.1 %d were lost, want none: %v", account.Sent, n, account.Lost)
	}
}

// What raiders may cost: as much processor time as so many honest requests each, however much they say, and the memory
// of a head on each stream.
const (
	raiders         = 10
	worthOfRaider   = 1000
	streamsOfRaider = 250
	streamCost      = 64 << 10
)

// flooded has several raiders say one flood.
func (s *siege) flooded(t *testing.T, f flood, beside *honesty, price time.Duration) {
	t.Helper()
	const enough = 20_000
	before, answered := s.cpu(), beside.answered()
	said := make([]int, raiders)
	codes := make([]string, raiders)
	var wg sync.WaitGroup
	for i := range raiders {
		var settings []http2.Setting
		if f.slit {
			settings = []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1}}
		}
		r := raid(t, f.deaf, settings...)
		wg.Go(func() { said[i], codes[i] = r.flood(f, enough) })
	}
	wg.Wait()
	total := 0
	for i := range raiders {
		total += said[i]
		want := http2.ErrCodeEnhanceYourCalm.String()
		if f.deaf && codes[i] == "the end" {
			want = codes[i] // who does not read is not waited for
		}
		if codes[i] != want {
			t.Errorf("after %d times a raider heard of %s, want %s", said[i], codes[i], want)
		}
	}
	spent, asked := s.cpu()-before, beside.answered()-answered
	grown := int(s.peak.Load()) - s.resting.memory
	t.Logf("cut after %d times on average; %v of processor time for them and %d requests; memory grew by %d KB", total/raiders, spent, asked, grown>>10)
	bound := func() time.Duration { return 2*time.Duration(raiders*worthOfRaider+asked)*price + 10*cpuTick }
	if spent > bound() { // the machine may have more to do than when the price was taken: then everything costs more of its time
		price = max(price, s.price(beside))
		t.Logf("an honest request costs %v by now", price)
	}
	if spent > bound() {
		t.Errorf("they and %d requests beside cost %v, want at most %v", asked, spent, bound())
	}
	if grown > s.allowed {
		t.Errorf("memory grew by %d KB, want at most %d", grown>>10, s.allowed>>10)
	}
}

// flood says it until the connection ends, or enough is said, and returns how often and what was heard.
func (r *raider) flood(f flood, enough int) (said int, heard string) {
	defer r.nc.Close()
	for said < enough && !r.ended() {
		r.mu.Lock()
		_ = r.nc.SetWriteDeadline(time.Now().Add(soon))
		err := f.say(r, said)
		r.mu.Unlock()
		if err != nil {
			break
		}
		said++
	}
	if f.deaf {
		go r.listen()
	}
	select {
	case <-r.over:
	case <-time.After(soon):
		return said, "no end"
	}
	if r.goAway == nil {
		return said, "the end"
	}
	return said, r.goAway.String()
}

// ended says whether the gateway has closed the connection.
func (r *raider) ended() bool {
	select {
	case <-r.over:
		return true
	default:
		return false
	}
}

// heldShut is clients that ask for much on as many streams as they may open, and never make room for it.
func (s *siege) heldShut(t *testing.T) {
	const few = 4
	s.peak.Store(0)
	streams := 0
	var all []*raider
	for range few {
		r := raid(t, false, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		all = append(all, r)
		n := int(r.settings[http2.SettingMaxConcurrentStreams])
		if n == 0 || n > 1000 {
			t.Fatalf("the gateway allows %d streams at a time, want a bound", n)
		}
		for i := range n {
			r.mu.Lock()
			err := r.ask(stream(i), "GET", "/one/10000000")
			r.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
		streams += n
	}
	eventually(t, soon, func() string {
		heads := 0
		for _, r := range all {
			r.mu.Lock()
			heads += len(r.answers)
			r.mu.Unlock()
		}
		if heads < streams {
			return fmt.Sprintf("%d of %d heads of answers", heads, streams)
		}
		return ""
	})
	grown := int(s.peak.Load()) - s.resting.memory
	t.Logf("%d streams wait; memory grew by %d KB", streams, grown>>10)
	if bound := slack + streams*(128<<10); grown > bound {
		t.Errorf("memory grew by %d KB, want at most %d", grown>>10, bound>>10)
	}
	if full() { // there is time to wait for the end of the gateway's patience
		eventually(t, 2*late, func() string {
			for _, r := range all {
				r.mu.Lock()
				n := len(r.resets)
				r.mu.Unlock()
				if n < streams/few && r.goAway == nil {
					return fmt.Sprintf("%d of %d streams were reset", n, streams/few)
				}
			}
			return ""
		})
	}
	for _, r := range all {
		_ = r.nc.Close()
	}
}

// headsAtTheBound are heads just below and above what the gateway says that it takes: the one is answered, the other
// refused, and the connection is good for more.
func headsAtTheBound(t *testing.T) {
	r := raid(t, false)
	bound := int(r.settings[http2.SettingMaxHeaderListSize])
	if bound == 0 {
		t.Fatal("the gateway does not say how large a head may be")
	}
	for i, c := range []struct {
		spare int
		want  string
	}{{1000, "200"}, {-1000, "431"}, {1000, "200"}} {
		size := bound - c.spare - 500 // the rest of the head
		var more []string
		for n := 0; size > 0; n++ {
			value := strings.Repeat("x", min(size, 8000)-40)
			more = append(more, fmt.Sprintf("x-%04d", n), value)
			size -= len(value) + 38
			if size < 100 {
				break
			}
		}
		r.mu.Lock()
		err := r.long(stream(i), more)
		r.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		r.wantStatus(t, stream(i), c.want)
	}
}

// cpuTick is the unit in which Linux tells processor time to everybody.
const cpuTick = 10 * time.Millisecond

// cpu is the processor time that the gateway has taken.
func (s *siege) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.gateway))
	if err != nil {
		s.t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on
	ticks := 0
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		if err != nil {
			s.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * cpuTick
}

// price is what an honest request costs the gateway.
func (s *siege) price(h *honesty) time.Duration {
	const requests = 2000
	before, answered := s.cpu(), h.answered()
	eventually(s.t, late, func() string {
		if n := h.answered() - answered; n < requests {
			return fmt.Sprintf("%d of %d requests", n, requests)
		}
		return ""
	})
	return (s.cpu() - before) / time.Duration(h.answered()-answered)
}
