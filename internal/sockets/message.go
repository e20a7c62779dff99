package sockets

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"syscall"
)

// What owner and borrower say to each other are messages of JSON, each after its length: four bytes, the highest
// first. A borrower asks; each of its requests gets one reply with the same ID. Both may be of another release than
// we are: fields that one does not know are passed over.

// maxMessage bounds a message, in bytes.
const maxMessage = 8 << 10

// What a borrower may ask.
const (
	opListen = "listen" // for the socket of an address
	opLeave  = "leave"  // whether others go on accepting from that socket; it does not itself, from now on
	opShared = "shared" // whether the gateway goes on without it
)

// A request is what a borrower asks its owner.
type request struct {
	ID      uint64 `json:"id"`
	Op      string `json:"op"`
	Address string `json:"address,omitempty"`
	// GoesOn says, with opLeave, that somebody is to accept from the socket after us, if the owner has it so.
	GoesOn bool `json:"goes_on,omitempty"`
}

// A reply is what an owner answers.
type reply struct {
	ID      uint64        `json:"id"`
	Error   string        `json:"error,omitempty"`
	Errno   syscall.Errno `json:"errno,omitempty"`   // what the error comes from; 0: none that has a number
	Address string        `json:"address,omitempty"` // of the request
	Socket  bool          `json:"socket,omitempty"`  // its descriptor comes along
	Kept    bool          `json:"kept,omitempty"`    // systemd keeps that socket
	Shared  bool          `json:"shared,omitempty"`
}

// A remoteError is an error that an owner has told: what it said, and the number that it stands for.
type remoteError struct {
	text  string
	errno syscall.Errno
}

func (e *remoteError) Error() string { return e.text }

// Unwrap returns the errno, so that errors.Is finds it.
func (e *remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// encode returns a message as it goes over the wire.
func encode(message any) ([]byte, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	if len(body) > maxMessage {
		return nil, fmt.Errorf("message of %d bytes: more than %d", len(body), maxMessage)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...), nil
}

// decode reads one message, and nothing beyond it. The error is io.EOF only where none had begun.
func decode(r io.Reader, message any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxMessage {
		return fmt.Errorf("message of %d bytes: more than %d", n, maxMessage)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("message of %d bytes: %w", n, noEOF(err))
	}
	if err := json.Unmarshal(body, message); err != nil {
		return fmt.Errorf("message of %d bytes: %w", n, err)
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // ReadFull returns it as it is
		return io.ErrUnexpectedEOF
	}
	return err
}
