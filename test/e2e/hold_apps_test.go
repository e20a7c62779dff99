//go:build integration

package e2e

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Where the registry of an application of examples/registries is, itself.
const (
	holdZooKeeper = "127.0.0.1:2181"
	holdNacos     = "127.0.0.1:8848"
	holdNacosGRPC = "127.0.0.1:9848"
	holdSession   = 4 * time.Second // that an application asks ZooKeeper for
)

// An application is one of examples/registries: it registers itself, and knows nothing of crossfade.
type application struct {
	name string
	path string // of its service in ZooKeeper; "" is one that registers in Nacos
	says string // when its client has told it that it is registered; "" is as the others say it
	// serve and consume return the arguments with which it registers and serves at an address, and with which it is a
	// client of those that do. work is a directory for what it leaves behind.
	serve   func(registry, listen, work string) []string
	consume func(registry, work string) []string
	// redoes has one without an agent, and one that was drained, register again.
	redoes func(u *unmodified, t *testing.T, plain, drained *registrant)
	beats  bool // it lives by beats: a registry that was restarted hears of it with the next one
	// It uses Curator's service discovery, and says when that has connected again.
	curator bool
	killed  bool // what becomes of it when something is killed is tried; others of its registry are the same there
	hasty   bool // told to stop, it takes itself out of the registry and stops, and waits for nobody
}

func applications() []application {
	session := strconv.FormatInt(holdSession.Milliseconds(), 10)
	curator := func(work, what string, more ...string) []string {
		jars := "/usr/share/java/"
		return javaApp("curator", jars+"curator-x-discovery.jar:"+jars+"slf4j-simple.jar", "Main", work, append(more, what, "--session-ms", session)...)
	}
	dubbo := func(work, what string, more ...string) []string {
		return javaApp("dubbo", filepath.Join(root, ".cache/apps/dubbo/lib/*"), "Main", work, append(more, what, "--session-ms", session)...)
	}
	nacosNode := func(what string) []string {
		return []string{"node", filepath.Join(root, "bin/registries/nacos-node/main.js"), what}
	}
	nacosGo := func(what, work string) []string {
		return []string{filepath.Join(root, "bin/registries/nacos-go"), what, "--work", work}
	}
	return []application{
		{
			name: "curator", path: "/services/orders", redoes: (*unmodified).redo, curator: true, killed: true,
			serve: func(registry, listen, work string) []string {
				return append(curator(work, "serve"), "--registry", registry, "--listen", listen)
			},
		},
		{
			name: "spring", path: "/services/orders", says: "Started Main", redoes: (*unmodified).redo, curator: true,
			serve: func(registry, listen, work string) []string {
				host, port, _ := strings.Cut(listen, ":")
				return javaApp("spring", filepath.Join(root, ".cache/apps/spring/lib/*"), "shop.Main", work,
					"--spring.application.name=orders", "--server.address="+host, "--server.port="+port, "--spring.main.banner-mode=off",
					"--spring.cloud.zookeeper.discovery.instance-host="+host, "--spring.cloud.zookeeper.connect-string="+registry)
			},
		},
		{
			name: "dubbo", path: "/dubbo/Orders/providers", redoes: (*unmodified).redoAfterPause,
			serve: func(registry, listen, work string) []string {
				_, port, _ := strings.Cut(listen, ":")
				return append(dubbo(work, "serve"), "--registry", registry, "--port", port, "--warmup-ms", "1")
			},
			consume: func(registry, work string) []string {
				return append(dubbo(work, "consume"), "--registry", registry, "--every-ms", "4", "--late-ms", "0")
			},
		},
		{
			name: "nacos-go", redoes: (*unmodified).redo, hasty: true, killed: true,
			serve: func(registry, listen, work string) []string {
				return append(nacosGo("serve", work), "--registry", registry, "--listen", listen)
			},
			consume: func(registry, work string) []string {
				return append(nacosGo("consume", work), "--registry", registry, "--every", "4ms")
			},
		},
		{
			name: "nacos-node", redoes: (*unmodified).redo, beats: true, killed: true,
			serve: func(registry, listen, _ string) []string {
				return append(nacosNode("serve"), "--registry", registry, "--listen", listen)
			},
		},
	}
}

// javaApp is the command of an application in Java, with what makes it start quickly.
func javaApp(name, jars, class, work string, args ...string) []string {
	return append([]string{
		"java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx96m", "-Duser.home=" + work, "-Ddubbo.service.shutdown.wait=1000", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-cp", filepath.Join(root, "bin/registries", name) + ":" + jars, class,
	}, args...)
}

// A registrant is one instance of the application.
type registrant struct {
	host      string
	port      int    // no two of a registry have the same
	believing string // what it says once it believes that it is registered
	door      string // address of its agent's doors; "" has no agent
	may       string // the file that its agent waits for before it registers anything
	cmd       *exec.Cmd
	says, log *transcript
}

