package dns

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The bounds of resolv.conf(5).
const (
	maxServers  = 3
	maxTimeout  = 30
	maxAttempts = 5
	maxDots     = 15
	maxSearch   = 32 // Kubernetes' bound; resolv.conf(5) has none any more
)

// A conf says whom to ask, and for what.
type conf struct {
	servers  []netip.AddrPort
	search   []string // without dots at the end
	ndots    int      // a name with as many dots is asked for as it stands before the search list is
	timeout  time.Duration
	attempts int  // rounds over all servers
	rotate   bool // start each lookup at another server
	tcp      bool
}

// defaultConf is what holds where nothing was said. It names no server.
func defaultConf() conf {
	return conf{ndots: 1, timeout: 5 * time.Second, attempts: 2}
}

// parseConf reads a resolv.conf(5). What it does not understand it passes over, as other resolvers do. Without
// a server it is the one on this machine. There is no search list that was not written: the domain of this
// machine's name is not one.
func parseConf(data []byte) conf {
	c := defaultConf()
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		fields := strings.Fields(line)
		keyword, values := fields[0], fields[1:]
		switch {
		case len(values) == 0:
		case keyword == "nameserver":
			c.addServer(values[0])
		case keyword == "domain":
			c.search = searchList(values[:1])
		case keyword == "search":
			c.search = searchList(values)
		case keyword == "options":
			for _, option := range values {
				c.set(option)
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	return c
}

func (c *conf) addServer(text string) {
	if addr, err := netip.ParseAddr(text); err == nil && len(c.servers) < maxServers {
		c.servers = append(c.servers, netip.AddrPortFrom(addr.Unmap(), 53))
	}
}

func searchList(domains []string) []string {
	var list []string
	for _, domain := range domains {
		if domain = strings.TrimSuffix(domain, "."); askable(domain) && len(list) < maxSearch {
			list = append(list, domain)
		}
	}
	return list
}

func (c *conf) set(option string) {
	name, value, _ := strings.Cut(option, ":")
	n, err := strconv.Atoi(value)
	numeric := err == nil && n >= 0
	switch {
	case name == "rotate":
		c.rotate = true
	case name == "use-vc" || name == "usevc" || name == "tcp":
		c.tcp = true
	case !numeric:
	case name == "ndots":
		c.ndots = min(n, maxDots)
	case name == "timeout":
		c.timeout = time.Duration(min(max(n, 1), maxTimeout)) * time.Second
	case name == "attempts":
		c.attempts = min(max(n, 1), maxAttempts)
	}
}

// candidates are the absolute names that name may stand for, in the order in which they are asked for. A name
// that ends in a dot stands for itself only.
func (c *conf) candidates(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	list := make([]string, 0, len(c.search)+1)
	itself := name + "."
	first := strings.Count(name, ".") >= c.ndots
	if first {
		list = append(list, itself)
	}
	for _, domain := range c.search {
		if long := itself + domain; askable(long) {
			list = append(list, long+".")
		}
	}
	if !first {
		list = append(list, itself)
	}
	return list
}

// askable says whether a name can be asked for: labels of 1 to 63 printable ASCII characters, 253 in all, a dot at
// the end or none (RFC 1035, section 2.3.4). Names in other scripts must come in their xn-- form.
func askable(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if c <= ' ' || c > '~' {
				return false
			}
		}
	}
	return true
}
