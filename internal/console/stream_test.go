package console

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are made in memory, so that time in a bubble goes on while somebody waits at one.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 15010} }

// dial returns a client's end.
func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// served runs the console of w on pipes until the test ends.
func served(t *testing.T, w *world) *pipes {
	t.Helper()
	p := newPipes()
	w.listener = p
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p
}

// get begins a request on a connection of its own.
func get(t *testing.T, p *pipes, target string, fields ...string) net.Conn {
	t.Helper()
	conn := p.dial()
	head := "GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1:15010\r\n" + strings.Join(fields, "\r\n")
	if len(fields) > 0 {
		head += "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// following reads a stream for a while.
func following(t *testing.T, conn net.Conn, d time.Duration) (*http.Response, string) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "deadline") && !strings.Contains(err.Error(), "timeout") {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestStreamsTellWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Access{})
		p := served(t, w)
		conn := get(t, p, "/api/v1/stream?topic=overview&topic=service:ratings:9080&topic=releases")
		go func() {
			time.Sleep(3500 * time.Millisecond)
			w.configure("ratings")
		}()
		resp, text := following(t, conn, 25*time.Second)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("got %d %q", resp.StatusCode, resp.Header)
		}
		wholes := strings.Count(text, "event: whole\n")
		for _, want := range []string{
			"retry: 1000\n\n", `event: whole` + "\n" + `data: {"topic":"releases","data":{"releases":[]}}`, // history has none
			`data: {"topic":"service:ratings:9080","data":{"error":"there is no service \"ratings:9080\""}}`,
			`"name":"reviews:9080"`, `"gone":["reviews:9080"]`, `event: patch` + "\n" + `data: {"topic":"overview","data":{"head":{`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("nobody is told %q in %s", want, text)
			}
		}
		if wholes != 3 { // overview, releases, and the service once it is there
			t.Errorf("got %d wholes, want 3: %s", wholes, text)
		}
	})
}

// Where nothing changes, a line says every ten seconds that we are here.
func TestStreamsBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := served(t, newWorld(t, Access{}))
		_, text := following(t, get(t, p, "/api/v1/stream?topic=releases"), 35*time.Second)
		if got := strings.Count(text, ": here\n\n"); got != 3 {
			t.Errorf("got %d beats in 35 s, want 3: %q", got, text)
		}
	})
}

// Who comes back is told what has been since, and no second twice.
func TestStreamsGoOnWhereTheyEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Access{})
		p := served(t, w)
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second / 2):
					w.History.Tick(time.Now())
				}
			}
		}()
		defer close(stop)
		_, first := following(t, get(t, p, "/api/v1/stream?topic=series::whole"), 10*time.Second)
		ids := lines(first, "id: ")
		if len(ids) < 8 {
			t.Fatalf("got %q", first)
		}
		time.Sleep(20 * time.Second) // away
		_, second := following(t, get(t, p, "/api/v1/stream?topic=series::whole&since=1", "Last-Event-ID: "+ids[len(ids)-1]), 5*time.Second)
		last, froms := ids[len(ids)-1], lines(second, `data: {"topic":"series::whole","data":{"from":`)
		if len(froms) == 0 || !strings.HasPrefix(froms[0], next(t, last)+",") {
			t.Errorf("after %s it goes on with %q", last, froms)
		}
		for i, wrong := range []string{"9223372036854775807", "-9223372036854775808", "x", "", "", ""} { // what a browser never says
			if wrong == "" { // and what it says that came back at once, or before a clock was set back
				wrong = strconv.FormatInt(w.History.Settled()+int64(i)-3, 10)
			}
			if _, got := following(t, get(t, p, "/api/v1/stream?topic=series::whole", "Last-Event-ID: "+wrong), 5*time.Second); strings.Contains(got, "event: gone") || !strings.Contains(got, "event: points") {
				t.Errorf("after %s: %s", wrong, got)
			}
		}
		if strings.Contains(second, `"from":`+last+",") {
			t.Errorf("second %s is told twice: %s", last, second)
		}
	})
}

// lines are what follows a beginning, of the lines that have it.
func lines(text, beginning string) (list []string) {
	for line := range strings.Lines(text) {
		if after, ok := strings.CutPrefix(line, beginning); ok {
			list = append(list, strings.TrimSpace(after))
		}
	}
	return list
}

// next is the second after one.
func next(t *testing.T, second string) string {
	t.Helper()
	n, err := strconv.ParseInt(second, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatInt(n+1, 10)
}

// A client that takes nothing holds its connection for seconds, and nobody else up.
func TestSlowClientsAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Access{})
		p := served(t, w)
		sleeper := get(t, p, "/api/v1/stream?topic=overview") // and reads nothing
		synctest.Wait()
		if got := viewers(w); got != 1 {
			t.Fatalf("%d viewers, want 1", got)
		}
		_, text := following(t, get(t, p, "/api/v1/stream?topic=overview"), 8*time.Second)
		if got := strings.Count(text, "event: patch"); got < 6 {
			t.Errorf("beside one who sleeps, %d patches came in 8 s", got)
		}
		time.Sleep(slow + 2*time.Second)
		synctest.Wait()
		if got := viewers(w); got != 0 {
			t.Errorf("after %v, %d are viewers still", slow, got)
		}
		if _, err := sleeper.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("who slept reads %v, want the end", err)
		}
	})
}

