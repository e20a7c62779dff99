package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// restart starts control anew from its last snapshot, as it stands on disk.
func (s *stage) restart() {
	s.t.Helper()
	data, err := json.Marshal(s.w.view.Snapshot)
	if err != nil {
		s.t.Fatal(err)
	}
	last := fleet.View{Snapshot: &fleet.Snapshot{}, Taken: s.now}
	if err := json.Unmarshal(data, last.Snapshot); err != nil {
		s.t.Fatal(err)
	}
	s.w = newWorld(last, s.now)
	s.fold()
}

// edge is a configuration with a gateway.
func edge(digest string, replicas int) *fleet.Desired {
	return &fleet.Desired{Digest: digest, Groups: []fleet.GatewayGroup{
		{Name: "edge", Namespace: fleet.GatewayNamespace, Replicas: replicas, Revision: "labels", Drain: 30 * time.Second},
	}}
}

func (s *stage) group() fleet.GatewayGroup {
	s.t.Helper()
	if n := len(s.w.view.Groups); n != 1 {
		s.t.Fatalf("got %d gateways, want 1", n)
	}
	return s.w.view.Groups[0]
}

// supervise reports replicas of the gateway edge.
func (s *stage) supervise(replicas ...fleet.Replica) {
	for i := range replicas {
		replicas[i].Group, replicas[i].Namespace = "edge", fleet.GatewayNamespace
	}
	s.w.report(fleet.Report{From: "supervisor", Role: "supervisor", Replicas: replicas}, s.now)
	s.fold()
}

func (s *stage) replicas() string {
	var ids []string
	for _, r := range s.w.view.Replicas {
		ids = append(ids, r.ID)
	}
	return strings.Join(ids, " ")
}

func TestThereIsAlwaysAGateway(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	want := fleet.GatewayGroup{Name: fleet.DefaultGroup, Namespace: fleet.GatewayNamespace, Replicas: 1, Declared: 1, Revision: firstRevision}
	if diff := cmp.Diff(want, s.group()); diff != "" {
		t.Errorf("where configuration names none (-want +got):\n%s", diff)
	}
	s.configure(edge("e", 3))
	want = fleet.GatewayGroup{Name: "edge", Namespace: fleet.GatewayNamespace, Replicas: 3, Declared: 3, Revision: "labels", Drain: 30 * time.Second}
	if diff := cmp.Diff(want, s.group()); diff != "" {
		t.Errorf("as configured (-want +got):\n%s", diff)
	}
}

// TestADrainTimeoutAppliesWithoutARestart: a snapshot tells of it, and the revision stays.
func TestADrainTimeoutAppliesWithoutARestart(t *testing.T) {
	s := newStage(t)
	s.configure(edge("one", 3))
	before, number := s.group(), s.w.view.Number
	d := edge("two", 3)
	d.Groups[0].Drain = 90 * time.Second
	s.configure(d)
	if g := s.group(); g.Drain != 90*time.Second || g.Revision != before.Revision {
		t.Errorf("got a drain of %v and revision %q, want 90s and %q as before", g.Drain, g.Revision, before.Revision)
	}
	if s.w.view.Number <= number {
		t.Error("no new snapshot tells of the change")
	}
}

// TestOrdersHoldUntilConfigurationSaysOtherwise plays commands, edits and restarts of control against what people
// expect of them.
func TestOrdersHoldUntilConfigurationSaysOtherwise(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStage(t)
		s.configure(edge("0", 3))
		want := s.group()
		edits, orders := 0, 0
		command := func(f func(o *order)) {
			orders++
			s.now = s.now.Add(time.Second)
			k := key(fleet.GatewayNamespace, "edge")
			if s.w.ordered[k] == nil {
				s.w.ordered[k] = &order{}
			}
			f(s.w.ordered[k])
			s.fold()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"edit": func(rt *rapid.T) {
				edits++
				n := rapid.IntRange(1, 4).Draw(rt, "replicas")
				if n != want.Declared {
					want.Replicas, want.Declared = n, n
				}
				s.configure(edge(strconv.Itoa(edits), n))
			},
			"scale": func(rt *rapid.T) {
				n := rapid.IntRange(1, 4).Draw(rt, "replicas")
				command(func(o *order) { o.replicas = &n })
				want.Replicas = n
			},
			"restart": func(*rapid.T) {
				command(func(o *order) { o.restarted = stamp(s.now) })
				want.Restarted, want.Revision = stamp(s.now), "labels+"+stamp(s.now)
			},
			"upgrade": func(*rapid.T) {
				command(func(o *order) { o.restarted, o.binary = stamp(s.now), fmt.Sprint("/bin/", orders) })
				want.Restarted, want.Revision, want.Binary = stamp(s.now), "labels+"+stamp(s.now), fmt.Sprint("/bin/", orders)
			},
			"control restarts": func(*rapid.T) { s.restart() },
			"": func(rt *rapid.T) {
				if diff := cmp.Diff(want, s.group()); diff != "" {
					rt.Fatalf("(-want +got):\n%s", diff)
				}
			},
		})
	})
}

