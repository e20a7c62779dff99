package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A route is how a query travels to a server.
type route struct {
	server netip.AddrPort
	tcp    bool
	plain  bool // without EDNS
}

// exchange asks one server one question: over UDP, over TCP when the answer is too long for that, and without
// EDNS when the server does not understand it. It ends with ctx at the latest.
func exchange(ctx context.Context, server netip.AddrPort, tcp bool, q dnsmessage.Question) (reply, error) {
	way := route{server: server, tcp: tcp}
	for {
		r, err := way.roundTrip(ctx, q)
		switch {
		case err != nil:
			return reply{}, err
		case r.truncated && !way.tcp:
			way.tcp = true
		case r.truncated:
			return reply{}, fmt.Errorf("%s cuts its answer short over TCP too", server)
		case r.unread() && !way.plain:
			way.plain = true
		default:
			return r, nil
		}
	}
}

// roundTrip sends the question under a new random id, from a port that the kernel draws, and returns the first
// message that answers it. The socket is connected, so nothing from another address gets in; datagrams that
// cannot be read or answer something else are let pass, since anybody may have sent them.
func (way route) roundTrip(ctx context.Context, q dnsmessage.Question) (r reply, err error) {
	var random [2]byte
	if _, err := rand.Read(random[:]); err != nil {
		return reply{}, err
	}
	id := binary.BigEndian.Uint16(random[:])
	query, err := pack(id, q, !way.plain)
	if err != nil {
		return reply{}, err
	}
	network := "udp"
	if way.tcp {
		network = "tcp"
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, way.server.String())
	if err != nil {
		return reply{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		err = errors.Join(err, conn.Close())
	}()
	if way.tcp {
		return askStream(conn, query, id, q)
	}
	return askDatagram(conn, query, id, q)
}

func askDatagram(conn net.Conn, query []byte, id uint16, q dnsmessage.Question) (reply, error) {
	if _, err := conn.Write(query); err != nil {
		return reply{}, err
	}
	buf := make([]byte, 4096) // more than we ask for: some servers do not look
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return reply{}, err
		}
		if r, err := unpack(buf[:n], id, q); err == nil {
			return r, nil
		}
	}
}

// askStream frames messages by two bytes of length (RFC 1035, section 4.2.2). A connection carries our query
// only, so a wrong message is the server's fault.
func askStream(conn net.Conn, query []byte, id uint16, q dnsmessage.Question) (reply, error) {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(query)), uint16(len(query)))
	if _, err := conn.Write(append(framed, query...)); err != nil {
		return reply{}, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return reply{}, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, msg); err != nil {
		return reply{}, err
	}
	return unpack(msg, id, q)
}
