package load

import (
	"fmt"
	"slices"
)

// A Protocol is what requests are sent in.
type Protocol uint8

// The protocols.
const (
	HTTP1 Protocol = iota // HTTP/1.1
	HTTP2                 // to http URLs with prior knowledge, to https URLs as negotiated
	GRPC                  // calls over HTTP/2
)

var protocolNames = [...]string{"http/1.1", "h2", "grpc"}

func (p Protocol) String() string { return protocolNames[p] }

// MarshalText writes the protocol's name.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the protocol's name.
func (p *Protocol) UnmarshalText(text []byte) error {
	i := slices.Index(protocolNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("read protocol %q: want one of %v", text, protocolNames)
	}
	*p = Protocol(i)
	return nil
}

// alpn is how TLS calls what the protocol runs over (RFC 7301).
func (p Protocol) alpn() string {
	if p == HTTP1 {
		return "http/1.1"
	}
	return "h2"
}
