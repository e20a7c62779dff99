package nacos

import (
	"cmp"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"crossfade.dev/internal/registry/registrytest"
)

// world is a Nacos of its own, that goes away and comes back as these say.
func world(t *testing.T, api string, stop, start func(*nacosServer)) registrytest.World {
	t.Helper()
	s := newServer(t)
	form := func(key string) url.Values {
		part := strings.Split(key, "/")
		at, err := netip.ParseAddrPort(part[4])
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{"namespaceId": {part[0]}, "groupName": {part[1]}, "serviceName": {part[2]}, "clusterName": {part[3]}, "ip": {at.Addr().String()}, "port": {part[4][strings.LastIndex(part[4], ":")+1:]}, "ephemeral": {"true"}}
	}
	return registrytest.World{
		Dial:  func() registrytest.Client { return dial(t, s.url("ttl=3s&api="+api)) },
		Stop:  func() { stop(s) },
		Start: func() { start(s) },
		Key: func(incarnation string) string {
			if incarnation == "z" { // of two that say one incarnation, the first by key has it
				return "public/DEFAULT_GROUP/reviews/DEFAULT/127.6.6.6:9080"
			}
			return "public/DEFAULT_GROUP/reviews/DEFAULT/" + registrytest.Address(incarnation).String() + ":9080"
		},
		Lose: func(key string) { s.do(t, http.MethodDelete, form(key).Encode()) },
		Write: func(key, data string) {
			v := form(key)
			v.Set("metadata", cmp.Or(map[string]string{"": `{"crossfade.weight":"heavy"}`, impostor: impostor}[data], `{"crossfade.incarnation":"x","crossfade.check_healthy":"-1"}`))
			s.do(t, http.MethodPost, v.Encode())
		},
		Impostor: impostor,
	}
}

// impostor is the metadata of somebody who says that it is somebody else.
const impostor = `{"crossfade.incarnation":"a-1"}`

func TestARegistryThatIsKilled(t *testing.T) {
	t.Parallel()
	for _, api := range []string{"grpc", "v1"} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			registrytest.Run(t, func(t *testing.T) registrytest.World {
				t.Helper()
				return world(t, api, func(s *nacosServer) { s.kill(t) }, func(s *nacosServer) { s.start(t) })
			})
		})
	}
}

// TestARegistryThatHangs has its connections stay, as a partition of the network would.
func TestARegistryThatHangs(t *testing.T) {
	t.Parallel()
	for _, api := range []string{"grpc", "v1"} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			registrytest.RunAway(t, func(t *testing.T) registrytest.World {
				t.Helper()
				return world(t, api, func(s *nacosServer) { s.signal(t, syscall.SIGSTOP) }, func(s *nacosServer) { s.signal(t, syscall.SIGCONT) })
			})
		})
	}
}
