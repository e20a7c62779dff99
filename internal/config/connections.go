package config

import (
	"cmp"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

// never is how long a connection stays that is not to be closed for being idle.
const never = 100 * 365 * 24 * time.Hour

// Bounded is fleet.Policy's Connections, where nil says something.
type bounded struct{ to *fleet.Connections }

// connections reads what a pool's connections and requests may come to; nil leaves all of it to the data plane.
func (b *builder) connections(o *object, path string, pool *networking.ConnectionPoolSettings) *fleet.Connections {
	tcp, http := pool.GetTcp(), pool.GetHttp()
	c := fleet.Connections{
		ConnectTimeout: lasting(tcp.GetConnectTimeout()),
		IdleTimeout:    lasting(http.GetIdleTimeout()),
		MaxLifetime:    lasting(tcp.GetMaxConnectionDuration()),
	}
	for _, n := range []struct {
		field string
		value int32
		to    *int
	}{
		{".tcp.maxConnections", tcp.GetMaxConnections(), &c.Max},
		{".http.http1MaxPendingRequests", http.GetHttp1MaxPendingRequests(), &c.Pending},
		{".http.http2MaxRequests", http.GetHttp2MaxRequests(), &c.Requests},
		{".http.maxRetries", http.GetMaxRetries(), &c.Retries},
		{".http.maxRequestsPerConnection", http.GetMaxRequestsPerConnection(), &c.PerConnection},
		{".http.maxConcurrentStreams", http.GetMaxConcurrentStreams(), &c.Streams},
	} {
		b.notNegative(o, path+n.field, int64(n.value))
		if n.value == 0 && o.has(path+n.field) {
			b.warn(o, path+n.field, "0 sets no limit, as in Istio; write 1 or more, or remove it")
		}
		*n.to = int(n.value)
	}
	switch idle := tcp.GetIdleTimeout(); {
	case idle == nil:
	case http.GetIdleTimeout() == nil:
		c.IdleTimeout = cmp.Or(lasting(idle), never)
	default:
		b.warn(o, path+".tcp.idleTimeout", "http.idleTimeout goes before it; remove one of the two")
	}
	if c == (fleet.Connections{}) {
		return nil
	}
	return &c
}

// lasting returns a duration, 0 where there is none.
func lasting(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}
