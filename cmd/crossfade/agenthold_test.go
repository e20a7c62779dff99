package main

import (
	"errors"
	"net"
	"strings"
	"testing"

	"crossfade.dev/internal/agent"
)

// Each kind of proxy listens as soon as it has been opened, and no more when it has been closed.
func TestHolds(t *testing.T) {
	for _, url := range []string{"zookeeper://10.0.0.1?listen=", "nacos://10.0.0.1?listen=", "etcd://10.0.0.1?prefix=/services/&listen="} {
		var a agent.Agent
		closeAll, err := openHolds(t.Context(), &a, []string{url + "127.0.0.1:0&annotate=false&away=open"})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if a.Gate == nil || len(a.Gate.Proxies) != 1 || a.Gate.Annotate || !a.Gate.FailOpen || !strings.Contains(a.Gate.Proxies[0].Registry(), "10.0.0.1") {
			t.Errorf("%s: got the gate %+v, want one proxy, told what the URL says", url, a.Gate)
			continue
		}
		at := a.Gate.Proxies[0].(interface{ Addr() string }).Addr()
		if conn, err := net.Dial("tcp", at); err != nil {
			t.Errorf("%s: it does not listen: %v", url, err)
		} else {
			conn.Close()
		}
		if err := closeAll(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if conn, err := net.Dial("tcp", at); err == nil {
			conn.Close()
			t.Errorf("%s: it listens still", url)
		}
	}
}

// An agent without --hold has no gate; closing is nothing then.
func TestNoHolds(t *testing.T) {
	var a agent.Agent
	closeAll, err := openHolds(t.Context(), &a, nil)
	if err != nil || a.Gate != nil || closeAll() != nil {
		t.Errorf("got %+v, %v, want nothing", a.Gate, err)
	}
}

// What cannot be says which --hold, why, and what to do; what was opened before is closed.
func TestHoldsThatCannotBe(t *testing.T) {
	first, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	taken := first.Addr().String()
	good := "zookeeper://zk1?listen=127.0.0.1:0"
	for name, tt := range map[string]struct {
		urls []string
		code int
		want []string
	}{
		"no URL":           {[]string{"zk1:2181"}, 2, []string{"--hold zk1:2181: want SCHEME://"}},
		"a password":       {[]string{"zookeeper://me:secret@zk1?listen=127.0.0.1:0"}, 2, []string{"--hold zookeeper://me@zk1?listen=127.0.0.1:0: a password in a URL is seen"}},
		"no listen":        {[]string{"zookeeper://zk1:2181"}, 2, []string{"Say listen=ADDRESS:PORT"}},
		"another scheme":   {[]string{"consul://a?listen=127.0.0.1:0"}, 2, []string{"there is no registration proxy for consul: there are etcd, etcds, nacos, zookeeper"}},
		"its TLS":          {[]string{"zookeepers://a?listen=127.0.0.1:0"}, 2, []string{"there is no registration proxy for zookeepers", "tls=true"}},
		"itself":           {[]string{"zookeeper://127.0.0.1:2181?listen=127.0.0.1:2181"}, 2, []string{"127.0.0.1:2181 of the registry is where the proxy is to listen", "127.0.0.2:2181"}},
		"itself, Nacos":    {[]string{"nacos://localhost?listen=127.0.0.1:8848"}, 2, []string{"localhost:8848 of the registry is where the proxy is to listen"}},
		"itself, etcd":     {[]string{"etcd://a,127.0.0.1?listen=127.0.0.1:2379&prefix=/a"}, 2, []string{"127.0.0.1:2379 of the registry is where the proxy is to listen"}},
		"not here":         {[]string{"zookeeper://zk1?listen=192.0.2.1:2181&expose=true"}, 1, []string{"it is no address of this machine"}},
		"taken, Nacos":     {[]string{"nacos://a?listen=" + taken}, 1, []string{"address already in use", "say another listen="}},
		"not loopback":     {[]string{"zookeeper://zk1?listen=0.0.0.0:0"}, 2, []string{"not on loopback only", "expose=true"}},
		"of another kind":  {[]string{"zookeeper://zk1?listen=127.0.0.1:0&prefix=/a"}, 2, []string{`there is no "prefix"`, "paths"}},
		"no prefix":        {[]string{"etcd://a?listen=127.0.0.1:0"}, 2, []string{"prefix="}},
		"taken":            {[]string{"zookeeper://zk1?listen=" + taken}, 1, []string{taken, "address already in use", "say another listen=, and give the application that one"}},
		"one of two":       {[]string{good, "zookeeper://zk1?listen=" + taken}, 1, []string{"address already in use"}},
		"two that differ":  {[]string{good, good + "&annotate=false"}, 2, []string{"annotate=false: annotate and away hold for all", "say the same in every --hold"}},
		"two that differ,": {[]string{good, good + "&away=open"}, 2, []string{"away=open: annotate and away hold for all"}},
	} {
		var a agent.Agent
		_, err := openHolds(t.Context(), &a, tt.urls)
		var exit exitError
		if !errors.As(err, &exit) || exit.code != tt.code || a.Gate != nil {
			t.Errorf("%s: got %v, %+v, want exit code %d", name, err, a.Gate, tt.code)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", name, err, want)
			}
		}
	}
}
