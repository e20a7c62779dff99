package config

// What a trafficPolicy has in common wherever it stands.

func policyTable(at string) []Decision {
	list := []Decision{
		{Field: at + "loadBalancer.simple", Note: "LEAST_REQUEST where it is not given, of which LEAST_CONN is the older name; a loadBalancer replaces the whole of the one above it; " +
			"PASSTHROUGH: the endpoint whose address the request names as its host; a request that names a service goes where RANDOM sends it"},
		{Field: at + "loadBalancer.warmupDurationSecs", Note: "the older spelling of warmup.duration"},
		{Field: at + "loadBalancer.warmup.duration", Note: "with every balancer, consistentHash and RANDOM too, where Istio pays no attention to it"},
		{Field: at + "loadBalancer.warmup.minimumPercent", Note: "10 where it is not given"},
		{Field: at + "loadBalancer.warmup.aggression", Note: "1 where it is not given"},
	}
	list = append(list, hashTable(at+"loadBalancer.consistentHash.")...)
	list = append(list, localityTable(at+"loadBalancer.localityLbSetting.")...)
	list = append(list, clientTLSTable(at+"tls.")...)
	list = append(list, connectionsTable(at+"connectionPool.")...)
	return append(list,
		Decision{Field: at + "connectionPool.http.h2UpgradePolicy", Note: "UPGRADE: endpoints are spoken to in HTTP/2, whatever the port says; DO_NOT_UPGRADE, the default, leaves it to the port"},
		Decision{Field: at + "connectionPool.http.useClientProtocol", Note: "endpoints are spoken to in the version in which the request came, whatever the port says"},
		Decision{Field: at + "outlierDetection", Effect: Unenforced, Note: "no endpoint would be ejected for how it answers"},
		Decision{Field: at + "outlierDetection.minHealthPercent", Note: "with a smaller part of the endpoints left, those that this gateway has ejected get requests too; 0, which is the default, never; instances whose own readinessProbe fails are out in any case"},
	)
}

func portPolicyTable(at string) []Decision {
	at += "portLevelSettings[]."
	return append([]Decision{{Field: at + "port.number", Note: "what is not set here has its default, not what is set above"}}, policyTable(at)...)
}

// clientTLSTable is about how endpoints are spoken to.
func clientTLSTable(at string) []Decision {
	return []Decision{
		{Field: at + "mode", Note: "DISABLE, SIMPLE or MUTUAL; ISTIO_MUTUAL is refused: nobody hands out certificates of a mesh here"},
		{Field: at + "clientCertificate", Note: "a PEM file; MUTUAL only; a relative path starts at the file that names it; read again when it changes"},
		{Field: at + "privateKey", Note: "a PEM file; MUTUAL only"},
		{Field: at + "caCertificates", Note: "a PEM file; where it is not given, the authorities that the system trusts: endpoints are always verified, but for insecureSkipVerify"},
		{Field: at + "subjectAltNames", Note: "one of which the endpoint's certificate must carry; where it is not given, it must be for sni"},
		{Field: at + "sni", Note: "the host of the service where it is not given; Istio takes that of each request"},
		{Field: at + "insecureSkipVerify", Note: "any certificate will do"},
		{Field: at + "credentialName", Effect: Refused, Note: "name PEM files in clientCertificate, privateKey and caCertificates"},
	}
}

// connectionsTable is about how many connections and requests there may be. Limits are those of a gateway, for all
// endpoints of the service on this port, or of the subset, together.
func connectionsTable(at string) []Decision {
	return []Decision{
		{Field: at + "tcp.maxConnections", Note: "to all endpoints together, in each gateway; idle ones make room for those that are needed; no limit where it is not given, but 1024 to each endpoint"},
		{Field: at + "tcp.connectTimeout", Note: "TLS included; 5s where it is not given"},
		{Field: at + "tcp.maxConnectionDuration", Note: "a connection carries no other request after it, and is closed with its last one"},
		{Field: at + "tcp.idleTimeout", Note: "where http.idleTimeout is not given; 0s: never"},
		{Field: at + "tcp.tcpKeepalive", Effect: Unenforced, Note: "connections are probed every 15s, as Go does"},
		{Field: at + "http.http1MaxPendingRequests", Note: "also over HTTP/2; requests that wait for a connection, also while it is made; one more is answered with 503 and counted in upstream_rq_pending_overflow"},
		{Field: at + "http.http2MaxRequests", Note: "also over HTTP/1.1; requests that have a connection; one more is answered with 503 and counted in upstream_rq_pending_overflow"},
		{Field: at + "http.maxRequestsPerConnection", Note: "1 makes a connection for every request"},
		{Field: at + "http.maxRetries", Note: "requests at a time that are being sent another time; where there are so many, a request that failed is not"},
		{Field: at + "http.idleTimeout", Note: "of a connection that carries no request; 60s where it is not given, as endpoints often close after 75s or less; Istio's default is 1h"},
		{Field: at + "http.maxConcurrentStreams", Note: "requests at a time on one connection of HTTP/2; 100 where it is not given, or what the endpoint says when that is fewer"},
		{Field: at + "http.http2KeepAlive", Effect: Unenforced, Note: "connections of HTTP/2 are not probed with PING"},
	}
}

// hashTable is about a consistentHash.
func hashTable(at string) []Decision {
	return []Decision{
		{Field: at + "httpHeaderName", Note: "a request without the header goes to anyone, as without any of the keys below; also :authority, :path and :method"},
		{Field: at + "httpCookie.name"},
		{Field: at + "httpCookie.path", Note: "of the cookie that is given; without it clients send the cookie back only below the path of their first request"},
		{Field: at + "httpCookie.ttl", Note: "a client without the cookie is given one, for as long as its session lasts with 0s; without ttl it is given none"},
		{Field: at + "httpCookie.attributes", Note: "of the cookie that is given, which is HttpOnly in any case"},
		{Field: at + "useSourceIp", Note: "the other end of the connection, whatever X-Forwarded-For says; on the mesh port the instance that calls"},
		{Field: at + "httpQueryParameterName", Note: "name and value as they stand in the URL"},
		{Field: at + "ringHash.minimumRingSize", Note: "points for an endpoint of weight 1; 1024 where it is not given, 8388608 at most"},
		{Field: at + "minimumRingSize", Note: "the older spelling of ringHash.minimumRingSize"},
		{Field: at + "maglev.tableSize", Note: "a prime number below 5000011; 65537 where it is not given"},
	}
}

// localityTable is about a localityLbSetting.
func localityTable(at string) []Decision {
	return []Decision{
		{Field: at + "enabled", Note: "true where the setting is given; --locality says where the gateway is; requests stay near, as far as endpoints there are in service and warm; no outlierDetection is needed, checks eject endpoints"},
		{Field: at + "distribute[].from", Note: "of the data plane that sends; the first that holds decides"},
		{Field: at + "distribute[].to", Note: "weights that sum to 100; places that overlap are refused"},
		{Field: at + "failover[].from"},
		{Field: at + "failover[].to"},
		{Field: at + "failoverPriority", Note: "label, or label=value; this gateway carries istio=ingressgateway, app=istio-ingressgateway and what --label adds"},
	}
}

const (
	localityForm   = "region, region/zone or region/zone/sub-zone; where it is not given, labels say it as those of a Deployment do"
	instanceLabels = `crossfade.dev/warmup: "off" leaves an instance out of warm-up`
	templateLabels = instanceLabels + "; istio-locality (region.zone.sub-zone), or topology.kubernetes.io/region and zone and topology.istio.io/subzone, say where the instances are"
)
