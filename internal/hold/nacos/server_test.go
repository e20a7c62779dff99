package nacos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/hold/holdtest"
	wire "crossfade.dev/internal/wire/nacos"
)

// A server is a registry in a process of its own: r-nacos, since Nacos's own cannot be had. It has v1 of HTTP, and gRPC.
type server struct {
	*testing.T
	dir  string
	port int
	env  []string
	cmd  *exec.Cmd
}

// sticky is a setting of r-nacos by which the first metadata of an address stays for ever. It is on unless it is switched
// off, and unknown to Nacos.
const sticky = "RNACOS_NAMING_INSTANCE_METADATA_PERSISTENCE_ENABLE="

// newServer starts one; it ends with the test.
func newServer(t *testing.T, env ...string) *server {
	t.Helper()
	s := &server{T: t, dir: t.TempDir(), port: freePair(t), env: env}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// freePair returns a port that is free, as the one is that Nacos has its gRPC on.
func freePair(t *testing.T) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+wire.PortOffset)))
		first.Close()
		if err == nil {
			second.Close()
			return port
		}
	}
	t.Fatal("no two ports are free")
	return 0
}

func (s *server) start() {
	s.Helper()
	const missing = "r-nacos is not there: run scripts/setup"
	script, err := filepath.Abs("../../../scripts/servers/nacos")
	if err != nil {
		s.Fatal(err)
	}
	if _, err := os.Stat("../../../.cache/bin/rnacos"); err != nil {
		if os.Getenv("CI") != "" {
			s.Fatal(missing)
		}
		s.Skip(missing)
	}
	s.cmd = exec.Command(script, s.dir, strconv.Itoa(s.port))
	s.cmd.Env = append(os.Environ(), "RUST_LOG=off", "RNACOS_NAMING_HEALTH_TIMEOUT_SECOND=2", "RNACOS_NAMING_INSTANCE_TIMEOUT_SECOND=3", sticky+"false")
	s.cmd.Env = append(s.cmd.Env, s.env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	for _, port := range []int{s.port, s.port + wire.PortOffset} {
		for late := time.Now().Add(time.Minute); ; {
			conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err == nil {
				conn.Close()
				break
			}
			if time.Now().After(late) {
				s.Fatalf("r-nacos never listened: %v", err)
			}
			pause(context.Background(), 10*time.Millisecond)
		}
	}
}

// stop ends it as a power cut would end a process: it has no say in it.
func (s *server) stop() {
	if s.cmd.ProcessState != nil {
		return
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func openProxy(t *testing.T, addresses string) *Proxy {
	t.Helper()
	u, err := hold.ParseURL("nacos://" + addresses + "?listen=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// behind runs a gate with a proxy before registries. It ends with the test.
func behind(t *testing.T, addresses string) *stage {
	t.Helper()
	p := openProxy(t, addresses)
	st := &stage{T: t, proxy: p, gate: &hold.Gate{Proxies: []hold.Proxy{p}, Annotate: true}}
	st.gate.Tell = func(kind, reason string) {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.events = append(st.events, kind+": "+reason)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.gate.Run(ctx, func(error) {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return st
}

// A stage is a gate that runs with a proxy, and what it told.
type stage struct {
	*testing.T
	proxy *Proxy
	gate  *hold.Gate

	mu     sync.Mutex
	events []string
}

func (s *stage) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// instance is what an agent publishes.
func instance() fleet.Instance {
	return fleet.Instance{Name: "a", Namespace: "default", Incarnation: "a-1", Address: netip.MustParseAddr("127.0.0.1"), Weight: 1, Ready: true}
}

// put puts an instance, as an agent does: until it has been put.
func (s *stage) put(in fleet.Instance) {
	s.Helper()
	for late := time.Now().Add(time.Minute); ; pause(s.Context(), 20*time.Millisecond) {
		err := s.gate.Put(s.Context(), in)
		if err == nil {
			return
		}
		if time.Now().After(late) {
			s.Fatalf("Put: %v; %q", err, s.told())
		}
	}
}

func (s *stage) remove() {
	s.Helper()
	if err := s.gate.Remove(s.Context(), "a-1"); err != nil {
		s.Fatalf("Remove: %v", err)
	}
}

// do calls the proxy over HTTP, and returns what it says.
func (s *stage) do(method, path string, values url.Values) string {
	s.Helper()
	text, err := call(s.Context(), new(http.Client), method, "http://"+s.proxy.Addr()+path, values)
	if err != nil {
		s.Fatalf("%s %s: %v", method, path, err)
	}
	return text
}

// peer is what others find in a service.
func (s *server) peer(ctx context.Context, service string) ([]holdtest.Seen, error) {
	var list wire.ServiceInfo
	if err := s.get(ctx, "/nacos/v1/ns/instance/list?serviceName="+service, &list); err != nil {
		return nil, err
	}
	seen := make([]holdtest.Seen, 0, len(list.Hosts))
	for _, in := range list.Hosts {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		seen = append(seen, holdtest.Seen{Port: in.Port, Metadata: in.Metadata, Weight: in.Weight / appWeight, Leaving: in.Weight == 0, Raw: string(raw)})
	}
	return seen, nil
}

func (s *server) get(ctx context.Context, path string, into any) error {
	body, err := call(ctx, new(http.Client), http.MethodGet, "http://"+s.address()+path, nil)
	if err == nil {
		err = json.Unmarshal([]byte(body), into)
	}
	return err
}

// call makes a call over HTTP, with values in its body, and returns the body of the answer.
func call(ctx context.Context, client *http.Client, method, url string, values url.Values) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body(values))
	if err != nil {
		return "", err
	}
	if values != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return string(text), err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
