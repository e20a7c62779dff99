package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

// A gateway and two instances behind fronts, of which one takes nothing any more: whatever clients send, in whichever
// protocol and by whichever method, is served by the other one, and nobody hears of it.
func TestFrontThatRefusesLosesNothingBehindAGateway(t *testing.T) {
	for _, inner := range versions {
		t.Run(inner.String(), func(t *testing.T) {
			var answered [2]atomic.Int64
			var fronts [2]*Front
			addresses := make([]string, len(fronts))
			for i := range fronts {
				fronts[i] = &Front{}
				addresses[i] = fronted(t, fronts[i], func(rw http.ResponseWriter, r *http.Request) {
					answered[i].Add(1)
					if strings.HasPrefix(r.Header.Get("Content-Type"), grpcType) {
						_, _ = io.Copy(io.Discard, r.Body)
						rw.Header().Set("Content-Type", grpcType)
						rw.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
						_, _ = rw.Write([]byte("\x00\x00\x00\x00\x00"))
						return
					}
					n, _ := io.Copy(io.Discard, r.Body)
					fmt.Fprint(rw, n)
				}).addr
			}
			fronts[0].Order(Orders{Incarnation: "app-0", Refusing: true})
			fronts[1].Order(Orders{Incarnation: "app-1", Report: true})
			w := newWorld(t, Options{ID: "gateway-1"}, addresses...)
			v := w.view(addresses...)
			for i := range v.Services[0].Endpoints {
				v.Services[0].Endpoints[i].Front = true
			}
			v.Services[0].Pools[0].Policy = fleet.Policy{HTTP: inner, Algorithm: fleet.RoundRobin}
			w.apply(v)
			const each = 10
			sent := int64(0)
			for _, outer := range versions {
				c := w.client(outer)
				for _, method := range []string{"GET", "POST", "PATCH"} {
					for range each {
						sent++
						body := ""
						if method != "GET" {
							body = "some words"
						}
						a, got := ask(t, c, w.from(method, "/", strings.NewReader(body)))
						if a.StatusCode != 200 || got != strconv.Itoa(len(body)) {
							t.Errorf("%s over %s: got %s %q", method, outer, a.Status, got)
						}
						for name := range a.Header {
							if strings.HasPrefix(strings.ToLower(name), "crossfade-") || http1.EqualFold([]byte(name), FieldLoad) {
								t.Errorf("%s over %s: the client sees %s", method, outer, name)
							}
						}
					}
				}
			}
			if inner == fleet.HTTP2 {
				c := w.dialStreams()
				for range each {
					sent++
					if status, _, text := outcomeOf(t, c, call("/a.B/C")); status != "0" {
						t.Errorf("got the status %q of a call: %s", status, text)
					}
				}
			}
			// Some of a call or a POST that comes in pieces may have come too late to be refused: then it was served.
			eventually(t, "nothing is open", func() bool { return fronts[0].Seen().Open == 0 })
			seen := fronts[0].Seen()
			if seen.Refused == 0 || seen.Refused+uint64(answered[0].Load()) != seen.Total || seen.Foreign != 0 {
				t.Errorf("the one that refuses has seen %+v, and answered %d", seen, answered[0].Load())
			}
			if all := answered[0].Load() + answered[1].Load(); all != sent {
				t.Errorf("got %d of %d answered, each once", all, sent)
			}
			w.wantConserved()
		})
	}
}

// A WebSocket through a front that reports, marks and limits is opened, marked and carried like any other.
func TestFrontCarriesWebSockets(t *testing.T) {
	f := &Front{}
	f.Order(Orders{Incarnation: "r-1", Limit: 1, MaxWait: time.Hour, Report: true, Leaving: true})
	w := fronted(t, f, func(rw http.ResponseWriter, _ *http.Request) {
		nc, r, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer nc.Close()
		fmt.Fprint(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCrossfade-Drain: made-up\r\n\r\n")
		_, _ = io.Copy(nc, r)
	})
	for range 2 { // the first has given its place back
		c := w.dial()
		c.say("GET /ws HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n")
		a, err := http.ReadResponse(c.r, nil)
		if err != nil || a.StatusCode != 101 {
			t.Fatalf("got %v, %v, want 101", a, err)
		}
		if got := fmt.Sprint(a.Header.Values(FieldDrain)); got != "[r-1]" {
			t.Errorf("got the mark %s, want [r-1]", got)
		}
		c.say("\x82\x02hi")
		echoed := make([]byte, 4)
		if _, err := io.ReadFull(c.r, echoed); err != nil || string(echoed) != "\x82\x02hi" {
			t.Errorf("got %q, %v back", echoed, err)
		}
	}
	wantSeen(t, f, Seen{Open: 2, Total: 2, Foreign: 2})
}

// Interim answers pass a front, without what an application makes up.
func TestFrontPassesInterimAnswers(t *testing.T) {
	f := &Front{}
	f.Order(Orders{Incarnation: "r-1", Leaving: true})
	w := fronted(t, f, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set(FieldRefused, "made-up")
		rw.Header().Set("Link", "</style.css>")
		rw.WriteHeader(103)
		rw.Header().Del("Link")
		_, _ = io.Copy(rw, r.Body)
	})
	c := w.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	text, err := bufio.NewReader(c.r).Peek(len("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"))
	if want := "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"; err != nil || string(text) != want {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
}
