// Package dns turns names into addresses and keeps them current: a Resolver asks the servers of resolv.conf, a
// Watcher asks again when an answer's time is over and says what changed. A failing server never costs a name
// its addresses.
package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	defaultMinTTL = 5 * time.Second
	defaultMaxTTL = time.Hour
	penalty       = 30 * time.Second // for how long a silent server is asked after the others
	patience      = time.Second      // how long one family is waited for when the other has answered
)

// A Resolver asks recursive servers for the addresses of names. The zero value does as the system does: the
// hosts file first, then the servers, search list and options of resolv.conf; both files are read again when
// they change. Its fields must not change while it is used; its methods may be called concurrently.
type Resolver struct {
	Servers    []netip.AddrPort // asked in order; port 0 means 53. Nil means those of ResolvConf, which is not read otherwise.
	ResolvConf string           // "" means /etc/resolv.conf
	HostsFile  string           // "" means /etc/hosts
	Network    string           // "ip" or "": both families; "ip4" or "ip6": that one only
	MinTTL     time.Duration    // answers with a shorter TTL are kept for so long; 0 means 5 s
	MaxTTL     time.Duration    // and those with a longer one for so long; 0 means 1 h
	Timeout    time.Duration    // for one query to one server, TCP included; 0 means resolv.conf's, 5 s where it says nothing
	Attempts   int              // rounds over all servers; 0 means resolv.conf's, 2 where it says nothing

	exchange func(ctx context.Context, server netip.AddrPort, tcp bool, q dnsmessage.Question) (reply, error) // nil: by sockets

	conf  cached[conf]
	hosts cached[hosts]

	mu     sync.Mutex
	silent map[netip.AddrPort]time.Time // servers that did not answer: until when they are asked last
}

// An Answer is the addresses of a name.
type Answer struct {
	Addresses []netip.Addr  // never empty: no address twice, IPv4 first, each family in the order of its records
	TTL       time.Duration // the smallest along the chain of aliases, within MinTTL and MaxTTL
	Missing   error         // a *LookupError when one family could not be asked for; Addresses are the other's
}

// Lookup returns the addresses of name. A literal address is its own answer, and a name in the hosts file is not
// asked for. An answer that the name does not exist, or has no address, makes it try the next name of the search
// list; a server's failure does not, since another name's addresses are no substitute. The error is a
// *LookupError.
func (r *Resolver) Lookup(ctx context.Context, name string) (Answer, error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return Answer{Addresses: []netip.Addr{addr.Unmap()}, TTL: r.maxTTL()}, nil
	}
	if !askable(name) {
		return Answer{}, &LookupError{Name: name, Reason: BadName}
	}
	if known := r.inHosts(name); len(known) > 0 {
		return Answer{Addresses: known, TTL: r.maxTTL()}, nil
	}
	c, err := r.configuration()
	if err != nil {
		return Answer{}, &LookupError{Name: name, Reason: ServerFailed, Err: err}
	}
	var negative *LookupError
	for _, candidate := range c.candidates(name) {
		answer, failure := r.lookupBoth(ctx, c, candidate)
		if failure == nil {
			return answer, nil
		}
		failure.Name = name
		if !failure.Reason.Negative() {
			return Answer{}, failure
		}
		if negative != nil { // of "no name" and "no address", say the one that knows more
			failure.TTL = min(failure.TTL, negative.TTL)
			if negative.Reason == NoAddress {
				failure.Reason = NoAddress
			}
		}
		negative = failure
	}
	return Answer{}, negative
}

// inHosts returns the addresses that the hosts file has for name, of the families that are asked for.
func (r *Resolver) inHosts(name string) []netip.Addr {
	var found []netip.Addr
	for _, addr := range r.hostsTable().of(plain(name)) {
		if r.Network != "ip4" && !addr.Is4() || r.Network != "ip6" && addr.Is4() {
			found = append(found, addr)
		}
	}
	slices.SortStableFunc(found, byFamily)
	return found
}

