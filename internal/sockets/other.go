//go:build !linux

package sockets

import (
	"errors"
	"net"
)

// listenConfig returns how TCP sockets are opened: as Go does.
func listenConfig() net.ListenConfig { return net.ListenConfig{} }

// acceptNow cannot be done here without Go's poller: who is in the queue when a socket is left is lost.
func acceptNow(int) (net.Conn, error) { return nil, errEmpty }

// deafen cannot be done here.
func deafen(int) error { return errors.New("clients that connect now may be lost on this system") }
