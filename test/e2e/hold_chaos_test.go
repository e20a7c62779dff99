//go:build integration

package e2e

import (
	"math/rand/v2"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Of the run with ZooKeeper.
const (
	namedPort    = "2181"                 // of ZooKeeper
	namedRate    = 50                     // requests a second, of each of two consumers
	namedOpens   = 700 * time.Millisecond // from an application's start until it can serve; it registers at once
	namedSession = 4 * time.Second        // that an application asks ZooKeeper for
)

// A named is a fleet of applications that register themselves in ZooKeeper, each behind the registration proxy of its
// agent; a gateway sends to them, and so does somebody who follows ZooKeeper and knows nothing of crossfade.
type named struct {
	*spread
	rng       *rand.Rand
	zookeeper *exec.Cmd
	agents    map[string]*exec.Cmd // by address
	next      int                  // the last part of the newest one's address
	naive     bool                 // applications talk to ZooKeeper themselves, and nobody stands beside them
}

type namedUpheaval struct {
	upheaval
	run func(*named, *testing.T)
}

// namedUpheavals are what may happen to it.
func namedUpheavals() []namedUpheaval {
	dies := []string{"refused", "reset", "eof", "cut", "5xx", "timeout"}
	return []namedUpheaval{
		{upheaval{name: "one more comes"}, (*named).come},
		{upheaval{name: "one leaves"}, (*named).leave},
		{upheaval{name: "one goes offline, and stays for a while"}, (*named).goOffline},
		{upheaval{name: "a rollout"}, (*named).rollout},
		{upheaval{name: "ZooKeeper is killed and started again"}, (*named).killZooKeeper},
		{upheaval{name: "ZooKeeper hangs while one comes"}, (*named).hangZooKeeper},
		{upheaval{name: "control is restarted"}, (*named).restartControl},
		{upheaval{name: "kill -9 an application", costs: dies}, (*named).killApplication},
		{upheaval{name: "kill -9 an agent", costs: dies}, (*named).killAgent},
	}
}

// TestNamedChaos lets everything happen in random order to applications that register themselves, under the load of a
// gateway and of a consumer that goes by ZooKeeper alone. What is planned costs neither of them anything: nobody is listed
// before it can serve, nor after it has begun to stop; and nobody is left behind.
func TestNamedChaos(t *testing.T) {
	seed := chaosSeed(t)
	t.Logf("CROSSFADE_SEED=%d repeats the order of this run", seed)
	n := newNamed(t, rand.New(rand.NewPCG(seed, seed)))
	for range 3 {
		n.start(t)
	}
	n.settled(t)
	gateway := beginLoad(t, namedRate, "http://"+ingress+"/")
	gateway.seconds(t, 1)
	plain := followZooKeeper(t, "127.0.0.1:"+namedPort, "/services/web")

	var spans []upheaved
	all := namedUpheavals()
	n.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, u := range all {
		gateway.seconds(t, 2)
		from := time.Now()
		u.run(n, t)
		n.settled(t)
		spans = append(spans, upheaved{u.upheaval, from, time.Now()})
	}
	gateway.seconds(t, 2)
	account, shots := gateway.stop(t)
	tell(t, "the gateway", account, shots, namedSpans(spans, gateway.zero), namedRate)
	account, shots = plain.stop()
	tell(t, "who follows ZooKeeper", account, shots, namedSpans(spans, plain.zero), namedRate)
	for _, cmd := range n.agents {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	for address, cmd := range n.agents {
		ended(t, cmd, 0)
		delete(n.agents, address)
	}
	n.settled(t)
}

// TestNaiveRolloutLoses is the control of that run: without the proxy, whoever follows ZooKeeper loses requests to an
// application that registers before it can serve.
func TestNaiveRolloutLoses(t *testing.T) {
	n := newNamed(t, rand.New(rand.NewPCG(1, 1)))
	n.naive = true
	n.start(t)
	n.settled(t)
	plain := followZooKeeper(t, "127.0.0.1:"+namedPort, "/services/web")
	for range 3 {
		n.start(t)
		n.settled(t)
	}
	<-time.After(2 * namedOpens)
	account, shots := plain.stop()
	t.Logf("without the proxy %d of %d were lost: %v", len(lost(shots)), account.Sent, account.Lost)
	if len(lost(shots)) == 0 {
		t.Error("nothing was lost without the proxy: the load does not see losses")
	}
}

func namedSpans(all []upheaved, zero time.Time) (spans []span) {
	for _, u := range all {
		spans = append(spans, span{u.upheaval, u.from.Sub(zero), u.to.Sub(zero)})
	}
	return spans
}
