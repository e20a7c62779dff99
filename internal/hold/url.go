package hold

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/registry"
)

// A URL is what people say of a registration proxy: which registry it stands before, and where it listens.
//
//	SCHEME://[USER@]HOST[:PORT][,HOST[:PORT]…][/PATH]?listen=ADDRESS:PORT[&annotate=false][&away=open][&expose=true][&…]
type URL struct {
	Scheme    string
	User      string
	Addresses []string          // of the registry, as they are written: HOST or HOST:PORT; one at least
	Path      string            // "" or with a slash at its beginning
	Listen    netip.AddrPort    // for the application; on loopback, unless expose=true
	Annotate  bool              // see Gate
	FailOpen  bool              // likewise: away=open
	Rest      map[string]string // parameters that one kind of registry has
}

var (
	errPassword = errors.New("a password in a URL is seen by everybody who lists processes; the application logs in through the proxy, which needs none")
	errListen   = errors.New("where does it listen? Say listen=ADDRESS:PORT, as in ?listen=127.0.0.1:2181, and give the application that address as its registry's")
)

// ParseURL reads a URL. Whoever opens it says with Only which parameters it has.
func ParseURL(raw string) (URL, error) {
	scheme, _, is := strings.Cut(raw, "://")
	switch {
	case !is || scheme == "":
		return URL{}, errors.New("want SCHEME://HOST:PORT?listen=127.0.0.1:PORT")
	case registry.ShownURL(raw) != raw:
		return URL{}, errPassword
	}
	read, err := registry.ParseURL(raw, []string{scheme})
	if err != nil {
		return URL{}, err
	}
	u := URL{Scheme: scheme, User: read.User, Addresses: strings.Split(read.Addresses, ","), Path: read.Path}
	for _, address := range u.Addresses {
		if !isAddress(address) {
			return URL{}, fmt.Errorf("address %q of the registry: want HOST:PORT", address)
		}
	}
	return u.with(read.Query)
}

// isAddress says whether s is HOST or HOST:PORT.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil { // there is no port, or too much
		host, port = bare(s), "1"
	}
	if _, err := netip.ParseAddr(host); err != nil && (host == "" || strings.ContainsAny(host, ":[]")) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// bare is an address of IPv6 without its brackets.
func bare(host string) string {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1]
	}
	return host
}

// with is the URL with what stands behind its question mark.
func (u URL) with(query url.Values) (URL, error) {
	said := map[string]string{"annotate": "true", "away": "closed", "expose": "false"}
	u.Rest = map[string]string{}
	for name, values := range query {
		if len(values) > 1 {
			return URL{}, fmt.Errorf("%s is there twice", name)
		}
		if _, common := said[name]; common || name == "listen" {
			said[name] = values[0]
		} else {
			u.Rest[name] = values[0]
		}
	}
	for name, two := range map[string][2]string{"annotate": {"true", "false"}, "away": {"closed", "open"}, "expose": {"false", "true"}} {
		if said[name] != two[0] && said[name] != two[1] {
			return URL{}, fmt.Errorf("%s=%s: want %s or %s", name, said[name], two[0], two[1])
		}
	}
	u.Annotate, u.FailOpen = said["annotate"] == "true", said["away"] == "open"
	if said["listen"] == "" {
		return URL{}, errListen
	}
	var err error
	if u.Listen, err = netip.ParseAddrPort(said["listen"]); err != nil {
		return URL{}, fmt.Errorf("listen=%s: want ADDRESS:PORT, as in 127.0.0.1:2181", said["listen"])
	}
	if !u.Listen.Addr().IsLoopback() && said["expose"] != "true" {
		return URL{}, fmt.Errorf("listen=%s is not on loopback only, and whoever reaches it registers, and is withdrawn, as this application; listen on 127.0.0.1, or say expose=true, too", u.Listen)
	}
	return u, nil
}

// Only refuses parameters that are not known to whoever opens the URL.
func (u URL) Only(known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(u.Rest)) {
		if !slices.Contains(known, name) {
			all := slices.Sorted(slices.Values(append([]string{"annotate", "away", "expose", "listen"}, known...)))
			return fmt.Errorf("there is no %q: there are %s", name, strings.Join(all, ", "))
		}
	}
	return nil
}

// At returns the registry's addresses, with this port where none is written. One where the proxy itself listens would have
// it call itself for ever.
func (u URL) At(port string) ([]string, error) {
	list := make([]string, len(u.Addresses))
	for i, address := range u.Addresses {
		list[i] = address
		if _, _, err := net.SplitHostPort(address); err != nil {
			list[i] = net.JoinHostPort(bare(address), port)
		}
		if u.listensAt(list[i]) {
			return nil, fmt.Errorf("address %s of the registry is where the proxy is to listen; say another listen=, as in 127.0.0.2:%d, and give the application that one", list[i], u.Listen.Port())
		}
	}
	return list, nil
}

// listensAt says whether who calls this address comes to the proxy, as far as names say that.
func (u URL) listensAt(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != strconv.Itoa(int(u.Listen.Port())) {
		return false
	}
	at := u.Listen.Addr().Unmap()
	if host == "localhost" {
		return at == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || at == netip.IPv6Loopback() || at.IsUnspecified()
	}
	called, err := netip.ParseAddr(host)
	return err == nil && (called.Unmap() == at || at.IsUnspecified() && called.Unmap().IsLoopback())
}

// String returns which registry it is, for people, without parameters.
func (u URL) String() string { return u.Scheme + "://" + strings.Join(u.Addresses, ",") + u.Path }
