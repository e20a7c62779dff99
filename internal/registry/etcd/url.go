package etcd

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

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

// PasswordEnv is the variable of the environment that holds the password of a URL's user, where the URL names no file.
const PasswordEnv = "CROSSFADE_REGISTRY_PASSWORD" //nolint:gosec // the name of one

const (
	defaultPrefix = "/crossfade"
	defaultTTL    = 10 * time.Second
	minTTL        = time.Second
	maxTTL        = time.Hour
)

var (
	errPassword  = errors.New("a password in a URL is seen by everybody who lists processes: name its file with ?password-file=, or set " + PasswordEnv)
	errNoAddress = errors.New("no address: want etcd://HOST:PORT")
	errPair      = errors.New("cert and key belong together")
	errUser      = errors.New("there is a password but no user: want etcd://USER@HOST:PORT")
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
	// net/url knows one address only.
	at, rest, _ := strings.Cut(raw, "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, rest = rest[:i], rest[i:]
	} else {
		rest = ""
	}
	u, err := url.Parse(at + "://" + rest)
	if err != nil {
		return place{}, err
	}
	p := place{prefix: defaultPrefix, ttl: defaultTTL, tls: u.Scheme == schemeTLS}
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		user, err := url.PathUnescape(authority[:i])
		if err != nil {
			return place{}, err
		}
		if strings.Contains(user, ":") {
			return place{}, errPassword
		}
		p.user, authority = user, authority[i+1:]
	}
	switch u.Scheme {
	case schemeUnix:
		if authority != "" || u.Path == "" {
			return place{}, errors.New("want etcd+unix:///PATH/OF/SOCKET")
		}
		p.endpoints = []string{"unix://" + u.Path}
	case scheme, schemeTLS:
		if p.endpoints, err = addresses(authority); err != nil {
			return place{}, err
		}
		if u.Path != "" && u.Path != "/" {
			p.prefix = u.Path
		}
	default:
		return place{}, fmt.Errorf("scheme %q is not one of %s", u.Scheme, strings.Join(Schemes(), ", "))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return place{}, err
	}
	return p, p.query(query)
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
func (p *place) query(query url.Values) error {
	ttl, passwordFile := p.ttl.String(), ""
	known := map[string]*string{
		"prefix": &p.prefix, "ttl": &ttl, "ca": &p.files.CA, "cert": &p.files.Certificate, "key": &p.files.Key,
		"server-name": &p.name, "password-file": &passwordFile,
	}
	for name, values := range query {
		switch at := known[name]; {
		case at == nil:
			return fmt.Errorf("there is no %q: there are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case len(values) > 1:
			return fmt.Errorf("%s is there twice", name)
		default:
			*at = values[0]
		}
	}
	var err error
	if p.ttl, err = time.ParseDuration(ttl); err != nil || p.ttl < minTTL || p.ttl > maxTTL {
		return fmt.Errorf("ttl %q: want a duration of %v to %v", ttl, minTTL, maxTTL)
	}
	if (p.files.Certificate == "") != (p.files.Key == "") {
		return errPair
	}
	p.tls = p.tls || p.files.CA != "" || p.files.Certificate != ""
	p.prefix = "/" + strings.Trim(p.prefix, "/")
	p.files.Side = "etcd"
	return p.secret(passwordFile)
}

// secret reads the password, if there is one.
func (p *place) secret(file string) error {
	p.password = os.Getenv(PasswordEnv)
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		p.password = strings.TrimRight(string(data), "\r\n")
		if p.user == "" {
			return errUser
		}
	}
	if p.user != "" && p.password == "" {
		return fmt.Errorf("user %s has no password: %w", p.user, errNoPassword)
	}
	return nil
}

var errNoPassword = errors.New("name its file with ?password-file=, or set " + PasswordEnv)