// TestAGatewayThatIsGoneTakesItsOrdersAlong: another one of the same name begins anew.
func TestAGatewayThatIsGoneTakesItsOrdersAlong(t *testing.T) {
	s := newStage(t)
	s.configure(edge("one", 3))
	s.w.ordered[key(fleet.GatewayNamespace, "edge")] = &order{replicas: new(1), restarted: "then", binary: "/bin/a"}
	s.fold()
	if g := s.group(); g.Replicas != 1 || g.Revision != "labels+then" {
		t.Fatalf("got %+v, want it as ordered", g)
	}
	s.configure(reviews(linear))
	s.configure(edge("one", 3))
	if g := s.group(); g.Replicas != 3 || g.Revision != "labels" || g.Binary != "" {
		t.Errorf("got %+v, want it as configured", g)
	}
}

// TestARestartedDeploymentKeepsItsRevision: control that starts anew must not replace every instance once more.
func TestARestartedDeploymentKeepsItsRevision(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.w.restarted["default/reviews-v2"] = "20260101T000000.000Z"
	s.fold()
	before := s.w.view.Workloads[0].Revision
	s.restart()
	s.restart()
	if got := s.w.view.Workloads[0].Revision; got != before {
		t.Errorf("got revision %q after control restarted, before any configuration; want %q", got, before)
	}
	s.configure(reviews(linear))
	if got := s.w.view.Workloads[0].Revision; got != before {
		t.Errorf("got revision %q with the configuration that was there, want %q", got, before)
	}
}

func TestReplicasAreWhatSupervisorsReport(t *testing.T) {
	s := newStage(t)
	s.configure(edge("e", 2))
	s.w.join(fleet.Hello{ID: "supervisor", Role: "supervisor"}, s.now)
	s.supervise(fleet.Replica{ID: "edge-2"}, fleet.Replica{ID: "edge-1", Ready: true})
	if got := s.replicas(); got != "edge-1 edge-2" {
		t.Errorf("got replicas %q, want edge-1 edge-2", got)
	}
	if got := s.w.view.Gateways; len(got) != 0 {
		t.Errorf("got gateways %q, want none: a supervisor sends no requests", got)
	}
	s.restart()
	if got := s.replicas(); got != "edge-1 edge-2" {
		t.Errorf("got replicas %q right after control restarted, want them still", got)
	}
	s.supervise(fleet.Replica{ID: "edge-3"})
	if got := s.replicas(); got != "edge-3" {
		t.Errorf("got replicas %q, want what the supervisor says now", got)
	}
	s.after(absence)
	if got := s.replicas(); got != "edge-3" {
		t.Errorf("got replicas %q, want them for as long as the supervisor may come back", got)
	}
	s.after(time.Second)
	if got := s.replicas(); got != "" {
		t.Errorf("got replicas %q of a supervisor that is gone, want none", got)
	}
}

func TestReplicasOfALostSupervisorAreForgottenAfterARestartToo(t *testing.T) {
	s := newStage(t)
	s.configure(edge("e", 2))
	s.supervise(fleet.Replica{ID: "edge-1"})
	s.restart()
	s.after(absence + time.Second)
	if got := s.replicas(); got != "" {
		t.Errorf("got replicas %q, want none", got)
	}
}

// Who deploys must not be told that a gateway is ready whose supervisor has just died.
func TestReplicasWithoutTheirSupervisorAreNotReady(t *testing.T) {
	s := newStage(t)
	s.configure(edge("e", 1))
	s.w.join(fleet.Hello{ID: "supervisor", Role: "supervisor"}, s.now)
	s.supervise(fleet.Replica{ID: "edge-1", Ready: true})
	if got := s.w.view.Replicas; !got[0].Ready {
		t.Errorf("got %+v, want it ready", got)
	}
	s.w.part(fleet.Hello{ID: "supervisor", Role: "supervisor"}, s.now)
	s.fold()
	if got := s.w.view.Replicas; got[0].Ready {
		t.Errorf("got %+v of a supervisor that is away, want it not ready", got)
	}
}

