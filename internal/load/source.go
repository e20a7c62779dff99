package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
)

// dialer returns a function that connects from the addresses of source, each in its turn.
func dialer(source netip.Prefix) func(context.Context, netip.AddrPort) (net.Conn, error) {
	if !source.IsValid() {
		var d net.Dialer
		return func(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", address.String())
		}
	}
	var turn atomic.Uint64
	return func(ctx context.Context, address netip.AddrPort) (net.Conn, error) {
		local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(sourceAddr(source, turn.Add(1)-1), 0))
		d := net.Dialer{LocalAddr: local, Control: lateBinding}
		return d.DialContext(ctx, "tcp", address.String())
	}
}

// sourceAddr returns the n-th address of a prefix, starting over at its end. The first and the last address of
// an IPv4 prefix of more than two are left out: outside loopback they are not a machine's own.
func sourceAddr(prefix netip.Prefix, n uint64) netip.Addr {
	bits := min(prefix.Addr().BitLen()-prefix.Bits(), 62)
	size, first := uint64(1)<<bits, uint64(0)
	if prefix.Addr().Is4() && size > 2 {
		size, first = size-2, 1
	}
	whole := prefix.Masked().Addr().As16()
	low := binary.BigEndian.Uint64(whole[8:])
	binary.BigEndian.PutUint64(whole[8:], low+first+n%size)
	return netip.AddrFrom16(whole).Unmap()
}

// ParseSource reads one address or a prefix of addresses: "127.9.0.1", "127.9.0.0/24".
func ParseSource(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("read source: %w", err)
		}
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("read source: %w", err)
	}
	return prefix, nil
}
