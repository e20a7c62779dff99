package proxy

import (
	"io"
	"net/http"
	"testing"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
)

// wantDirect waits until the front has counted that many requests past the gateways at its only port, and has them end so.
func wantDirect(t testing.TB, f *Front, port uint32, total uint64, ends ending.Sums) evidence.Counts {
	t.Helper()
	var got evidence.Counts
	eventually(t, "what came past the gateways is counted", func() bool {
		got = evidence.Counts{}
		f.Direct(func(p uint32, c *evidence.Counts) {
			if got.Total > 0 || p != port {
				t.Errorf("port %d is not the only one", p)
			}
			got = *c
		})
		return got.Total == total && got.Ends == ends
	})
	return got
}

// What comes past the gateways is counted once, by how it ended; what a gateway sends, and what only checks, is not.
func TestFrontCountsWhatComesPastTheGateways(t *testing.T) {
	for _, version := range versions {
		t.Run(version.String(), func(t *testing.T) {
			f := &Front{}
			w := fronted(t, f, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/broken" {
					rw.WriteHeader(http.StatusBadGateway)
				}
			})
			port := w.p.State().Services()[0].Port
			c := w.client(version)
			wantDirect(t, f, port, 0, ending.Sums{})
			for _, path := range []string{"/", "/broken"} {
				ask(t, c, w.from("GET", path, nil, byGateway))
				ask(t, c, w.from("GET", path, nil, "User-Agent: kube-probe/1.34"))
			}
			wantSeen(t, f, Seen{Total: 2})
			wantDirect(t, f, port, 0, ending.Sums{})
			for range 3 {
				ask(t, c, w.from("GET", "/", nil))
			}
			ask(t, c, w.from("GET", "/broken", nil))
			ask(t, c, w.from("GET", "/", nil, byGateway)) // over the same connection
			got := wantDirect(t, f, port, 4, ending.Sums{ending.Served: 3, ending.ServerError: 1})
			if got.Answered() != 4 || got.Class(5) != 1 || got.Open() != 0 {
				t.Errorf("got %+v, want four answers, one of them a 502", got)
			}
			// A state that says the same, or other things, counts on from there.
			v := w.view()
			v.Services = w.p.State().View().Services
			v.Number++
			w.apply(v)
			ask(t, c, w.from("GET", "/", nil))
			wantDirect(t, f, port, 5, ending.Sums{ending.Served: 4, ending.ServerError: 1})
			w.wantConserved()
		})
	}
}

// A request is open until its answer's last byte, and lost where the front turns it away, or nobody is behind it.
func TestFrontCountsWhatIsLostPastTheGateways(t *testing.T) {
	f, hold := &Front{}, make(chan struct{})
	w := fronted(t, f, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			_ = http.NewResponseController(rw).Flush()
			<-hold
		}
	})
	port := w.p.State().Services()[0].Port
	held, err := w.client(fleet.HTTP1).Do(w.from("GET", "/held", nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := wantDirect(t, f, port, 1, ending.Sums{}); got.Open() != 1 {
		t.Errorf("got %d open, want one", got.Open())
	}
	f.Order(Orders{Incarnation: "r-1", Leaving: true, Refusing: true})
	if a, _ := ask(t, w.client(fleet.HTTP1), w.from("GET", "/", nil)); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s, want it refused", a.Status)
	}
	wantDirect(t, f, port, 2, ending.Sums{ending.Overflow: 1})
	close(hold)
	_, _ = io.Copy(io.Discard, held.Body)
	_ = held.Body.Close()
	wantDirect(t, f, port, 2, ending.Sums{ending.Served: 1, ending.Overflow: 1})

	alone := &Front{}
	w = frontedAt(t, alone, "127.0.0.1:1")
	ask(t, w.client(fleet.HTTP1), w.from("GET", "/", nil))
	wantDirect(t, alone, port, 1, ending.Sums{ending.Refused: 1})
}

// To count it costs nothing.
func TestCountingPastTheGatewaysAllocatesNothing(t *testing.T) {
	f := &Front{}
	once := keepAliveBy(t, Options{Front: f}, func(v *fleet.View) { v.Services[0].Inbound = true })
	wantNone(t, once)
	n := uint64(0)
	f.Direct(func(_ uint32, c *evidence.Counts) { n = c.Total })
	if n < 2000 {
		t.Errorf("%d were counted, want all of them", n)
	}
}
