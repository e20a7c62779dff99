package dns

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestBothFamiliesInOneAnswer(t *testing.T) {
	s := serve(t, func(q asked) [][]byte {
		return packed(q.records(at("db.example.", "10.0.0.2", 60), at("DB.example.", "10.0.0.1", 30),
			at("db.example.", "10.0.0.2", 60), at("db.example.", "fd00::1", 90)))
	})
	got, err := resolver(s).Lookup(t.Context(), "db.Example")
	if err != nil {
		t.Fatal(err)
	}
	if want := addrs("10.0.0.2", "10.0.0.1", "fd00::1"); !slices.Equal(got.Addresses, want) {
		t.Errorf("addresses %v, want %v: IPv4 first, in the order of the records, none twice", got.Addresses, want)
	}
	if want := 30 * time.Second; got.TTL != want {
		t.Errorf("TTL %v, want %v: the smallest", got.TTL, want)
	}
	if got.Missing != nil {
		t.Errorf("missing: %v, want nothing missing", got.Missing)
	}
}

func TestQueriesAreHardToForge(t *testing.T) {
	s := serve(t, func(q asked) [][]byte { return packed(q.records(at("a.example.", "10.0.0.1", 1))) })
	r := resolver(s)
	for range 16 {
		if _, err := r.Lookup(t.Context(), "a.example"); err != nil {
			t.Fatal(err)
		}
	}
	ids, ports := map[uint16]bool{}, map[uint16]bool{}
	for _, q := range s.all() {
		ids[q.ID], ports[q.from.Port()] = true, true
		if !q.RecursionDesired || q.Questions[0].Class != dnsmessage.ClassINET {
			t.Fatalf("query %v, want one that asks for recursion, class IN", q.GoString())
		}
		if len(q.Additionals) != 1 || q.Additionals[0].Header.Class != payload {
			t.Fatalf("additional records %v, want EDNS with a payload of %d", q.Additionals, payload)
		}
	}
	if n := len(s.all()); n != 32 || len(ids) < n-4 || len(ports) < n/2 {
		t.Errorf("%d ids and %d ports in %d queries, want 32 queries with another id and port each", len(ids), len(ports), n)
	}
}

func TestTruncatedGoesOverTCP(t *testing.T) {
	s := serve(t, func(q asked) [][]byte {
		var all []dnsmessage.Resource
		for i := range 200 {
			all = append(all, at("many.example.", fmt.Sprintf("10.0.1.%d", i), 60))
		}
		if q.tcp {
			return packed(q.records(all...))
		}
		short := q.records(all[:3]...)
		short.Truncated = true
		return packed(short)
	})
	got, err := resolver(s).Lookup(t.Context(), "many.example")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Addresses) != 200 {
		t.Errorf("%d addresses, want all 200", len(got.Addresses))
	}
}

func TestTruncatedOverTCPIsAFailure(t *testing.T) {
	s := serve(t, func(q asked) [][]byte {
		short := q.records(at("many.example.", "10.0.0.1", 60))
		short.Truncated = true
		return packed(short)
	})
	_, err := resolver(s).Lookup(t.Context(), "many.example")
	if got := reasonOf(err); got != ServerFailed {
		t.Errorf("reason %q (%v), want %q", got, err, ServerFailed)
	}
}

// A reset, a length without a message, and another question's answer over TCP are the server's fault; the next one is asked.
func TestBrokenTCPGoesToTheNextServer(t *testing.T) {
	bad := serve(t, func(q asked) [][]byte {
		if q.tcp {
			return [][]byte{{1, 2, 3}}
		}
		short := q.answer(dnsmessage.RCodeSuccess)
		short.Truncated = true
		return packed(short)
	})
	good := serve(t, func(q asked) [][]byte { return packed(q.records(at("a.example.", "10.0.0.1", 60))) })
	got, err := resolver(bad, good).Lookup(t.Context(), "a.example")
	if err != nil || !slices.Equal(got.Addresses, addrs("10.0.0.1")) {
		t.Errorf("got %v, %v; want 10.0.0.1 from the second server", got.Addresses, err)
	}
}

func TestResolvConfMayAskForTCP(t *testing.T) {
	s := serve(t, func(q asked) [][]byte { return packed(q.records(at("a.example.", "10.0.0.1", 60))) })
	r := resolver(s)
	c, err := r.configuration()
	if err != nil {
		t.Fatal(err)
	}
	c.set("use-vc")
	if _, failure := r.lookupBoth(t.Context(), c, "a.example."); failure != nil {
		t.Fatal(failure)
	}
	for _, q := range s.all() {
		if !q.tcp {
			t.Error("a query came over UDP, want TCP only")
		}
	}
}

