package etcd

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/secure"
)

// Schemes of URLs that Dial understands.
const (
	scheme     = "etcd"
	schemeTLS  = "etcds"
	schemeUnix = "etcd+unix"
)

// Schemes returns those of the URLs that Dial understands.
func Schemes() []string { return []string{scheme, schemeTLS, schemeUnix} }

const (
	defaultPrefix = "/crossfade"
	defaultTTL    = 10 * time.Second
	minTTL        = time.Second
)

var (
	errNoAddress = errors.New("no address: want etcd://HOST:PORT")
	errPair      = errors.New("cert and key belong together")
)

// A place is what a URL says.
type place struct {
	endpoints []string
	prefix    string // without a slash at the end
	ttl       time.Duration
	user      string
	password  string
	tls       bool
	files     secure.Files
	name      string // that the server's certificate must have; "" is that of the address
}

// parse reads a URL:
//
//	etcd://[USER@]HOST:PORT[,HOST:PORT…][/PREFIX][?ca=FILE&cert=FILE&key=FILE&server-name=NAME&password-file=FILE&ttl=10s]
//	etcd+unix:///PATH/OF/SOCKET[?prefix=PREFIX&ttl=10s]
//
// With ca, cert or the scheme etcds the servers are spoken to over TLS.
func parse(raw string) (place, error) {
	u, err := registry.ParseURL(raw, Schemes())
	if err != nil {
		return place{}, err
	}
	p := place{prefix: defaultPrefix, user: u.User, tls: u.Scheme == schemeTLS}
	switch {
	case u.Scheme != schemeUnix:
		if p.endpoints, err = addresses(u.Addresses); err != nil {
			return place{}, err
		}
		if u.Path != "" && u.Path != "/" {
			p.prefix = u.Path
		}
	case u.Addresses != "" || u.Path == "":
		return place{}, errors.New("want etcd+unix:///PATH/OF/SOCKET")
	default:
		p.endpoints = []string{"unix://" + u.Path}
	}
	return p, p.query(u)
}

func addresses(authority string) ([]string, error) {
	if authority == "" {
		return nil, errNoAddress
	}
	list := strings.Split(authority, ",")
	for _, address := range list {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("address %q: want HOST:PORT", address)
		}
	}
	return list, nil
}

// query reads what stands after the question mark.
func (p *place) query(u registry.URL) error {
	ttl, passwordFile := defaultTTL.String(), ""
	err := u.Parameters(map[string]*string{
		"prefix": &p.prefix, "ttl": &ttl, "ca": &p.files.CA, "cert": &p.files.Certificate, "key": &p.files.Key,
		"server-name": &p.name, "password-file": &passwordFile,
	})
	if err != nil {
		return err
	}
	if p.ttl, err = registry.ParseTTL(ttl, minTTL); err != nil {
		return err
	}
	if (p.files.Certificate == "") != (p.files.Key == "") {
		return errPair
	}
	p.tls = p.tls || p.files.CA != "" || p.files.Certificate != ""
	p.prefix = "/" + strings.Trim(p.prefix, "/")
	p.files.Side = "etcd"
	p.password, err = registry.Password(p.user, passwordFile)
	return err
}