// hostsTable is the hosts file as it is now, or was when it could last be read; nil for one that never could:
// names are then asked for.
func (r *Resolver) hostsTable() *hosts {
	table, _ := r.hosts.get(cmp.Or(r.HostsFile, "/etc/hosts"), parseHosts)
	return table
}

// confFile is resolv.conf as it is now, or was when it could last be read; nil and why for one that never could.
func (r *Resolver) confFile() (*conf, error) {
	return r.conf.get(cmp.Or(r.ResolvConf, "/etc/resolv.conf"), parseConf)
}

// configuration is whom to ask now, and how.
func (r *Resolver) configuration() (conf, error) {
	c := defaultConf()
	if r.Servers == nil {
		read, err := r.confFile()
		if read == nil {
			return c, err
		}
		c = *read
	} else {
		for _, s := range r.Servers {
			c.servers = append(c.servers, netip.AddrPortFrom(s.Addr().Unmap(), cmp.Or(s.Port(), 53)))
		}
	}
	c.timeout = cmp.Or(r.Timeout, c.timeout)
	c.attempts = cmp.Or(r.Attempts, c.attempts)
	return c, nil
}

func (r *Resolver) minTTL() time.Duration { return cmp.Or(r.MinTTL, defaultMinTTL) }
func (r *Resolver) maxTTL() time.Duration { return max(cmp.Or(r.MaxTTL, defaultMaxTTL), r.minTTL()) }

// bounded is ttl within MinTTL and MaxTTL.
func (r *Resolver) bounded(ttl time.Duration) time.Duration {
	return min(max(ttl, r.minTTL()), r.maxTTL())
}

