//go:build integration

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// siegeOrder is the environment variable that makes this test's binary one of its own helpers: it holds an order.
const siegeOrder = "CROSSFADE_SIEGE"

// An order is what one process of a siege is to do.
type order struct {
	Kind string        // of tactics
	N    int           // how many clients
	From string        // the address they come from
	To   string        // where they go; "" is ingress
	Path string        // what they ask for
	Size int64         // of a body, in bytes
	Pace time.Duration // between two bytes
}

// A report is a line that such a process writes: when all of its clients are in position, and at its end.
type report struct {
	Tally map[string]int // how its clients ended
}

// A crew is such a process, seen from within.
type crew struct {
	order
	leave chan struct{} // closed when it is told to leave

	mu    sync.Mutex
	tally map[string]int
}

// besiege is the main function of such a process.
func besiege(text string) int {
	c := &crew{leave: make(chan struct{}), tally: map[string]int{}}
	if err := json.Unmarshal([]byte(text), &c.order); err != nil {
		fmt.Fprintln(os.Stderr, "siege:", err)
		return 2
	}
	tactic := tactics()[c.Kind]
	if tactic == nil {
		fmt.Fprintln(os.Stderr, "siege: no tactic", c.Kind)
		return 2
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(c.leave)
	}()
	tactic(c)
	c.report()
	return 0
}

// report writes how the clients have ended so far.
func (c *crew) report() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(report{c.tally}) // if nobody listens, nobody is misled
}

// count counts one client, or one answer, with an end.
func (c *crew) count(end string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally[end]++
}

// A party is a crew, seen by the test.
type party struct {
	order
	cmd     *exec.Cmd
	leave   io.Closer
	reports *json.Decoder
	said    transcript
}

// send starts a process with an order.
func send(t *testing.T, o order) *party {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &party{order: o, cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), siegeOrder+"="+string(text))
	p.cmd.Stderr = &p.said
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.leave, p.reports = in, json.NewDecoder(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// next waits for the process's next report.
func (p *party) next(t *testing.T) map[string]int {
	t.Helper()
	var r report
	heard := make(chan error, 1)
	go func() { heard <- p.reports.Decode(&r) }()
	select {
	case err := <-heard:
		if err != nil {
			t.Fatalf("%s: %v\n%s", p.Kind, err, p.said.String())
		}
	case <-time.After(2 * late):
		t.Fatalf("%s has not reported after %v\n%s", p.Kind, 2*late, p.said.String())
	}
	return r.Tally
}

// end tells the process to leave, and returns how its clients ended.
func (p *party) end(t *testing.T) map[string]int {
	t.Helper()
	_ = p.leave.Close()
	tally := p.next(t)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", p.Kind, err, p.said.String())
	}
	return tally
}

// siegeYAML is the world of the siege: a service for each kind of endpoint. The routes that lead to those that
// do not answer have a timeout.
func siegeYAML() string {
	var b strings.Builder
	b.WriteString(`apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: siege}
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: siege}
spec:
  hosts: ["*"]
  gateways: [siege]
  http:
`)
	for _, s := range campServices {
		fmt.Fprintf(&b, "    - match: [{uri: {prefix: /%s/}}]\n      rewrite: {uri: /}\n", s.name)
		fmt.Fprintf(&b, "      route: [{destination: {host: %s.camp}}]\n", s.name)
		if s.timeout > 0 {
			fmt.Fprintf(&b, "      timeout: %s\n", s.timeout)
		}
	}
	for _, s := range campServices {
		fmt.Fprintf(&b, "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: %s}\n", s.name)
		fmt.Fprintf(&b, "spec:\n  hosts: [%s.camp]\n  resolution: STATIC\n  ports: [{number: %d, name: http, protocol: HTTP}]\n  endpoints:\n", s.name, campPort)
		for _, address := range s.addresses {
			fmt.Fprintf(&b, "    - {address: %s}\n", address)
		}
	}
	return b.String()
}

const campPort = 9000

// campServices are the services that are asked in a siege.
var campServices = []struct {
	name      string
	timeout   time.Duration // of the route
	addresses []string
	serve     func(net.Listener) error
}{
	{"calm", 0, []string{"127.8.0.1", "127.8.0.2"}, serveBodies},
	{"big", 0, []string{"127.8.0.3", "127.8.0.4"}, serveBodies},
	{"slow", 8 * time.Second, []string{"127.8.0.5", "127.8.0.6", "127.8.0.7", "127.8.0.8"}, serveBodies},
	{"patient", 0, []string{"127.8.0.9", "127.8.0.10"}, serveBodies},
	{"silent", 3 * time.Second, []string{"127.8.0.11"}, serveNobody},
	{"deaf", 5 * time.Second, []string{"127.8.0.12"}, serveDeaf},
}

// camp serves every endpoint until it is told to leave.
func camp(c *crew) {
	for _, s := range campServices {
		for _, address := range s.addresses {
			l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(campPort)))
			if err != nil {
				c.count(err.Error())
				return
			}
			go func() {
				if err := s.serve(l); !errors.Is(err, net.ErrClosed) {
					c.count(err.Error())
				}
			}()
		}
	}
	c.report()
	<-c.leave
}

// serveBodies serves [bodies] over HTTP/1.1.
func serveBodies(l net.Listener) error {
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: bodies()}
	return server.Serve(l)
}

// bodies answers GET /N with N bytes that [content] says too, /wait when the client is gone, and everything else with
// the SHA-256 of the body that came.
func bodies() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			<-r.Context().Done()
			return
		}
		if r.Method != http.MethodGet {
			sum := sha256.New()
			if _, err := io.Copy(sum, r.Body); err != nil {
				return // the client sees that its answer is missing
			}
			_, _ = io.WriteString(w, hex.EncodeToString(sum.Sum(nil)))
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // its answer crosses with nothing of the request
		size, err := strconv.ParseInt(strings.TrimLeft(r.URL.Path, "/"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		_, _ = io.CopyN(w, content(), size)
	})
}

// content is what bodies hold: the same at both ends, without a period.
func content() io.Reader { return rand.NewChaCha8([32]byte{'s', 'i', 'e', 'g', 'e'}) }

// serveNobody reads what comes, and never answers.
func serveNobody(l net.Listener) error {
	return eachConn(l, func(c net.Conn) {
		defer c.Close()
		_, _ = io.Copy(io.Discard, c)
	})
}

// serveDeaf accepts, and does nothing else until it ends.
func serveDeaf(l net.Listener) error {
	var held []net.Conn // so that they are not closed when they are forgotten
	for {
		c, err := l.Accept()
		if err != nil {
			return errors.Join(err, closeAll(held))
		}
		held = append(held, c)
	}
}

func closeAll(conns []net.Conn) error {
	var errs []error
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func eachConn(l net.Listener, do func(net.Conn)) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go do(c)
	}
}
