//go:build integration

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// lastingEach is how many clients there are of each kind of what lasts, and of requests beside them.
const (
	lastingEach = 30
	briefEach   = 5
)

// lastingSpread is over how long what still lasts is ended.
const lastingSpread = 4 * time.Second

// An ending is how something that lasted came to its end, as its client saw it.
type ending struct {
	protocol string
	at       time.Time
	how      string
}

// The endings that are as they should be.
const (
	toldOfClose    = "close code 1001, then the end"
	toldOfTrailers = "UNAVAILABLE in trailers"
	afterAnEvent   = "the end, after a whole event"
	answeredWhole  = "200"
	turnedAway     = "503, and Connection: close"
)

// A departing gateway is one that clients of every kind are connected to when it is told to stop.
type departing struct {
	address string
	cmd     *exec.Cmd
	state   string
	said    *transcript

	open sync.WaitGroup // those that are not open yet
	all  sync.WaitGroup
	mu   sync.Mutex
	ends []ending
}

// departs starts a gateway beside the others, with short timers.
func (w *drainWorld) departs(t *testing.T) *departing {
	t.Helper()
	const ip = "127.0.5.1"
	d := &departing{address: ip + ":8080", state: t.TempDir(), said: &transcript{}}
	d.cmd = exec.Command(binary(t), "gateway", "--id", "departing", "--group", "nobody/nothing", "--feed", w.replicas(t)[0].after("--feed"), "--address", ip,
		"--admin", ip+":15000", "--state", d.state, "--drain", "2s", "--drain-min", "0s", "--drain-notice", "0s", "--drain-quiet", "1s",
		"--drain-long", "4s", "--drain-spread", lastingSpread.String(), "--log-level", "WARN")
	d.cmd.Stdout, d.cmd.Stderr = d.said, d.said
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("it said:\n%s", d.said)
		}
	})
	eventually(t, soon, func() string {
		if w.status(t, "http://"+ip+":15000/ready") != http.StatusOK || !answers(d.address) {
			return fmt.Sprintf("%s to be ready\n%s", d.cmd, d.said)
		}
		return ""
	})
	return d
}

// client has somebody connect, tell when that is done, and stay until the end.
func (d *departing) client(protocol string, lasts func(opened func()) (how string)) {
	d.open.Add(1)
	opened := sync.OnceFunc(d.open.Done)
	d.all.Go(func() {
		how := lasts(opened)
		at := time.Now()
		opened()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.ends = append(d.ends, ending{protocol, at, how})
	})
}

// lasting has clients of every kind stay beyond what a gateway that leaves can give them: each is told in the words of
// its protocol, not all at once, and each is in the report.
func (w *drainWorld) lasting(t *testing.T) {
	d := w.departs(t)
	for range lastingEach {
		d.client("websocket", d.webSocket)
		d.client("grpc", d.call)
		d.client("events", d.events)
	}
	for range briefEach {
		d.client("http/1.1", func(opened func()) string { return d.brief("/delay/1", opened) })
		d.client("http/1.1", func(opened func()) string { return d.brief("/delay/10", opened) })
	}
	d.open.Wait()
	told := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.all.Wait()
	if err := d.cmd.Wait(); err == nil || d.cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("exit code %d, %v: want 3, for something was cut", d.cmd.ProcessState.ExitCode(), err)
	}
	d.wantEnds(t, told)
	d.wantReport(t)
}

// wantEnds sees that everybody was told in the right words, and that what lasts was ended little by little.
func (d *departing) wantEnds(t *testing.T, told time.Time) {
	t.Helper()
	count := map[string]int{}
	var lasted []time.Duration
	for _, e := range d.ends {
		count[e.protocol+": "+e.how]++
		if e.protocol != "http/1.1" {
			lasted = append(lasted, e.at.Sub(told))
		}
	}
	want := map[string]int{
		"websocket: " + toldOfClose: lastingEach, "grpc: " + toldOfTrailers: lastingEach, "events: " + afterAnEvent: lastingEach,
		"http/1.1: " + answeredWhole: briefEach, "http/1.1: " + turnedAway: briefEach,
	}
	for how, n := range want {
		if count[how] != n {
			t.Errorf("%s: got %d, want %d", how, count[how], n)
		}
		delete(count, how)
	}
	if len(count) > 0 {
		t.Errorf("others ended otherwise: %v", count)
	}
	slices.Sort(lasted)
	most := 0
	for i, from := range lasted {
		to, _ := slices.BinarySearch(lasted, from+time.Second)
		most = max(most, to-i)
	}
	all, due := len(lasted), len(lasted)*int(time.Second)/int(lastingSpread)
	t.Logf("%d ended from %.1f to %.1f s after SIGTERM, %d within a second at most; evenly it would be %d",
		all, lasted[0].Seconds(), lasted[all-1].Seconds(), most, due)
	if most > 2*due {
		t.Errorf("%d of %d ended within one second, want %d at most, which is twice what is due", most, all, 2*due)
	}
}

