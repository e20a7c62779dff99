//go:build integration

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A crowd is a fleet of which nothing runs but a control: a program that says what local says of its instances, and one that
// reports as a gateway does, once a second, what it has counted.
const (
	crowdServices = 500
	crowdEach     = 20   // endpoints of a service
	crowdWarming  = 5    // services that warm up, for longer than the test takes
	crowdRate     = 1000 // requests a second
	crowdRush     = 5000 // in a rush
	crowdPort     = 7000
)

// A crowd's control and those who report to it.
type crowd struct {
	t       *testing.T
	control *exec.Cmd
	output  *transcript
	conn    *grpc.ClientConn
	rng     *rand.Rand
	rate    atomic.Int64 // requests a second
	total   atomic.Uint64
	sums    [crowdServices][crowdEach]uint64
}

func serviceName(i int) string { return fmt.Sprintf("s%03d", i) }

func incarnation(service, i int) string { return fmt.Sprintf("%s-%02d-x", serviceName(service), i) }

func crowdYAML() string {
	var b strings.Builder
	for i := range crowdServices {
		fmt.Fprintf(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  selector: {app: %[1]s}\n  ports: [{name: http, port: 80, targetPort: %d}]\n---\n", serviceName(i), crowdPort)
	}
	for i := range crowdWarming {
		fmt.Fprintf(&b, "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: %s}\nspec:\n  host: %[1]s\n  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 7200s, minimumPercent: 10}}}\n---\n", serviceName(i))
	}
	return b.String()
}

// gather starts the control of a crowd, and those who report to it. Everybody is offered when it returns.
func gather(t *testing.T) *crowd {
	t.Helper()
	for _, address := range []string{consoleAddress, controlAdmin} {
		mustBeFree(t, address)
	}
	everywhere, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", crowdPort)) // every instance passes its check
	must(t, err)
	t.Cleanup(func() { _ = everywhere.Close() })
	go func() {
		for {
			nc, err := everywhere.Accept()
			if err != nil {
				return
			}
			_ = nc.Close()
		}
	}()
	dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "f", "feed.sock")
	must(t, os.WriteFile(filepath.Join(dir, "crowd.yaml"), []byte(crowdYAML()), 0o600))
	c := &crowd{t: t, output: &transcript{}, rng: rand.New(rand.NewPCG(10, 10))}
	c.rate.Store(crowdRate)
	c.control = exec.Command(binary(t), "control", "-f", dir, "--socket", socket, "--state", t.TempDir(), "--log-level", "WARN")
	c.control.Stdout, c.control.Stderr = c.output, c.output
	must(t, c.control.Start())
	t.Cleanup(func() {
		interrupt(t, c.control)
		if t.Failed() {
			t.Logf("control said:\n%s", c.output)
		}
	})
	c.conn, err = grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(inJSON{}), grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	must(t, err)
	var tasks sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); tasks.Wait(); _ = c.conn.Close() })
	tasks.Go(func() { c.follow(ctx, "local") })
	tasks.Go(func() { c.follow(ctx, "gateway") })
	eventually(t, soon, func() string {
		if err := c.report(ctx, map[string]any{"from": "local-1", "role": "local", "instances": crowdInstances()}); err != nil {
			return err.Error()
		}
		return ""
	})
	tasks.Go(func() { c.traffic(ctx) })
	eventually(t, late, func() string { return missing(t) })
	return c
}

// missing says who is; "" is that everybody is offered, and those who are to warm up do.
func missing(t *testing.T) string {
	t.Helper()
	all, err := console[struct {
		Services []struct {
			Stages map[string]int `json:"stages"`
		} `json:"services"`
	}](t, "overview")
	if err != nil {
		return err.Error()
	}
	warming, serving := 0, 0
	for _, s := range all.Services {
		warming += s.Stages["warming"]
		serving += s.Stages["serving"]
	}
	if warming != crowdWarming*crowdEach || warming+serving != crowdServices*crowdEach {
		return fmt.Sprintf("%d warming and %d serving endpoints of %d services", warming, serving, len(all.Services))
	}
	return ""
}

// crowdInstances are all of them, each with an address of its own.
func crowdInstances() []map[string]any {
	var all []map[string]any
	for s := range crowdServices {
		for i := range crowdEach {
			n := s*crowdEach + i
			all = append(all, map[string]any{
				"name": fmt.Sprintf("%s-%02d", serviceName(s), i), "namespace": "default", "workload": serviceName(s), "revision": "1",
				"incarnation": incarnation(s, i), "address": fmt.Sprintf("127.9.%d.%d", n>>8, n&255), "weight": 1, "ready": true,
				"labels": map[string]string{"app": serviceName(s), "version": fmt.Sprintf("v%d", 1+i%2)},
				"check":  map[string]any{"interval_ns": time.Hour, "timeout_ns": 5 * time.Second, "healthy": 1, "unhealthy": 3},
			})
		}
	}
	return all
}

