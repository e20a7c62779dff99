package nacos

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/secure"
	wire "crossfade.dev/internal/wire/nacos"
)

// Schemes of URLs that Dial understands.
const (
	scheme    = "nacos"
	schemeTLS = "nacoss"
)

// Schemes returns those of the URLs that Dial understands.
func Schemes() []string { return []string{scheme, schemeTLS} }

const (
	defaultPort = 8848
	defaultPath = "/nacos"
	defaultTTL  = 10 * time.Second
	minTTL      = 2 * time.Second
)

var (
	errNoAddress = errors.New("no address: want nacos://HOST:PORT")
	errPair      = errors.New("cert and key belong together")
	errNoListing = errors.New("over HTTP v3 Nacos does not say to applications which services it has: name one with ?service=, or take api=grpc")
)

// A place is what a URL says.
type place struct {
	servers   []server
	namespace string
	group     string
	service   string   // "" is all to follow, and each instance's own to publish
	instances string   // the name of the group of instances that Nacos calls a cluster
	api       wire.API // 0 is gRPC
	path      string   // of Nacos's HTTP, without a slash at the end
	ttl       time.Duration
	user      string
	password  string
	tls       bool
	files     secure.Files
	name      string // that the server's certificate must have; "" is that of the address
}

// A server is one of Nacos's.
type server struct{ http, grpc string } // HOST:PORT

// parse reads a URL:
//
//	nacos://[USER@]HOST[:PORT][,HOST[:PORT]…][/NAMESPACE][?group=GROUP&service=NAME&cluster=NAME&api=grpc|v1|v2|v3&ttl=10s
//	        &path=/nacos&grpc-offset=1000&ca=FILE&cert=FILE&key=FILE&server-name=NAME&password-file=FILE]
//
// NAMESPACE is the id of one. With ca, cert or the scheme nacoss the servers are spoken to over TLS.
func parse(raw string) (place, error) {
	u, err := registry.ParseURL(raw, Schemes())
	if err != nil {
		return place{}, err
	}
	p := place{namespace: strings.Trim(u.Path, "/"), user: u.User, tls: u.Scheme == schemeTLS}
	if strings.Contains(p.namespace, "/") {
		return place{}, fmt.Errorf("namespace %q: want one id, without a slash", p.namespace)
	}
	if p.namespace == "" {
		p.namespace = wire.DefaultNamespace
	}
	return p, p.parameters(u)
}

// parameters reads what stands after the question mark, and the addresses, which depend on it.
func (p *place) parameters(u registry.URL) error {
	ttl, passwordFile, api, offset := defaultTTL.String(), "", "grpc", strconv.Itoa(wire.PortOffset)
	p.group, p.instances, p.path = wire.DefaultGroup, wire.DefaultCluster, defaultPath
	err := u.Parameters(map[string]*string{
		"group": &p.group, "service": &p.service, "cluster": &p.instances, "api": &api, "ttl": &ttl, "path": &p.path, "grpc-offset": &offset,
		"ca": &p.files.CA, "cert": &p.files.Certificate, "key": &p.files.Key, "server-name": &p.name, "password-file": &passwordFile,
	})
	if err != nil {
		return err
	}
	var known bool
	if p.api, known = map[string]wire.API{"grpc": 0, "v1": wire.V1, "v2": wire.V2, "v3": wire.V3}[api]; !known {
		return fmt.Errorf("api %q is not one of grpc, v1, v2, v3", api)
	}
	if p.ttl, err = registry.ParseTTL(ttl, minTTL); err != nil {
		return err
	}
	if (p.files.Certificate == "") != (p.files.Key == "") {
		return errPair
	}
	p.tls = p.tls || p.files.CA != "" || p.files.Certificate != ""
	p.path = strings.TrimRight("/"+strings.Trim(p.path, "/"), "/")
	p.files.Side = "nacos"
	if err := p.addresses(u.Addresses, offset); err != nil {
		return err
	}
	p.password, err = registry.Password(p.user, passwordFile)
	return err
}

func (p *place) addresses(authority, offset string) error {
	far, err := strconv.Atoi(offset)
	if err != nil {
		return fmt.Errorf("grpc-offset %q: want a number", offset)
	}
	if authority == "" {
		return errNoAddress
	}
	for address := range strings.SplitSeq(authority, ",") {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			host, port = strings.Trim(address, "[]"), strconv.Itoa(defaultPort)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || n == 0 || strings.ContainsAny(host, " /") {
			return fmt.Errorf("address %q: want HOST or HOST:PORT", address)
		}
		if g := int(n) + far; g < 1 || g > 65535 {
			return fmt.Errorf("address %q: its gRPC would be at port %d: want another grpc-offset", address, g)
		}
		p.servers = append(p.servers, server{http: net.JoinHostPort(host, port), grpc: net.JoinHostPort(host, strconv.Itoa(int(n)+far))})
	}
	return nil
}
