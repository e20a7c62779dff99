package sockets

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Inherited returns the listening sockets that systemd has handed to this process, by their addresses, which are asked
// of the sockets: what their units call them does not matter. An error names those that are of no use; the others can
// be used all the same. Who started us by other means has handed over none. It works once: programs that we start
// are not to think that it was they who were meant.
func Inherited() (map[string]*os.File, error) {
	inherited := map[string]*os.File{}
	var errs []error
	for _, f := range activation.Files(true) {
		if err := take(f, inherited); err != nil {
			errs = append(errs, fmt.Errorf("socket %s of systemd: %w", f.Name(), err))
		}
	}
	return inherited, errors.Join(errs...)
}

// take adds what is in f, which it closes, to the sockets by address.
func take(f *os.File, sockets map[string]*os.File) error {
	defer f.Close() //nolint:errcheck // the socket has another descriptor, or an error is told already
	fd, err := duplicate(f)
	if err != nil {
		return err
	}
	socket := plainFile(fd, f.Name())
	at, err := listeningAt(fd)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	address := canonical(at.String())
	if sockets[address] != nil {
		return errors.Join(fmt.Errorf("a second one at %s: only one can be lent", address), socket.Close())
	}
	sockets[address] = socket
	return nil
}

// canonical returns one spelling for one address: ":80" is "[::]:80", which takes clients of IPv4 too.
func canonical(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if host == "" {
		host = netip.IPv6Unspecified().String()
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(host, port)
}

// find returns the socket of an address, nil if there is none. Where systemd listens at a port of every address, by
// IPv6 as it does unless told otherwise, that is the socket of 0.0.0.0 too: nobody could bind another.
func (o *Owner) find(address string) *owned {
	address = canonical(address)
	if k := o.sockets[address]; k != nil {
		return k
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != netip.IPv4Unspecified().String() {
		return nil
	}
	k := o.sockets[net.JoinHostPort(netip.IPv6Unspecified().String(), port)]
	if k == nil || !k.inherited || !bothFamilies(k.file) {
		return nil
	}
	return k
}

// bothFamilies says whether an IPv6 socket takes clients of IPv4.
func bothFamilies(f *os.File) bool {
	only, failed := 1, error(nil)
	err := control(f, func(fd int) { only, failed = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) })
	return err == nil && failed == nil && only == 0
}