// A replica that was killed has no request open any more: its supervisor knows, and nobody waits for it as for one that may
// only be out of reach.
func TestDrainsDoNotWaitForAReplicaThatHasEnded(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		s := newStage(t)
		s.configure(reviews(fleet.Warmup{}))
		s.run("a", "x", "v2")
		s.pass("x")
		s.w.join(fleet.Hello{ID: "supervisor", Role: "supervisor"}, s.now)
		s.w.join(fleet.Hello{ID: "edge-1", Role: "gateway"}, s.now)
		s.supervise(fleet.Replica{ID: "edge-1"})
		s.w.part(fleet.Hello{ID: "edge-1", Role: "gateway"}, s.now) // kill -9
		s.change(func(i *fleet.Instance) { i.Leaving = true })
		s.wantStage("x", fleet.Draining)
		if restarted { // control is, and hears of the supervisor's replicas as they are now
			s.restart()
		}
		s.supervise()
		s.report()
		s.wantStage("x", fleet.Gone)
	}
}

// TestDrainsDoNotWaitForASupervisor: what leaves waits for those who send requests. A gateway that has not reported
// holds it up; a supervisor does not.
func TestDrainsDoNotWaitForASupervisor(t *testing.T) {
	for role, want := range map[string]fleet.Stage{"supervisor": fleet.Gone, "gateway": fleet.Draining} {
		s := newStage(t)
		s.configure(reviews(fleet.Warmup{}))
		s.run("a", "x", "v2")
		s.pass("x")
		s.w.join(fleet.Hello{ID: "other", Role: role}, s.now)
		s.change(func(i *fleet.Instance) { i.Leaving = true })
		s.after(time.Second)
		s.wantStage("x", want)
	}
}

// leaving is a report of the gateway edge-1, whose leave began at the start of the stage.
func (s *stage) leaving(stage drain.Stage, seconds float64, cut uint64) {
	s.w.report(fleet.Report{From: "edge-1", Role: "gateway", Drain: &drain.Report{
		ID: "edge-1", Reason: "SIGTERM", Began: s.now.Add(-time.Duration(seconds * float64(time.Second))).Round(time.Second), Stage: stage, Cut: cut,
		Seconds:   map[drain.Stage]float64{drain.LameDuck: seconds},
		Protocols: map[drain.Protocol]drain.Requests{drain.GRPC: {Before: 1}},
	}}, s.now)
	s.fold()
}

// TestLeavesAreToldAsTheyGoOn: a snapshot tells of each stage, of what is cut, and now and then; not of every report.
func TestLeavesAreToldAsTheyGoOn(t *testing.T) {
	s := newStage(t)
	s.configure(edge("e", 2))
	s.gateway("edge-1", 0, nil)
	for i, step := range []struct {
		stage   drain.Stage
		seconds float64
		cut     uint64
		tells   bool
	}{
		{drain.LameDuck, 0, 0, true},
		{drain.LameDuck, 0.5, 0, false},
		{drain.LameDuck, 1.5, 0, false},
		{drain.LameDuck, 2, 0, true},
		{drain.Draining, 2.5, 0, true},
		{drain.LameDuck, 2.6, 0, false}, // nobody goes back
		{drain.Forced, 3, 0, true},
		{drain.Forced, 3.1, 1, true},
		{drain.Closed, 3.2, 2, true},
		{drain.Closed, 9, 2, false},
	} {
		s.now = s.now.Add(time.Duration(step.seconds*1000) * time.Millisecond)
		began, number := s.now, s.w.view.Number
		s.leaving(step.stage, step.seconds, step.cut)
		s.now = began.Add(-time.Duration(step.seconds*1000) * time.Millisecond)
		if tells := s.w.view.Number > number; tells != step.tells {
			t.Errorf("step %d, %v: a new snapshot: %v, want %v", i, step.stage, tells, step.tells)
		}
	}
	if n := len(s.w.view.Drains); n != 1 {
		t.Fatalf("got %d leaves, want 1: %+v", n, s.w.view.Drains)
	}
	before := s.w.view.Drains
	s.restart()
	if diff := cmp.Diff(before, s.w.view.Drains); diff != "" || s.w.view.Drains[0].Stage != drain.Closed || s.w.view.Drains[0].Cut != 2 {
		t.Errorf("after control restarted (-before +after):\n%s", diff)
	}
}

