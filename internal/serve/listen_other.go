//go:build !linux

package serve

import "net"

// listenConfig returns how TCP sockets are opened: as Go does.
func listenConfig() net.ListenConfig { return net.ListenConfig{} }
