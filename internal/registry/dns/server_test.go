package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A server answers over UDP and TCP on one port of the loopback interface as its script says.
type server struct {
	addr    netip.AddrPort
	packets net.PacketConn
	streams net.Listener
	script  func(asked) [][]byte

	mu    sync.Mutex
	heard []asked
	open  sync.WaitGroup
}

// Asked is one query as a server sees it.
type asked struct {
	dnsmessage.Message
	tcp  bool
	from netip.AddrPort
}

// serve starts a server that sends the messages that script returns for each query.
func serve(t *testing.T, script func(asked) [][]byte) *server {
	t.Helper()
	s := &server{script: script}
	for s.streams == nil { // until one port is free for both
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		streams, err := net.Listen("tcp", packets.LocalAddr().String())
		if err != nil {
			packets.Close()
			continue
		}
		s.packets, s.streams = packets, streams
	}
	s.addr = netip.MustParseAddrPort(s.packets.LocalAddr().String())
	s.open.Go(s.servePackets)
	s.open.Go(s.serveStreams)
	t.Cleanup(func() {
		s.packets.Close()
		s.streams.Close()
		s.open.Wait()
	})
	return s
}

func (s *server) servePackets() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := s.packets.ReadFrom(buf)
		if err != nil {
			return
		}
		for _, msg := range s.hear(buf[:n], false, from) {
			s.packets.WriteTo(msg, from)
		}
	}
}

func (s *server) serveStreams() {
	for {
		conn, err := s.streams.Accept()
		if err != nil {
			return
		}
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err == nil {
			msg := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(conn, msg); err == nil {
				for _, out := range s.hear(msg, true, conn.RemoteAddr()) {
					conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
				}
			}
		}
		conn.Close()
	}
}

func (s *server) hear(msg []byte, tcp bool, from net.Addr) [][]byte {
	q := asked{tcp: tcp, from: netip.MustParseAddrPort(from.String())}
	if err := q.Unpack(msg); err != nil {
		return nil
	}
	s.mu.Lock()
	s.heard = append(s.heard, q)
	s.mu.Unlock()
	return s.script(q)
}

func (s *server) all() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// resolver returns one that asks the servers only, and gives them all the time that a slow machine may need.
func resolver(servers ...*server) *Resolver {
	r := &Resolver{HostsFile: "testdata/none", Timeout: 30 * time.Second, MinTTL: time.Second}
	for _, s := range servers {
		r.Servers = append(r.Servers, s.addr)
	}
	return r
}

// answer is the query's answer with these records, from a server that recurses.
func (q asked) answer(code dnsmessage.RCode, records ...dnsmessage.Resource) dnsmessage.Message {
	return dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: q.ID, Response: true, RCode: code, RecursionDesired: true, RecursionAvailable: true,
		},
		Questions: q.Questions,
		Answers:   records,
	}
}

// records answers with those of the records that are of the question's type, or aliases.
func (q asked) records(all ...dnsmessage.Resource) dnsmessage.Message {
	var some []dnsmessage.Resource
	for _, r := range all {
		if r.Header.Type == q.Questions[0].Type || r.Header.Type == dnsmessage.TypeCNAME {
			some = append(some, r)
		}
	}
	return q.answer(dnsmessage.RCodeSuccess, some...)
}

func packed(messages ...dnsmessage.Message) [][]byte {
	var all [][]byte
	for _, m := range messages {
		b, err := m.Pack()
		if err != nil {
			panic(err)
		}
		all = append(all, b)
	}
	return all
}

func header(name string, t dnsmessage.Type, ttl uint32) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Type: t, Class: dnsmessage.ClassINET, TTL: ttl}
}

// at is an address record.
func at(name, addr string, ttl uint32) dnsmessage.Resource {
	a := netip.MustParseAddr(addr)
	if a.Is4() {
		return dnsmessage.Resource{Header: header(name, dnsmessage.TypeA, ttl), Body: &dnsmessage.AResource{A: a.As4()}}
	}
	return dnsmessage.Resource{Header: header(name, dnsmessage.TypeAAAA, ttl), Body: &dnsmessage.AAAAResource{AAAA: a.As16()}}
}

func alias(name, other string, ttl uint32) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: header(name, dnsmessage.TypeCNAME, ttl),
		Body:   &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(other)},
	}
}

func soa(ttl, minimum uint32) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: header("example.", dnsmessage.TypeSOA, ttl),
		Body: &dnsmessage.SOAResource{
			NS: dnsmessage.MustNewName("ns.example."), MBox: dnsmessage.MustNewName("ns.example."), MinTTL: minimum,
		},
	}
}

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func reasonOf(err error) Reason {
	if e, ok := errors.AsType[*LookupError](err); ok {
		return e.Reason
	}
	return ""
}
