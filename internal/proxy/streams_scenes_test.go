package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// Calls are counted by the status that each of them ended with, while others end beside it.
func TestCallsAreCountedByTheirOwnStatus(t *testing.T) {
	w := newWorld(t, Options{}, serveStreams(t, func(s *http2.Stream) {
		_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
		status := s.Request().Path[len("/x/"):]
		_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1]}, false)
		_, _ = s.WriteBody([]byte("\x00\x00\x00\x00\x00"), false)
		_ = s.WriteTrailers([]http1.Field{{Name: []byte("grpc-status"), Value: status}})
	}))
	w.speak(fleet.HTTP2)
	const each = 250
	var side sync.WaitGroup
	for range 2 {
		c := w.dialStreams()
		for _, path := range []string{"/x/0", "/x/5", "/x/7", "/x/14"} {
			side.Go(func() {
				for range each {
					outcomeOf(t, c, call(path))
				}
			})
		}
	}
	side.Wait()
	w.wantConserved()
	want := []evidence.Code{{Status: 0, N: 2 * each}, {Status: 5, N: 2 * each}, {Status: 7, N: 2 * each}, {Status: 14, N: 2 * each}}
	if got := w.listener().Traffic.Requests.Counts().Calls; !slices.Equal(got, want) {
		t.Errorf("the listener counted %v, want %v", got, want)
	}
	if got := w.p.State().services[0].Endpoints[0].Traffic.Counts().Calls; !slices.Equal(got, want) {
		t.Errorf("the endpoint counted %v, want %v", got, want)
	}
}

// Settings that are none are refused before the connection goes on in HTTP/2.
func TestH2CUpgradeWithoutSettings(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	for _, settings := range []string{"AAAA", "AAQA_____w", "!"} {
		c := w.dial()
		c.say("GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: %s\r\n\r\n", settings)
		if a, _ := c.answer("GET"); a.StatusCode != 400 {
			t.Errorf("%s: got %s, want 400", settings, a.Status)
		}
		c.wantEnd()
	}
	w.wantConserved()
}

// An endpoint that ignores the upgrade has not accepted a WebSocket, whatever it answers.
func TestTunnelIgnoredOverStreams(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	c := w.dialStreams()
	eventually(t, "the settings have come", c.Extended)
	h := get("/ws")
	h.Method, h.Protocol = []byte("CONNECT"), []byte(websocket)
	s, err := c.Open(h, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a, err := s.ReadHead(); err != nil || a.Status != 502 {
		t.Errorf("got %+v and %v, want 502", a, err)
	}
	w.wantConserved()
}

// What an endpoint does after the last byte of its answer is not cancelled, whichever versions the two sides speak.
func TestTranslationsLetEndpointsFinish(t *testing.T) {
	after, whole := make(chan error, 1), make(chan struct{})
	translate(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Length", "1000")
		_, _ = rw.Write(make([]byte, 1000))
		_ = http.NewResponseController(rw).Flush()
		<-whole
		after <- r.Context().Err()
	}, func(t *testing.T, w *world, c *http.Client, _, _ fleet.HTTP) {
		t.Helper()
		a, err := c.Do(w.request("GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(a.Body, make([]byte, 1000)); n != 1000 || err != nil {
			t.Errorf("got %d bytes and %v, want 1000", n, err)
		}
		whole <- struct{}{}
		if err := <-after; err != nil {
			t.Errorf("after its last byte the endpoint hears: %v", err)
		}
		_ = a.Body.Close()
	})
}

// A connection whose listener is gone takes the last routes that it had, however old it is.
func TestLastRoutesOfAListenerThatIsGone(t *testing.T) {
	for _, version := range versions {
		w := newWorld(t, Options{}, handle(t, echo))
		c := w.client(version)
		responds := func(status int) fleet.View {
			v := w.view()
			v.Listeners[0].Hosts[0].Routes = []fleet.Route{{
				Matches: []fleet.Match{{Path: fleet.StringMatch{Prefix: "/"}}}, Respond: &fleet.Respond{Status: status},
			}}
			return v
		}
		for _, status := range []int{201, 202} {
			w.apply(responds(status))
			if a, _ := ask(t, c, w.request("GET", "/", nil)); a.StatusCode != status {
				t.Errorf("%s: got %s, want %d", version, a.Status, status)
			}
		}
		gone := w.view()
		gone.Listeners = nil
		w.apply(gone)
		if a, _ := ask(t, c, w.request("GET", "/", nil)); a.StatusCode != 202 {
			t.Errorf("%s: the listener is gone: got %s, want 202, as before", version, a.Status)
		}
	}
}

// Uploads that an endpoint does not read keep others of the same client waiting for nothing.
func TestStalledUploadsHinderNobody(t *testing.T) {
	const stalled = 12 // which fill more than a half of what the connection holds
	hold := make(chan struct{})
	w := newWorld(t, Options{}, handle(t, func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/stalled") {
			<-hold
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, n, err)
	}))
	c := w.client(fleet.HTTP2)
	var side sync.WaitGroup
	upload := func(path string, size int) (string, error) {
		a, err := c.Do(w.request("POST", path, strings.NewReader(strings.Repeat(".", size))))
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(a.Body)
		return string(b), err
	}
	const size = 16 << 20 // more than sockets and windows hold
	for range stalled {
		side.Go(func() {
			if got, err := upload("/stalled", size); err != nil || got != fmt.Sprint(size, nil) {
				t.Errorf("got %q and %v, want all of it once it is read", got, err)
			}
		})
	}
	eventually(t, "they are at it", func() bool { return w.listener().Traffic.Requests.Active.Load() == stalled })
	for range 3 {
		if got, err := upload("/fast", 4<<20); err != nil || got != fmt.Sprint(4<<20, nil) {
			t.Errorf("got %q and %v, want all of it", got, err)
		}
	}
	close(hold)
	side.Wait()
	w.wantConserved()
}