// lookupBoth asks for both families of an absolute name at once. When one has answered with addresses, the other
// is waited for a little longer only: there are networks that swallow queries for AAAA.
func (r *Resolver) lookupBoth(ctx context.Context, c conf, name string) (Answer, *LookupError) {
	types := []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}
	switch r.Network {
	case "ip4":
		types = types[:1]
	case "ip6":
		types = types[1:]
	}
	encoded, err := dnsmessage.NewName(name)
	if err != nil {
		return Answer{}, &LookupError{Name: name, Reason: BadName, Err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	enough := time.AfterFunc(math.MaxInt64, cancel)
	defer enough.Stop()
	replies := make([]reply, len(types))
	failures := make([]*LookupError, len(types))
	var both sync.WaitGroup
	for i, t := range types {
		both.Go(func() {
			q := dnsmessage.Question{Name: encoded, Type: t, Class: dnsmessage.ClassINET}
			replies[i], failures[i] = r.ask(ctx, c, q)
			if failures[i] == nil {
				enough.Reset(patience)
			}
		})
	}
	both.Wait()
	return r.merge(replies, failures)
}

// merge makes one answer of the families' replies. Addresses of one family outweigh whatever happened to the
// other. Without any, a failure outweighs a denial: there are servers that deny a name for which they only lack
// AAAA records.
func (r *Resolver) merge(replies []reply, failures []*LookupError) (Answer, *LookupError) {
	var answer Answer
	var worst *LookupError
	ttl := r.maxTTL()
	for i, failure := range failures {
		if failure == nil {
			answer.Addresses = append(answer.Addresses, replies[i].addresses...)
			ttl = min(ttl, replies[i].ttl)
			continue
		}
		worst = worse(worst, failure)
	}
	switch {
	case len(answer.Addresses) == 0:
		worst.TTL = r.bounded(worst.TTL)
		return Answer{}, worst
	case worst != nil && !worst.Reason.Negative():
		answer.Missing = worst
	}
	answer.Addresses = distinct(answer.Addresses)
	answer.TTL = r.bounded(ttl)
	return answer, nil
}

// worse is the one of two failures that says more. Of a name's two denials, NoAddress does: the name exists.
func worse(a, b *LookupError) *LookupError {
	if a == nil {
		return b
	}
	if a.Reason.Negative() != b.Reason.Negative() {
		if a.Reason.Negative() {
			return b
		}
		return a
	}
	if b.Reason == NoAddress && a.Reason == NoName || b.Reason == ServerFailed && a.Reason == TimedOut {
		a, b = b, a
	}
	return &LookupError{Name: a.Name, Reason: a.Reason, TTL: min(a.TTL, b.TTL), Err: a.Err}
}

// ask puts one question to the servers, one after the other and for some rounds, until one answers it.
func (r *Resolver) ask(ctx context.Context, c conf, q dnsmessage.Question) (reply, *LookupError) {
	var worst *LookupError
	for range c.attempts {
		for _, server := range r.order(c) {
			got, failure := r.askServer(ctx, c, server, q)
			if failure == nil || failure.Reason.Negative() {
				return got, failure
			}
			worst = worse(worst, failure)
			if ctx.Err() != nil {
				return reply{}, worst
			}
		}
	}
	return reply{}, worst
}

func (r *Resolver) askServer(ctx context.Context, c conf, server netip.AddrPort, q dnsmessage.Question) (reply, *LookupError) {
	ask := r.exchange
	if ask == nil {
		ask = exchange
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	got, err := ask(limited, server, c.tcp, q)
	failure := &LookupError{Name: q.Name.String(), TTL: got.ttl}
	switch {
	case err != nil && limited.Err() != nil:
		failure.Reason, failure.Err = TimedOut, fmt.Errorf("%s, asked for %s of %s, is silent", server, q.Type, q.Name)
	case err != nil:
		failure.Reason, failure.Err = ServerFailed, fmt.Errorf("ask %s for %s of %s: %w", server, q.Type, q.Name, err)
	default:
		r.note(server, time.Time{})
		if failure.Reason, err = got.verdict(); failure.Reason == "" {
			return got, nil
		}
		if err != nil {
			failure.Err = fmt.Errorf("ask %s for %s of %s: %w", server, q.Type, q.Name, err)
		}
	}
	if failure.Reason == TimedOut && ctx.Err() == nil {
		r.note(server, time.Now().Add(penalty))
	}
	return reply{}, failure
}

// verdict says what a reply is worth: "" for addresses.
func (r *reply) verdict() (Reason, error) {
	switch {
	case r.code == dnsmessage.RCodeNameError:
		return NoName, nil
	case r.code != dnsmessage.RCodeSuccess:
		return ServerFailed, errors.New(r.code.String())
	case len(r.addresses) > 0:
		return "", nil
	case !r.denied && !r.willing:
		return ServerFailed, errors.New("it neither recurses nor knows the zone")
	case !r.denied && r.alias != "":
		return ServerFailed, fmt.Errorf("its answer ends at the alias %s", r.alias)
	default:
		return NoAddress, nil
	}
}

// order returns the servers in the order in which to ask them: those that were silent lately come last.
func (r *Resolver) order(c conf) []netip.AddrPort {
	servers := slices.Clone(c.servers)
	if c.rotate && len(servers) > 1 {
		at := rand.IntN(len(servers))
		servers = slices.Concat(servers[at:], servers[:at])
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var last []netip.AddrPort
	servers = slices.DeleteFunc(servers, func(s netip.AddrPort) bool {
		if !r.silent[s].After(now) {
			return false
		}
		last = append(last, s)
		return true
	})
	return append(servers, last...)
}

// note remembers until when a server is asked last; the zero time forgets.
func (r *Resolver) note(server netip.AddrPort, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until.IsZero() {
		delete(r.silent, server)
		return
	}
	if r.silent == nil {
		r.silent = map[netip.AddrPort]time.Time{}
	}
	r.silent[server] = until
}

// distinct drops repetitions and keeps the order.
func distinct(addrs []netip.Addr) []netip.Addr {
	seen := make(map[netip.Addr]bool, len(addrs))
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool {
		again := seen[a]
		seen[a] = true
		return again
	})
}

// byFamily sorts IPv4 before IPv6.
func byFamily(a, b netip.Addr) int {
	return cmp.Compare(a.BitLen(), b.BitLen())
}