// wantReport sees that the report says what the clients saw.
func (d *departing) wantReport(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.state, "departing.drain.json"))
	if err != nil {
		t.Fatal(err)
	}
	r := decode[drainReport](t, string(text))
	for protocol, want := range map[string]drainCount{
		"websocket": {Opened: lastingEach, Cut: lastingEach},
		"grpc":      {Opened: lastingEach, Cut: lastingEach},
		"events":    {Opened: lastingEach, Cut: lastingEach},
		"http/1.1":  {Opened: 2 * briefEach, Completed: briefEach, Cut: briefEach},
	} {
		got := r.Protocols[protocol]
		n := got.Ever
		n.Told = 0 // those that were cut, at least
		if n != want || got.Before != int(want.Opened) || got.Ever.Told < want.Cut {
			t.Errorf("the report says of %s: %+v, want %d before, %+v, and at least as many told as cut", protocol, got, want.Opened, want)
		}
	}
	if want := uint64(3*lastingEach + briefEach); r.Cut != want || r.Stage != "closed" || r.Seconds["forced"] == 0 {
		t.Errorf("the report says: %d cut, stage %s, %v; want %d cut, closed, and some time in forced", r.Cut, r.Stage, r.Seconds, want)
	}
	if t.Failed() {
		indented, _ := json.MarshalIndent(r, "", "  ")
		t.Logf("%s", indented)
	}
}

// brief asks for one answer of HTTP/1.1.
func (d *departing) brief(path string, opened func()) (how string) {
	nc, err := net.Dial("tcp", d.address)
	if err != nil {
		return err.Error()
	}
	defer nc.Close()
	if _, err := fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: drain.camp\r\n\r\n", path); err != nil {
		return err.Error()
	}
	opened() // as far as it can be known
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err.Error()
	}
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Close {
		return turnedAway
	}
	return strconv.Itoa(resp.StatusCode)
}

// webSocket says numbers, which come back in order, until it is told that this is the end.
func (d *departing) webSocket(opened func()) (how string) {
	nc, err := net.Dial("tcp", d.address)
	if err != nil {
		return err.Error()
	}
	defer nc.Close()
	_, err = fmt.Fprint(nc, "GET /websocket/echo HTTP/1.1\r\nHost: drain.camp\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		return err.Error()
	}
	in := bufio.NewReader(nc)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Sprintf("the handshake: %v, %v", resp, err)
	}
	s := &websocket{duplex: overTCP{nc}, in: in, client: true}
	for n := 0; ; n++ {
		if err := s.say(opText, true, strconv.AppendInt(nil, int64(n), 10)); err != nil {
			return "saying: " + err.Error()
		}
		f, err := s.hear()
		switch {
		case err != nil:
			return "hearing: " + err.Error()
		case f.op == opClose:
			return s.farewell(f)
		case string(f.payload) != strconv.Itoa(n):
			return fmt.Sprintf("message %d came back as %s", n, f)
		}
		opened()
		<-time.After(50 * time.Millisecond)
	}
}

// farewell answers a close frame, and waits for the end.
func (s *websocket) farewell(f frame) (how string) {
	if err := s.close(f.code(), ""); err != nil {
		return fmt.Sprintf("close code %d, then: %v", f.code(), err)
	}
	if f, err := s.hear(); !errors.Is(err, io.EOF) {
		return fmt.Sprintf("close code %d, then: %s, %v", f.code(), f, err)
	}
	return fmt.Sprintf("close code %d, then the end", f.code())
}

// call keeps one call of gRPC open, whose messages come back in order.
func (d *departing) call(opened func()) (how string) {
	conn, err := grpc.NewClient("passthrough:///"+d.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	ctx, cancel := contextOf(late)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/echo.Echo/BidiStream")
	if err != nil {
		return err.Error()
	}
	for n := 0; ; n++ {
		// On the wire this is the same as the message of echo: its first field is bytes.
		out := &testgrpc.SimpleResponse{Payload: &testgrpc.Payload{Body: strconv.AppendInt(nil, int64(n), 10)}}
		in := new(testgrpc.SimpleResponse)
		_ = stream.SendMsg(out) // RecvMsg tells how it ended
		if err := stream.RecvMsg(in); err != nil {
			s := status.Convert(err)
			if broke := strings.Contains(s.Message(), "transport") || strings.Contains(s.Message(), "error reading"); s.Code() == codes.Unavailable && !broke {
				return toldOfTrailers
			}
			return err.Error()
		}
		if got := string(in.GetPayload().GetBody()); got != strconv.Itoa(n) {
			return fmt.Sprintf("message %d came back as %s", n, got)
		}
		opened()
		<-time.After(50 * time.Millisecond)
	}
}

// events hears server-sent events, whose numbers count up.
func (d *departing) events(opened func()) (how string) {
	nc, err := net.Dial("tcp", d.address)
	if err != nil {
		return err.Error()
	}
	defer nc.Close()
	if _, err := fmt.Fprint(nc, "GET /sse?count=6000&duration=300s HTTP/1.1\r\nHost: drain.camp\r\nAccept: text/event-stream\r\n\r\n"); err != nil {
		return err.Error()
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%v, %v", resp, err)
	}
	defer resp.Body.Close()
	var rest []byte
	part := make([]byte, 1000)
	for id := 0; ; {
		n, err := resp.Body.Read(part)
		rest = append(rest, part[:n]...)
		for {
			event, more, whole := bytes.Cut(rest, []byte("\n\n"))
			if !whole {
				break
			}
			if !bytes.HasPrefix(event, fmt.Appendf(nil, "event: ping\ndata: {\"id\":%d,", id)) {
				return fmt.Sprintf("event %d is %q", id, event)
			}
			opened()
			rest, id = more, id+1
		}
		switch {
		case err != nil && len(rest) > 0:
			return fmt.Sprintf("the end within an event: %q, %v", rest, err)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // that more was to come, or not: it reconnects
			return afterAnEvent
		case err != nil:
			return err.Error()
		}
	}
}