func viewers(w *world) int {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	return len(w.hub.viewers)
}

// A client that sends its request byte by byte is not waited for.
func TestSlowHeadsAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := served(t, newWorld(t, Access{}))
		conn, began := p.dial(), time.Now()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > 10*time.Second {
			t.Errorf("it was waited for %v", waited)
		}
	})
}

// Neither is one whose body does not come; and a head has an end.
func TestSlowBodiesAndLongHeadsAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Access{})
		p := served(t, w)
		for want, request := range map[string]string{
			"":    "POST /api/v1/act HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nX-Crossfade-CSRF: " + w.csrf() + "\r\nContent-Length: 9\r\n\r\n{",
			"431": "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		} {
			conn, began := p.dial(), time.Now()
			go func() { _, _ = io.WriteString(conn, request) }() // not all of it may be read
			answer, err := bufio.NewReader(conn).ReadString('\n')
			if waited := time.Since(began); err != nil && want != "" || !strings.Contains(answer, want) || waited > 2*time.Minute { // both deadlines are a minute: with an answer or without
				t.Errorf("after %v: got %q, %v, want %q", waited, answer, err, want)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A stream ends with the session that began it.
func TestStreamsEndWithTheirSession(t *testing.T) {
	path := twoTokens(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Access{Tokens: path})
		p := served(t, w)
		cookie := w.in(annaToken)
		conn := get(t, p, "/api/v1/stream?topic=releases", "Cookie: "+cookie)
		go func() {
			time.Sleep(15 * time.Second)
			w.ask("POST", "/logout", "", "Cookie", cookie)
		}()
		began := time.Now()
		following(t, conn, time.Hour)
		if took := time.Since(began); took > 15*time.Second+beat+time.Second {
			t.Errorf("it went on for %v", took)
		}
	})
}

func TestStreamsThatCannotBe(t *testing.T) {
	w := newWorld(t, Access{})
	for target, want := range map[string]string{
		"/api/v1/stream":                                      "0 topics",
		"/api/v1/stream?topic=weather":                        `there is no topic \"weather\"`,
		"/api/v1/stream?topic=service:":                       "there is no topic",
		"/api/v1/stream?topic=series:reviews:9080":            "series by",
		"/api/v1/stream?topic=series:reviews":                 "by what?",
		"/api/v1/stream?topic=series:reviews:9080:colour":     "series by",
		"/api/v1/stream?topic=overview&since=yesterday":       "want seconds since 1970",
		"/api/v1/stream?topic=overview&speed=2":               `\"speed\" is not known`,
		"/api/v1/stream?" + strings.Repeat("topic=x:1&", 9):   "9 topics",
		"/api/v1/series?service=reviews:9080&outside=1":       "neither a service nor by",
		"/api/v1/series":                                      "service is missing",
		"/api/v1/series?outside=yes":                          "want one of",
		"/api/v1/series?service=reviews:9080&from=9&to=8":     "from before to",
		"/api/v1/series?service=reviews:9080&from=0&to=90000": "more than 4000 steps",
		"/api/v1/series?service=reviews:9080&step=0":          "from 1 to 86400",
		"/api/v1/episodes?state=asleep":                       "want one of",
		"/api/v1/episodes?limit=0":                            "from 1 to",
		"/api/v1/events?since=x":                              "want a time such as",
		"/api/v1/overview?x=1":                                `\"x\" is not known`,
		"/api/v1/heat?service=reviews:9080&source=prometheus": `\"source\" is not known`,

		"/api/v1/stream?topic=service:" + strings.Repeat("a", maxName): "512 bytes at most",
	} {
		if r := w.ask("GET", target, ""); r.Code != 400 || !strings.Contains(r.Body.String(), want) {
			t.Errorf("GET %s: got %d %s, want 400 and %q", target, r.Code, r.Body, want)
		}
	}
	for target, want := range map[string]string{
		"/api/v1/services/review:9080":       `"suggestions":["reviews:9080"]`,
		"/api/v1/series?service=nobody:1":    "nobody:1",
		"/api/v1/episodes/nobody":            `there is no instance \"nobody\"`,
		"/api/v1/releases/nobody":            `there is no release \"nobody\"`,
		"/api/v1/releases/latest":            "there is no release yet",
		"/api/v1/nothing":                    "there is no GET /api/v1/nothing",
		"/api/v1/episodes/nobody?download=1": "there is no",
		"/api/v1/..%2f..%2fetc%2fpasswd":     "there is no",
		"/api/v1/releases/..%2f..%2f/report": "there is no",
		"/api/v1/services/" + escaped:        "there is no service",
	} {
		if r := w.ask("GET", target, ""); r.Code != 404 || !strings.Contains(r.Body.String(), want) {
			t.Errorf("GET %s: got %d %s, want 404 and %q", target, r.Code, r.Body, want)
		}
	}
}