func TestALameDuckThatIsCalledBackHasNotLeft(t *testing.T) {
	for stage, want := range map[drain.Stage]int{drain.LameDuck: 0, drain.Draining: 1} {
		s := newStage(t)
		s.configure(edge("e", 2))
		s.leaving(stage, 0, 0)
		s.gateway("edge-1", 0, nil)
		if got := len(s.w.view.Drains); got != want {
			t.Errorf("%v: got %d leaves after a report without one, want %d", stage, got, want)
		}
	}
}

func TestTheLatestLeavesAreKept(t *testing.T) {
	s := newStage(t)
	s.configure(edge("e", 2))
	for i := range leaves + 10 {
		s.now = s.now.Add(time.Minute)
		s.leaving(drain.Closed, 0, uint64(i))
	}
	got := s.w.view.Drains
	if len(got) != leaves || got[0].Cut != 10 || got[leaves-1].Cut != leaves+9 {
		t.Errorf("got %d leaves from %d to %d, want %d from 10 to %d", len(got), got[0].Cut, got[len(got)-1].Cut, leaves, leaves+9)
	}
}

// TestTheLastReportOfALeaveCounts: with it a gateway goes, and says what its leave came to.
func TestTheLastReportOfALeaveCounts(t *testing.T) {
	s := newStage(t)
	s.configure(edge("e", 2))
	s.gateway("edge-1", 0, nil)
	s.w.report(fleet.Report{
		From: "edge-1", Role: "gateway", Leaving: true, Drain: &drain.Report{ID: "edge-1", Stage: drain.Closed, Cut: 7},
		Events: []fleet.Event{{Kind: "gateway.drained"}},
	}, s.now)
	s.fold()
	if got := s.w.view.Drains; len(got) != 1 || got[0].Cut != 7 {
		t.Errorf("got leaves %+v, want one that cut 7", got)
	}
	if len(s.w.view.Gateways) != 0 {
		t.Errorf("got gateways %q, want none any more", s.w.view.Gateways)
	}
	told := slices.ContainsFunc(s.w.view.Events, func(e fleet.Event) bool { return e.Kind == "gateway.drained" && e.From == "edge-1" })
	if !told {
		t.Errorf("got events %+v, want gateway.drained of edge-1 among them", s.w.view.Events)
	}
}

func TestCommandsAboutGateways(t *testing.T) {
	c, stop := running(t)
	defer stop()
	if err := c.Configure(t.Context(), edge("e", 2)); err != nil {
		t.Fatal(err)
	}
	dir := privateDir(t)
	program := filepath.Join(dir, "crossfade")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, body string
		code       int
		says       string
	}{
		{"/api/v1/scale", `{"kind":"gateway","name":"edge","replicas":10}`, http.StatusOK, "accepted"},
		{"/api/v1/scale", `{"kind":"gateway","name":"edge","namespace":"istio-system","replicas":1}`, http.StatusOK, "accepted"},
		{"/api/v1/scale", `{"kind":"gateway","name":"edge","replicas":0}`, http.StatusBadRequest, "must be 1 or more: without a replica nobody would serve"},
		{"/api/v1/scale", `{"kind":"gateway","name":"edge","replicas":101}`, http.StatusBadRequest, "must be 100 or less"},
		{"/api/v1/scale", `{"kind":"gateway","name":"edge"}`, http.StatusBadRequest, "replicas is missing"},
		{"/api/v1/scale", `{"kind":"gateway","name":"ingressgateway","replicas":1}`, http.StatusNotFound, "no such gateway; there are: istio-system/edge"},
		{"/api/v1/scale", `{"kind":"gateway","name":"edge","namespace":"default","replicas":1}`, http.StatusNotFound, "default/edge: no such gateway"},
		{"/api/v1/scale", `{"kind":"service","name":"edge","replicas":1}`, http.StatusBadRequest, "it must be deployment or gateway"},
		{"/api/v1/scale", `{"kind":"deployment","name":"edge","replicas":1}`, http.StatusNotFound, "default/edge: no such deployment"},
		{"/api/v1/restart", `{"kind":"gateway","name":"edge"}`, http.StatusOK, "accepted"},
		{"/api/v1/restart", `{"kind":"gateway"}`, http.StatusBadRequest, "name is missing"},
		{"/api/v1/upgrade", `{"kind":"gateway","name":"edge","binary":"` + program + `"}`, http.StatusOK, "accepted"},
		{"/api/v1/upgrade", `{"name":"edge"}`, http.StatusOK, "accepted"},
		{"/api/v1/upgrade", `{"name":"edge","binary":"crossfade"}`, http.StatusBadRequest, "want an absolute path"},
		{"/api/v1/upgrade", `{"name":"edge","binary":"` + dir + `"}`, http.StatusBadRequest, "it cannot be executed"},
		{"/api/v1/upgrade", `{"kind":"deployment","name":"reviews-v2"}`, http.StatusBadRequest, "only gateways can be upgraded"},
		{"/api/v1/warmup", `{"kind":"gateway","name":"edge","action":"skip"}`, http.StatusBadRequest, `unknown field "kind"`},
	} {
		if code, says := asked(t, c, http.MethodPost, test.path, test.body); code != test.code || !strings.Contains(says, test.says) {
			t.Errorf("POST %s %s = %d %q, want %d … %s", test.path, test.body, code, says, test.code, test.says)
		}
	}
	g := c.View().Groups[0]
	if g.Replicas != 1 || g.Declared != 2 || g.Binary != program || !strings.HasPrefix(g.Revision, "labels+") {
		t.Errorf("got %+v, want 1 replica of 2 declared, and what runs is %s", g, program)
	}
}

