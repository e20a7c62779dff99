package proxy

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// Once a state without an endpoint is in force and nothing is open there any more, the endpoint never hears of
// another request: it may be stopped.
func TestNothingComesAfterOpenIsZero(t *testing.T) {
	var stopped [2]atomic.Bool
	var late atomic.Int64
	var addresses []string
	for i := range stopped {
		addresses = append(addresses, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
			for {
				if _, err := readHead(r); err != nil {
					return
				}
				if stopped[i].Load() {
					late.Add(1)
				}
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}))
	}
	w := newWorld(t, Options{}, addresses...)
	// Between the moment at which a request looks at the state and its pick, a slow match leaves time for a swap.
	slow := func() fleet.View {
		v := w.view(addresses...)
		routes := &v.Listeners[0].Hosts[0].Routes
		*routes = append([]fleet.Route{{
			Matches:      []fleet.Match{{Path: fleet.StringMatch{Regex: "/(x+x+)+y"}}},
			Destinations: (*routes)[0].Destinations,
		}}, *routes...)
		return v
	}
	w.apply(slow())
	request := []byte("GET /" + strings.Repeat("x", 6000) + " HTTP/1.1\r\nHost: app\r\n\r\n")
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		c := w.dial()
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := c.Write(request); err != nil {
					return
				}
				resp, err := http.ReadResponse(c.r, nil)
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("got %v, %v, want 200", resp, err)
					return
				}
			}
		})
	}
	total := &w.listener().Traffic.Requests.Total
	rounds := 50
	if raceEnabled { // each costs five times as much, and the connections' deadline is real
		rounds = 15
	}
	for round := range rounds {
		leaver := round % 2
		v := slow()
		v.Services[0].Endpoints[leaver].Stage = fleet.Draining
		w.apply(v)
		name := v.Services[0].Endpoints[leaver].Incarnation
		eventually(t, "nothing is open at the leaver", func() bool { return w.p.State().Open()[name] == 0 })
		stopped[leaver].Store(true)
		before := total.Load()
		eventually(t, "requests go on", func() bool { return total.Load() > before+20 })
		stopped[leaver].Store(false)
		w.apply(slow())
	}
	close(done)
	clients.Wait()
	if n := late.Load(); n != 0 {
		t.Errorf("got %d requests at an endpoint that had none open, want 0", n)
	}
	w.wantConserved()
}

func TestCountsAndConnectionsOutliveAReload(t *testing.T) {
	addr := handle(t, echo)
	w := newWorld(t, Options{}, addr)
	c := w.dial()
	for range 10 {
		c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		c.wantAnswer("GET", 200, "GET / ")
		w.apply(w.view(addr))
	}
	w.wantConserved()
	e := w.p.State().Services()[0].Endpoints[0].Traffic
	if total, connects := e.Total.Load(), e.Connects.Load(); total != 10 || connects != 1 {
		t.Errorf("got %d requests over %d connections, want 10 over 1", total, connects)
	}
	if total := w.listener().Traffic.Requests.Total.Load(); total != 10 {
		t.Errorf("got %d requests at the listener, want 10", total)
	}
	w.apply(w.view("reborn=" + addr)) // the same address, another run of the application
	if total := w.p.State().Services()[0].Endpoints[0].Traffic.Total.Load(); total != 0 {
		t.Errorf("got %d requests at a new incarnation, want 0", total)
	}
}

func TestAListenerThatLeftServesItsConnections(t *testing.T) {
	w := newWorld(t, Options{}, "one="+handle(t, echo))
	c := w.dial()
	c.say("GET /1 HTTP/1.1\r\nHost: app\r\n\r\n")
	c.wantAnswer("GET", 200, "GET /1 ")
	v := w.view("two=" + handle(t, echo)) // and its endpoints are others, too
	v.Listeners = nil
	w.apply(v)
	w.door.Leave()
	c.say("GET /2 HTTP/1.1\r\nHost: app\r\n\r\n")
	if resp := c.wantAnswer("GET", 200, "GET /2 "); !resp.Close {
		t.Error("the answer does not say Connection: close")
	}
	if total := w.p.State().Services()[0].Endpoints[0].Traffic.Total.Load(); total != 1 {
		t.Errorf("got %d requests at the endpoint that came, want 1", total)
	}
}

func TestCompileRefusesBadRoutes(t *testing.T) {
	w := newWorld(t, Options{})
	v := w.view()
	v.Listeners[0].Hosts[0].Routes[0].Matches = []fleet.Match{{Path: fleet.StringMatch{Regex: "("}}}
	if _, err := Compile(w.p.State(), v, nil, w.o, time.Now()); err == nil {
		t.Error("got no error for a broken regular expression")
	}
}
