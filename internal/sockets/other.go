//go:build !linux

package sockets

import (
	"errors"
	"net"
	"os"
)

// listenConfig returns how TCP sockets are opened: as Go does.
func listenConfig() net.ListenConfig { return net.ListenConfig{} }

// adopt has Go accept from a socket that listens already.
func adopt(f *os.File) (source, error) {
	nl, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	l, ok := nl.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(errors.New("not a TCP socket"), nl.Close())
	}
	return own{l}, nil
}

// acceptNow cannot be done here without Go's poller: who is in the queue when a socket is left is lost.
func acceptNow(int) (net.Conn, error) { return nil, errEmpty }

// deafen cannot be done here.
func deafen(int) error { return errors.New("clients that connect now may be lost on this system") }