func (c *crowd) report(ctx context.Context, r any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.conn.Invoke(ctx, "/crossfade.feed.v1.Feed/Report", r, &map[string]any{})
}

// follow takes views, and drops them.
func (c *crowd) follow(ctx context.Context, role string) {
	for ctx.Err() == nil {
		stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "Follow", ServerStreams: true}, "/crossfade.feed.v1.Feed/Follow", grpc.WaitForReady(true))
		if err == nil {
			err = errors.Join(stream.SendMsg(map[string]string{"id": role + "-1", "role": role}), stream.CloseSend())
		}
		for err == nil {
			err = stream.RecvMsg(&json.RawMessage{})
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// traffic reports every second what a gateway has counted of so many requests, each to an endpoint at random.
func (c *crowd) traffic(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		}
		if err := c.report(ctx, c.counted()); err != nil && ctx.Err() == nil {
			c.t.Errorf("a report of the crowd's gateway: %v", err)
			return
		}
	}
}

// A crowd's gateway writes its reports as any gateway does: fields in this order.
type (
	crowdReport struct {
		From    string       `json:"from"`
		Role    string       `json:"role"`
		Applied uint64       `json:"applied"`
		Traffic crowdTraffic `json:"traffic"`
	}
	crowdTraffic struct {
		Run       string          `json:"run"`
		Span      time.Duration   `json:"span_ns"`
		Listeners []crowdListener `json:"listeners"`
		Services  []crowdService  `json:"services"`
		Endpoints []crowdEndpoint `json:"endpoints"`
	}
	crowdListener struct {
		Name     string            `json:"name"`
		Requests uint64            `json:"requests"`
		Active   int64             `json:"active"`
		Connects uint64            `json:"connects"`
		Ended    map[string]uint64 `json:"ended"`
		Codes    []crowdCode       `json:"codes"`
		Latency  [][2]int64        `json:"latency"`
	}
	crowdService struct {
		Service string            `json:"service"`
		Active  int64             `json:"active"`
		Ended   map[string]uint64 `json:"ended"`
		Codes   []crowdCode       `json:"codes"`
		Latency [][2]int64        `json:"latency"`
		Callers map[string]uint64 `json:"callers"`
	}
	crowdEndpoint struct {
		Service     string     `json:"service"`
		Incarnation string     `json:"incarnation"`
		Requests    uint64     `json:"requests"`
		Share       float64    `json:"share"`
		Due         float64    `json:"due"`
		Got         uint64     `json:"got"`
		Latency     [][2]int64 `json:"latency"`
	}
	crowdCode struct {
		Status int    `json:"status"`
		N      uint64 `json:"n"`
	}
)

// counted goes on by a second. As the contract says, rows that have not changed are left out.
func (c *crowd) counted() crowdReport {
	changed, rate := map[[2]int]bool{}, c.rate.Load()
	for range rate {
		at := [2]int{c.rng.IntN(crowdServices), c.rng.IntN(crowdEach)}
		c.sums[at[0]][at[1]]++
		changed[at] = true
	}
	total := c.total.Add(uint64(rate))
	took := func(n uint64) [][2]int64 { return [][2]int64{{-61, int64(n - n/8)}, {-54, int64(n / 8)}} }
	answered := func(n uint64) []crowdCode { return []crowdCode{{200, n}} }
	t := crowdTraffic{Run: "crowd", Span: time.Second, Listeners: []crowdListener{{
		Name: "http-80", Requests: total, Connects: 1, Ended: map[string]uint64{"served": total}, Codes: answered(total), Latency: took(total),
	}}}
	for s := range crowdServices {
		whole, grown := uint64(0), false
		for i, n := range c.sums[s] {
			whole += n
			if changed[[2]int{s, i}] {
				grown = true
				t.Endpoints = append(t.Endpoints, crowdEndpoint{
					Service: serviceName(s) + ":80", Incarnation: incarnation(s, i), Requests: n, Got: n, Due: float64(n), Share: 1, Latency: took(n),
				})
			}
		}
		if grown {
			t.Services = append(t.Services, crowdService{
				Service: serviceName(s) + ":80", Ended: map[string]uint64{"served": whole}, Codes: answered(whole), Latency: took(whole),
				Callers: map[string]uint64{"": whole},
			})
		}
	}
	return crowdReport{From: "gateway-1", Role: "gateway", Applied: 1, Traffic: t}
}
