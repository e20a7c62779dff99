package local

import (
	"net"
	"net/netip"
	"os"

	"crossfade.dev/internal/process"
)

// A machine is what this room touches of the machine that it runs on: processes, files and sockets.
type machine struct {
	start  func(process.Spec) (process.Process, error)
	write  func(path string, text []byte) error // a file that nobody else may read
	remove func(path string)                    // if it is there
	free   func(address netip.AddrPort) error   // nil when somebody could listen there
}

func thisMachine() *machine {
	return &machine{
		start:  func(spec process.Spec) (process.Process, error) { return process.Start(spec) },
		write:  func(path string, text []byte) error { return os.WriteFile(path, text, 0o600) },
		remove: func(path string) { _ = os.Remove(path) }, // it lies in a directory that is removed in the end
		free:   free,
	}
}

func free(address netip.AddrPort) error {
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(address))
	if err != nil {
		return err
	}
	return listener.Close()
}
