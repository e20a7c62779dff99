package zookeeper

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/secure"
)

// Schemes of URLs that Dial understands.
const (
	scheme    = "zookeeper"
	schemeTLS = "zookeepers"
)

// Schemes returns those of the URLs that Dial understands.
func Schemes() []string { return []string{scheme, schemeTLS} }

const (
	usualPort  = "2181"
	defaultTTL = 10 * time.Second
	minTTL     = time.Second
)

var (
	errPassword  = errors.New("a password in a URL is seen by everybody who lists processes: name its file with ?password-file=, or set " + registry.PasswordEnv)
	errUser      = errors.New("a user stands in ?auth=digest:USER, not before the @")
	errAuth      = errors.New("want digest:USER")
	errNoAddress = errors.New("no address: want zookeeper://HOST[:PORT]")
	errPair      = errors.New("cert and key belong together")
	errRoot      = errors.New("want /NAME[/NAME…]")
	errACL       = errors.New("want world, read or creator")
	errACLNobody = errors.New("read and creator are for who says who it is: want ?auth= too")
)

// A place is what a URL says.
type place struct {
	servers  []string // HOST:PORT
	root     string   // "/services", without a slash at the end
	layout   layout
	service  string // "" is every one
	port     string // name of the port that is registered; "" is http, or else the first by name
	protocol string // of Dubbo's interfaces
	ttl      time.Duration
	user     string // of digest
	password string
	acl      string // "world", "read" or "creator"
	tls      bool
	files    secure.Files
	name     string // that the server's certificate must have; "" is that of the address
}

// parse reads a URL:
//
//	zookeeper://HOST[:PORT][,HOST[:PORT]…][/ROOT][?layout=curator|dubbo|dubbo-app&service=NAME&port=NAME&protocol=dubbo&ttl=10s
//	  &auth=digest:USER&password-file=FILE&acl=world|read|creator&ca=FILE&cert=FILE&key=FILE&server-name=NAME]
//
// With ca, cert or the scheme zookeepers the servers are spoken to over TLS.
func parse(raw string) (place, error) {
	u, err := registry.ParseURL(raw, Schemes())
	if err != nil {
		return place{}, err
	}
	if u.User != "" {
		return place{}, errUser
	}
	p := place{tls: u.Scheme == schemeTLS}
	if p.servers, err = addresses(u.Addresses); err != nil {
		return place{}, err
	}
	if err := p.query(u); err != nil {
		return place{}, err
	}
	p.root = strings.TrimRight(u.Path, "/")
	if p.root == "" {
		p.root = p.layout.root()
	}
	for name := range strings.SplitSeq(p.root[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return place{}, fmt.Errorf("root %q: %w", p.root, errRoot)
		}
	}
	return p, nil
}

func addresses(authority string) ([]string, error) {
	if authority == "" {
		return nil, errNoAddress
	}
	list := strings.Split(authority, ",")
	for i, address := range list {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			host, port, err = net.SplitHostPort(address + ":" + usualPort)
		}
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("address %q: want HOST or HOST:PORT", address)
		}
		list[i] = net.JoinHostPort(host, port)
	}
	return list, nil
}

// query reads what stands after the question mark.
func (p *place) query(u registry.URL) error {
	ttl, kind, auth, passwordFile := defaultTTL.String(), string(curator), "", ""
	err := u.Parameters(map[string]*string{
		"ttl": &ttl, "layout": &kind, "service": &p.service, "port": &p.port, "protocol": &p.protocol, "auth": &auth, "password-file": &passwordFile,
		"acl": &p.acl, "ca": &p.files.CA, "cert": &p.files.Certificate, "key": &p.files.Key, "server-name": &p.name,
	})
	if err != nil {
		return err
	}
	if p.ttl, err = registry.ParseTTL(ttl, minTTL); err != nil {
		return err
	}
	if p.layout = layout(kind); p.layout.root() == "" {
		return fmt.Errorf("layout %q: want %s, %s or %s", kind, curator, dubbo, dubboApp)
	}
	if p.protocol == "" {
		p.protocol = "dubbo"
	}
	if strings.Contains(p.service, "/") {
		return fmt.Errorf("service %q: a name has no slash", p.service)
	}
	if (p.files.Certificate == "") != (p.files.Key == "") {
		return errPair
	}
	p.tls = p.tls || p.files.CA != "" || p.files.Certificate != ""
	p.files.Side = "zookeeper"
	return p.secret(auth, passwordFile)
}

// secret reads the user and the password, if there are any.
func (p *place) secret(auth, file string) error {
	if auth != "" {
		kind, user, _ := strings.Cut(auth, ":")
		switch {
		case kind != "digest" || user == "":
			return fmt.Errorf("auth %q: %w", auth, errAuth)
		case strings.Contains(user, ":"):
			return errPassword
		}
		p.user = user
	}
	var err error
	if p.password, err = registry.Password(p.user, file); err != nil {
		return err
	}
	return p.others()
}

// others reads what others may do with what is written.
func (p *place) others() error {
	switch {
	case p.acl == "" && p.user == "":
		p.acl = "world"
	case p.acl == "":
		p.acl = "read"
	case !slices.Contains([]string{"world", "read", "creator"}, p.acl):
		return fmt.Errorf("acl %q: %w", p.acl, errACL)
	case p.acl != "world" && p.user == "":
		return fmt.Errorf("acl %q: %w", p.acl, errACLNobody)
	}
	return nil
}