func asked(t *testing.T, c *Control, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w.Code, strings.TrimSpace(w.Body.String())
}

// TestGatewaysSayHowFarTheyAre: those that leave count as running only.
func TestGatewaysSayHowFarTheyAre(t *testing.T) {
	c, stop := running(t)
	defer stop()
	ctx := t.Context()
	of := func(id, revision string, ready, leaving bool) fleet.Replica {
		return fleet.Replica{ID: id, Group: "edge", Namespace: fleet.GatewayNamespace, Revision: revision, Ready: ready, Leaving: leaving}
	}
	err := c.Configure(ctx, edge("e", 2))
	if err == nil {
		err = c.Report(ctx, fleet.Report{From: "s", Role: "supervisor", Replicas: []fleet.Replica{
			of("edge-1", "labels", true, false), of("edge-2", "labels", false, false), of("edge-3", "old", true, false), of("edge-4", "labels", true, true),
			{ID: "other-1", Group: "other", Namespace: fleet.GatewayNamespace},
		}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := c.command(ctx, func(*world, time.Time) {}); err != nil { // so that all is folded
		t.Fatal(err)
	}
	code, text := asked(t, c, http.MethodGet, "/api/v1/gateways", "")
	var list []GatewayStatus
	if err := json.Unmarshal([]byte(text), &list); err != nil || code != http.StatusOK || len(list) != 1 {
		t.Fatalf("GET gateways = %d %s (%v), want one", code, text, err)
	}
	if g := list[0]; g.Replicas != 2 || g.Ready != 2 || g.Updated != 2 || g.Total != 4 || len(g.Processes) != 4 {
		t.Errorf("got %+v, want 2 wanted, 2 ready, 2 updated, 4 running", g)
	}
	if code, text := asked(t, c, http.MethodGet, "/api/v1/drains", ""); code != http.StatusOK || text != "[]" {
		t.Errorf("GET drains = %d %s, want an empty list", code, text)
	}
}

// privateDir is a directory, in which and above which nobody else may write.
func privateDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := program(os.Args[0]); err != nil {
		t.Skipf("programs are not trusted here: %v", err)
	}
	return dir
}

// TestOnlyTrustedProgramsRun: whoever can write where a program is could run anything as us.
func TestOnlyTrustedProgramsRun(t *testing.T) {
	dir := privateDir(t)
	path := filepath.Join(dir, "bin", "crossfade")
	link := filepath.Join(dir, "link")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if got, err := program(link); err != nil || got != path {
		t.Errorf("program(%s) = %s, %v, want what the link points to", link, got, err)
	}
	for _, c := range []struct {
		file string
		mode os.FileMode
		want string
	}{
		{path, 0o722, "others may write there"},
		{path, 0o600, "cannot be executed"},
		{filepath.Dir(path), 0o777, "others may write there"},
		{filepath.Dir(path), 0o777 | os.ModeSticky, ""}, // where everybody changes only what is theirs
	} {
		before, err := os.Stat(c.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(c.file, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err = program(path)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with mode %v: got %v, want %q", c.file, c.mode, err, c.want)
		}
		if err := os.Chmod(c.file, before.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{"crossfade": "want an absolute path", dir: "cannot be executed", dir + "/none": "no such file", "/dev/null": "cannot be executed"} {
		if _, err := program(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("program(%s) = %v, want %q", path, err, want)
		}
	}
}
