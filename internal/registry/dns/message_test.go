package dns

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func question(name string, t dnsmessage.Type) dnsmessage.Question {
	return dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: t, Class: dnsmessage.ClassINET}
}

func TestUnpack(t *testing.T) {
	q := question("a.example.", dnsmessage.TypeA)
	in := asked{Message: dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{q}}}
	denied := func(code dnsmessage.RCode, s dnsmessage.Resource, answers ...dnsmessage.Resource) dnsmessage.Message {
		m := in.answer(code, answers...)
		m.Authorities = []dnsmessage.Resource{
			{Header: header("example.", dnsmessage.TypeNS, 9), Body: &dnsmessage.NSResource{NS: dnsmessage.MustNewName("ns.example.")}},
			s,
		}
		return m
	}
	chaos := at("a.example.", "10.6.6.6", 1)
	chaos.Header.Class = dnsmessage.ClassCHAOS
	tests := []struct {
		name   string
		msg    dnsmessage.Message
		addrs  []string
		ttl    time.Duration
		reason Reason
	}{
		{
			"a chain in any order, the smallest TTL",
			in.answer(0, at("c.example.", "10.0.0.1", 300), alias("b.example.", "C.example.", 20), alias("A.example.", "b.EXAMPLE.", 60)),
			[]string{"10.0.0.1"},
			20 * time.Second, "",
		},
		{
			"records beside the chain",
			in.answer(0, alias("a.example.", "b.example.", 60), at("evil.example.", "10.6.6.6", 1), at("b.example.", "10.0.0.1", 60), at("a.example.", "10.6.6.6", 1)),
			[]string{"10.0.0.1"},
			time.Minute, "",
		},
		{
			"other classes and types",
			in.answer(0, chaos, at("a.example.", "fd00::1", 1), dnsmessage.Resource{
				Header: header("a.example.", dnsmessage.TypeTXT, 1), Body: &dnsmessage.TXTResource{TXT: []string{"x"}},
			}, at("a.example.", "10.0.0.1", 60)),
			[]string{"10.0.0.1"},
			time.Minute, "",
		},
		{
			"addresses that nobody can be called at",
			in.answer(0, at("a.example.", "0.0.0.0", 60), at("a.example.", "224.0.0.1", 60)), nil, 0, NoAddress,
		},
		{"a TTL with the highest bit", in.answer(0, at("a.example.", "10.0.0.1", 1<<31)), []string{"10.0.0.1"}, 0, ""},
		{"no such name: the SOA's minimum", denied(3, soa(900, 40)), nil, 40 * time.Second, NoName},
		{"no such name: the SOA's own TTL", denied(3, soa(30, 40)), nil, 30 * time.Second, NoName},
		{"no address", denied(0, soa(900, 50)), nil, 50 * time.Second, NoAddress},
		{"no address, without an SOA", in.answer(0), nil, 0, NoAddress},
		{
			"no address at the end of a chain", denied(0, soa(900, 50), alias("a.example.", "b.example.", 10)),
			nil, 10 * time.Second, NoAddress,
		},
		{"SERVFAIL", in.answer(2), nil, 0, ServerFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := unpack(packed(tt.msg)[0], 7, q)
			if err != nil {
				t.Fatal(err)
			}
			if want := addrs(tt.addrs...); !slices.Equal(r.addresses, want) {
				t.Errorf("addresses %v, want %v", r.addresses, want)
			}
			if r.ttl != tt.ttl {
				t.Errorf("TTL %v, want %v", r.ttl, tt.ttl)
			}
			if got, _ := r.verdict(); got != tt.reason {
				t.Errorf("verdict %q, want %q", got, tt.reason)
			}
		})
	}
}

func TestPackRefusesWhatIsNoName(t *testing.T) {
	if _, err := pack(1, dnsmessage.Question{Name: dnsmessage.MustNewName("a..b.")}, true); err == nil {
		t.Error("an empty label was packed, want an error")
	}
}

// Whatever a datagram holds: no panic, no hang, and every address is of the family asked for and callable.
func FuzzUnpack(f *testing.F) {
	q := question("a.example.", dnsmessage.TypeA)
	in := asked{Message: dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{q}}}
	for _, m := range packed(
		in.answer(0, alias("a.example.", "b.example.", 9), at("b.example.", "10.0.0.1", 9), at("b.example.", "fd00::1", 9)),
		in.answer(0, alias("a.example.", "a.example.", 9)),
		in.answer(3),
	) {
		f.Add(m)
	}
	negative := in.answer(3)
	negative.Authorities = []dnsmessage.Resource{soa(1, 2)}
	f.Add(packed(negative)[0])
	f.Add(looped(in))
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, err := unpack(msg, 7, q)
		if err != nil {
			return
		}
		for _, a := range r.addresses {
			if !a.Is4() || !usable(a) {
				t.Errorf("address %v, want a callable IPv4 address", a)
			}
		}
		if r.ttl < 0 || r.ttl > (1<<31-1)*time.Second {
			t.Errorf("TTL %v, want 0 to 2^31-1 s", r.ttl)
		}
	})
}