func TestForgedAndBrokenMessagesAreLetPass(t *testing.T) {
	right := func(q asked) dnsmessage.Message { return q.records(at("a.example.", "10.0.0.1", 60)) }
	wrong := at("a.example.", "10.6.6.6", 60)
	tests := map[string]func(q asked) []byte{
		"another id": func(q asked) []byte {
			m := q.records(wrong)
			m.ID++
			return packed(m)[0]
		},
		"another question": func(q asked) []byte {
			m := q.records(wrong)
			m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("b.example."), Type: q.Questions[0].Type, Class: dnsmessage.ClassINET}}
			return packed(m)[0]
		},
		"no question": func(q asked) []byte {
			m := q.records(wrong)
			m.Questions = nil
			return packed(m)[0]
		},
		"a query": func(q asked) []byte {
			m := q.records(wrong)
			m.Response = false
			return packed(m)[0]
		},
		"garbage":      func(asked) []byte { return []byte("not a message of any kind, I should think") },
		"empty":        func(asked) []byte { return nil },
		"cut short":    func(q asked) []byte { b := packed(q.records(wrong, wrong))[0]; return b[:len(b)-3] },
		"pointer loop": func(q asked) []byte { return looped(q) },
		"alias circle": func(q asked) []byte {
			return packed(q.answer(dnsmessage.RCodeSuccess, alias("a.example.", "b.example.", 1), alias("b.example.", "a.example.", 1)))[0]
		},
	}
	for name, forge := range tests {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(q asked) [][]byte { return [][]byte{forge(q), packed(right(q))[0]} })
			r := resolver(s)
			r.Network = "ip4"
			got, err := r.Lookup(t.Context(), "a.example")
			if err != nil || !slices.Equal(got.Addresses, addrs("10.0.0.1")) {
				t.Errorf("got %v, %v; want 10.0.0.1", got.Addresses, err)
			}
		})
	}
}

// looped answers with a record whose owner is a compression pointer to itself.
func looped(q asked) []byte {
	m := packed(q.answer(dnsmessage.RCodeSuccess))[0]
	m[7] = 1 // one answer
	here := len(m)
	return append(m, 0xC0|byte(here>>8), byte(here), 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 6, 6, 6)
}

// A message with all that makes an answer, sent from another socket than the one that was asked.
func TestAnotherAddressIsNotHeard(t *testing.T) {
	forger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()
	s := serve(t, func(q asked) [][]byte {
		forged := packed(q.records(at("a.example.", "10.6.6.6", 60)))[0]
		forger.WriteTo(forged, net.UDPAddrFromAddrPort(q.from))
		return packed(q.records(at("a.example.", "10.0.0.1", 60)))
	})
	got, err := resolver(s).Lookup(t.Context(), "a.example")
	if err != nil || !slices.Equal(got.Addresses, addrs("10.0.0.1")) {
		t.Errorf("got %v, %v; want 10.0.0.1", got.Addresses, err)
	}
}

func TestServersThatKnowNoEDNS(t *testing.T) {
	for _, mute := range []bool{false, true} { // whether the question is repeated
		s := serve(t, func(q asked) [][]byte {
			if len(q.Additionals) == 0 {
				return packed(q.records(at("a.example.", "10.0.0.1", 60)))
			}
			m := q.answer(dnsmessage.RCodeFormatError)
			if mute {
				m.Questions = nil
			}
			return packed(m)
		})
		got, err := resolver(s).Lookup(t.Context(), "a.example")
		if err != nil || !slices.Equal(got.Addresses, addrs("10.0.0.1")) {
			t.Errorf("question left out %v: got %v, %v; want 10.0.0.1", mute, got.Addresses, err)
		}
	}
}

func TestNextServer(t *testing.T) {
	good := serve(t, func(q asked) [][]byte { return packed(q.records(at("a.example.", "10.0.0.1", 60))) })
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := &server{addr: netip.MustParseAddrPort(closed.LocalAddr().String())}
	tests := map[string]*server{
		"nobody listens": nobody,
		"SERVFAIL":       serve(t, func(q asked) [][]byte { return packed(q.answer(dnsmessage.RCodeServerFailure)) }),
		"REFUSED":        serve(t, func(q asked) [][]byte { return packed(q.answer(dnsmessage.RCodeRefused)) }),
		"always FORMERR": serve(t, func(q asked) [][]byte { return packed(q.answer(dnsmessage.RCodeFormatError)) }),
		"an alias without its address": serve(t, func(q asked) [][]byte {
			return packed(q.answer(dnsmessage.RCodeSuccess, alias("a.example.", "b.example.", 60)))
		}),
		"lame": serve(t, func(q asked) [][]byte {
			m := q.answer(dnsmessage.RCodeSuccess)
			m.RecursionAvailable = false
			return packed(m)
		}),
	}
	closed.Close() // only now, so that no other server gets its port
	for name, bad := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := resolver(bad, good).Lookup(t.Context(), "a.example")
			if err != nil || !slices.Equal(got.Addresses, addrs("10.0.0.1")) || got.Missing != nil {
				t.Errorf("got %v, %v, missing %v; want 10.0.0.1 from the second server", got.Addresses, err, got.Missing)
			}
			_, err = resolver(bad).Lookup(t.Context(), "a.example")
			if got := reasonOf(err); got != ServerFailed {
				t.Errorf("alone: reason %q (%v), want %q", got, err, ServerFailed)
			}
		})
	}
}

func TestAAAAOnly(t *testing.T) {
	s := serve(t, func(q asked) [][]byte { return packed(q.records(at("six.example.", "fd00::6", 60))) })
	got, err := resolver(s).Lookup(t.Context(), "six.example")
	if err != nil || !slices.Equal(got.Addresses, addrs("fd00::6")) || got.Missing != nil {
		t.Errorf("got %v, %v, missing %v; want fd00::6 alone and nothing missing", got.Addresses, err, got.Missing)
	}
}