// builtHere skips the test where the application or its registry was not built, except where nothing may be skipped.
func builtHere(t *testing.T, a application) {
	t.Helper()
	wants := []string{"bin/registries/" + a.name, "/usr/share/java/zookeeper.jar"}
	if a.path == "" {
		wants[1] = ".cache/bin/rnacos"
	}
	for _, file := range wants {
		if !filepath.IsAbs(file) {
			file = filepath.Join(root, file)
		}
		if _, err := os.Stat(file); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing, and CI skips nothing: run scripts/setup", file)
		}
		t.Skipf("%s is missing: run scripts/setup and make build", file)
	}
}

func (a application) kind() string {
	if a.path != "" {
		return "zookeeper"
	}
	return "nacos"
}

// alone starts an instance without an agent, whose registry is the registry.
func (u *unmodified) alone(t *testing.T) *registrant {
	t.Helper()
	r, listen, work := u.one(t)
	r.run(t, u.serve(u.registry(), listen, work))
	return r
}

// beside starts an instance beside an agent, whose registry is the agent's proxy. Nothing of it is released before release.
func (u *unmodified) beside(t *testing.T, flags ...string) *registrant {
	t.Helper()
	r, listen, work := u.one(t)
	r.door = strings.Replace(r.host, "127.0.1.", "127.0.2.", 1)
	r.may = filepath.Join(work, "may-register")
	_, port, _ := net.SplitHostPort(u.registry())
	proxy := net.JoinHostPort(r.door, port)
	args := append([]string{
		binary(t), "agent", "--service", "orders", "--address", r.host, "--port", "http=" + r.portText(),
		"--hold", u.kind() + "://" + u.registry() + "?listen=" + proxy, "--probe", "exec:test -f " + r.may, "--probe-interval", "200ms",
		"--readiness-address", r.door + ":55199", "--offline", r.door + ":54199", "--drain-quiet", "100ms", "--drain-callers", "200ms",
	}, flags...)
	r.run(t, append(append(args, "--"), u.serve(proxy, listen, work)...))
	return r
}

func (u *unmodified) one(t *testing.T) (r *registrant, listen, work string) {
	t.Helper()
	u.next++
	r = &registrant{host: fmt.Sprintf("127.0.1.%d", u.next), port: 9000 + u.next, believing: cmp.Or(u.says, "registered after"), says: &transcript{}, log: &transcript{}}
	work = filepath.Join(u.dir, r.portText())
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	return r, r.address(), work
}

func (r *registrant) run(t *testing.T, args []string) {
	t.Helper()
	r.cmd = exec.Command(args[0], args[1:]...)
	r.cmd.Stdout, r.cmd.Stderr = r.says, r.log
	untilEnd(t, r.cmd)
	t.Cleanup(func() {
		if t.Failed() {
			says := r.says.String()
			t.Logf("%d said at last:\n%s\nand its agent:\n%s", r.port, says[max(0, len(says)-2000):], r.log)
		}
	})
}

// believes waits until the application's own client has told it that it is registered.
func (r *registrant) believes(t *testing.T) {
	t.Helper()
	eventually(t, late, func() string { // some Java machines start at the same time
		if !strings.Contains(r.says.String(), r.believing) {
			return fmt.Sprintf("%d to believe that it is registered: %s", r.port, r.says)
		}
		return ""
	})
}

// readiness is what its agent says of it.
func (r *registrant) readiness(t *testing.T) int {
	t.Helper()
	return (&mesh{}).status(t, "http://"+r.door+":55199/readiness")
}

// release lets its agent go on, and waits until it is ready.
func (r *registrant) release(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(r.may, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, func() string {
		if got := r.readiness(t); got != http.StatusOK {
			return fmt.Sprintf("%d to be ready: %d", r.port, got)
		}
		return ""
	})
}

func (r *registrant) offline(t *testing.T) {
	t.Helper()
	ask(t, http.MethodPost, "http://"+r.door+":54199/offline")
}

func (r *registrant) portText() string { return strconv.Itoa(r.port) }

// address is where it serves, and what it registers where its client lets it.
func (r *registrant) address() string { return net.JoinHostPort(r.host, r.portText()) }

// swallowed is how often its agent said that it swallowed what it registered.
func (r *registrant) swallowed() int { return strings.Count(r.log.String(), "hold.swallowed") }

// application is the process that registers.
func (r *registrant) application(t *testing.T) proc {
	t.Helper()
	if r.door == "" {
		return proc{pid: r.cmd.Process.Pid}
	}
	below := slices.DeleteFunc(descendants(t, r.cmd.Process.Pid), func(p proc) bool { // a probe, or what becomes one
		return slices.ContainsFunc(p.args, func(arg string) bool { return strings.HasSuffix(arg, r.may) })
	})
	if len(below) != 1 {
		t.Fatalf("the agent of %d has %v, want its application", r.port, below)
	}
	return below[0]
}
