package sockets

import (
	"net"
	"testing"
)

// What a lent socket costs over one of our own, per connection: the client's part is the same.
func BenchmarkAccept(b *testing.B) {
	for _, kind := range []string{"own", "lent"} {
		b.Run(kind, func(b *testing.B) {
			k, err := Open(b.Context(), anyPort)
			if err != nil {
				b.Fatal(err)
			}
			if kind == "lent" {
				o, err := bind(b.Context(), anyPort)
				if err != nil {
					b.Fatal(err)
				}
				k.Close()
				if k, err = listening(o.file, false); err != nil {
					b.Fatal(err)
				}
			}
			defer k.Close()
			for b.Loop() {
				nc, err := net.Dial("tcp", k.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				accepted, err := k.Accept()
				if err != nil {
					b.Fatal(err)
				}
				accepted.Close()
				nc.Close()
			}
		})
	}
}
