package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// payload is the largest UDP message we ask for: what fits a datagram of 1280 bytes, IPv6's smallest MTU, so
// that no answer travels in fragments.
const payload = 1232

// errForeign says that a message does not answer our question: somebody else's, late, or forged.
var errForeign = errors.New("not an answer to this question")

// A reply is what one server answered to one question.
type reply struct {
	code      dnsmessage.RCode
	truncated bool
	willing   bool          // the server recurses, or speaks for the zone
	addresses []netip.Addr  // at the end of the chain of aliases, in the order of the records
	ttl       time.Duration // the smallest along that chain; of a reply without addresses also RFC 2308's
	alias     string        // the chain's end, "" when the name itself is it
	denied    bool          // an SOA stands there, so "nothing" is the zone's word
}

// pack returns a query that asks for recursion, with our payload size when edns is set.
func pack(id uint16, q dnsmessage.Question, edns bool) ([]byte, error) {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	err := errors.Join(b.StartQuestions(), b.Question(q))
	if edns {
		var opt dnsmessage.ResourceHeader
		err = errors.Join(err, opt.SetEDNS0(payload, dnsmessage.RCodeSuccess, false),
			b.StartAdditionals(), b.OPTResource(opt, dnsmessage.OPTResource{}))
	}
	if err != nil {
		return nil, fmt.Errorf("pack the query for %s: %w", q.Name, err)
	}
	return b.Finish()
}

// unpack reads a message as the answer to q. The error is errForeign, or says what is malformed.
func unpack(msg []byte, id uint16, q dnsmessage.Question) (reply, error) {
	var p dnsmessage.Parser
	header, err := p.Start(msg)
	if err != nil {
		return reply{}, err
	}
	if !header.Response || header.ID != id || header.OpCode != 0 {
		return reply{}, errForeign
	}
	questions, err := p.AllQuestions()
	if err != nil {
		return reply{}, err
	}
	r := reply{
		code: header.RCode, truncated: header.Truncated,
		willing: header.RecursionAvailable || header.Authoritative,
	}
	if !echoed(questions, q) {
		// A server that could not read the question has none to repeat.
		if len(questions) == 0 && r.unread() {
			return r, nil
		}
		return reply{}, errForeign
	}
	if r.truncated { // what it still holds does not count
		return r, nil
	}
	records, err := readAnswers(&p)
	if err != nil {
		return reply{}, err
	}
	if err := r.follow(records, q); err != nil {
		return reply{}, err
	}
	if len(r.addresses) > 0 {
		return r, nil
	}
	return r, r.readDenial(&p)
}

// unread says that the server did not understand the message, as those do that know no EDNS.
func (r *reply) unread() bool {
	return r.code == dnsmessage.RCodeFormatError || r.code == dnsmessage.RCodeNotImplemented
}

func echoed(questions []dnsmessage.Question, q dnsmessage.Question) bool {
	return len(questions) == 1 && questions[0].Type == q.Type && questions[0].Class == q.Class &&
		lower(questions[0].Name) == lower(q.Name)
}

// lower is a name with its ASCII letters in lower case; no others are the same letter to DNS (RFC 4343).
func lower(name dnsmessage.Name) string {
	for i, c := range name.Data[:name.Length] {
		if 'A' <= c && c <= 'Z' {
			name.Data[i] += 'a' - 'A'
		}
	}
	return name.String()
}

// Records are an answer's addresses and aliases by their owner, in lower case.
type records struct {
	addresses map[string][]record
	aliases   map[string]record
}

// A record is an address, or an alias' other name.
type record struct {
	address netip.Addr
	alias   string
	ttl     time.Duration
}

func readAnswers(p *dnsmessage.Parser) (records, error) {
	all := records{map[string][]record{}, map[string]record{}}
	for {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if err := all.read(p, h); err != nil {
			return all, err
		}
	}
}

func (all records) read(p *dnsmessage.Parser, h dnsmessage.ResourceHeader) error {
	owner, r := lower(h.Name), record{ttl: seconds(h.TTL)}
	switch {
	case h.Class != dnsmessage.ClassINET:
		return p.SkipAnswer()
	case h.Type == dnsmessage.TypeA:
		body, err := p.AResource()
		if err != nil {
			return err
		}
		r.address = netip.AddrFrom4(body.A)
		all.addresses[owner] = append(all.addresses[owner], r)
	case h.Type == dnsmessage.TypeAAAA:
		body, err := p.AAAAResource()
		if err != nil {
			return err
		}
		r.address = netip.AddrFrom16(body.AAAA)
		all.addresses[owner] = append(all.addresses[owner], r)
	case h.Type == dnsmessage.TypeCNAME:
		body, err := p.CNAMEResource()
		if err != nil {
			return err
		}
		r.alias = lower(body.CNAME)
		all.aliases[owner] = r
	default:
		return p.SkipAnswer()
	}
	return nil
}

// follow walks from the question's name along the aliases to the addresses at their end. Records beside that
// way do not count, whoever put them there.
func (r *reply) follow(all records, q dnsmessage.Question) error {
	at := lower(q.Name)
	ttl, limited := time.Duration(0), false
	shorten := func(d time.Duration) {
		if !limited || d < ttl {
			ttl, limited = d, true
		}
	}
	for range len(all.aliases) {
		next, ok := all.aliases[at]
		if !ok {
			break
		}
		shorten(next.ttl)
		at, r.alias = next.alias, next.alias
	}
	if _, more := all.aliases[at]; more {
		return fmt.Errorf("the aliases of %s go in a circle", q.Name)
	}
	for _, rec := range all.addresses[at] {
		if rec.address.Is4() != (q.Type == dnsmessage.TypeA) || !usable(rec.address) {
			continue
		}
		shorten(rec.ttl)
		r.addresses = append(r.addresses, rec.address)
	}
	r.ttl = ttl
	return nil
}

// usable says whether somebody can be called there. 0.0.0.0 and :: are what blocking servers answer, and a call
// to them would reach ourselves; so would an IPv4 address dressed as IPv6 escape the family that was asked for.
func usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.Is4In6()
}

// readDenial looks for the SOA that says for how long a name may be thought to have no such record (RFC 2308,
// section 5: the smaller of the record's own TTL and its MINIMUM field).
func (r *reply) readDenial(p *dnsmessage.Parser) error {
	if err := p.SkipAllAnswers(); err != nil {
		return err
	}
	for {
		h, err := p.AuthorityHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Type != dnsmessage.TypeSOA || h.Class != dnsmessage.ClassINET {
			if err := p.SkipAuthority(); err != nil {
				return err
			}
			continue
		}
		soa, err := p.SOAResource()
		if err != nil {
			return err
		}
		ttl := min(seconds(h.TTL), seconds(soa.MinTTL))
		if r.alias != "" {
			ttl = min(ttl, r.ttl)
		}
		r.ttl, r.denied = ttl, true
		return nil
	}
}

// seconds is a TTL as a duration. One with the highest bit set counts as zero (RFC 2181, section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
