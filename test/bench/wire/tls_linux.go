package wire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"slices"
	"syscall"
	"time"
)

// TLS says how clients connect with TLS 1.3. The handshake is crypto/tls's; the records after it are sealed and
// opened by the loop (RFC 8446, section 5), so that a client costs the same whoever it talks to, and little.
type TLS struct {
	Config *tls.Config
	Suite  string // set by the first connection: what was agreed on
}

// A secret seals and opens the records of one connection.
type secret struct {
	seals, opens direction
	sealed       []byte
	raw          []byte // received, from at on not opened
	at           int
}

type direction struct {
	aead  cipher.AEAD
	iv    [12]byte
	nonce [12]byte
	seq   uint64
}

const (
	recordHead = 5
	recordMost = 1 << 14 // bytes of plaintext
	alert      = 21
	handshake  = 22
	data       = 23
)

// dial connects and shakes hands, blocking.
func (t *TLS) dial(to *syscall.SockaddrInet4) (int, *secret, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("socket: %w", err)
	}
	s, err := t.greet(fd, to)
	if err != nil {
		return -1, nil, closed(fd, "a client's handshake", err)
	}
	return fd, s, nil
}

func (t *TLS) greet(fd int, to *syscall.SockaddrInet4) (*secret, error) {
	bound := syscall.NsecToTimeval(int64(stalled))
	if err := errors.Join(
		syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &bound),
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1),
		syscall.Connect(fd, to),
	); err != nil {
		return nil, err
	}
	var log bytes.Buffer
	config := t.Config.Clone()
	config.MinVersion, config.KeyLogWriter = tls.VersionTLS13, &log
	conn := tls.Client(&blocking{fd: fd}, config)
	if err := conn.Handshake(); err != nil { //nolint:noctx // bounded by SO_RCVTIMEO
		return nil, err
	}
	state := conn.ConnectionState()
	if want := t.Config.NextProtos; len(want) > 0 && !slices.Contains(want, state.NegotiatedProtocol) {
		return nil, fmt.Errorf("no protocol of %v was agreed on", want)
	}
	suite := state.CipherSuite
	t.Suite = tls.CipherSuiteName(suite)
	s := &secret{}
	for line := range bytes.Lines(log.Bytes()) {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			continue
		}
		d := map[string]*direction{"CLIENT_TRAFFIC_SECRET_0": &s.seals, "SERVER_TRAFFIC_SECRET_0": &s.opens}[string(fields[0])]
		if d == nil {
			continue
		}
		traffic, err := hex.DecodeString(string(fields[2]))
		if err != nil {
			return nil, err
		}
		if err := d.derive(suite, traffic); err != nil {
			return nil, err
		}
	}
	return s, syscall.SetNonblock(fd, true)
}

// derive makes the key and the iv of a direction from its traffic secret (RFC 8446, section 7.3).
func (d *direction) derive(suite uint16, traffic []byte) error {
	newHash, size := func() hash.Hash { return sha256.New() }, 16
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		newHash, size = func() hash.Hash { return sha512.New384() }, 32
	default:
		return fmt.Errorf("no records of %s here: let the proxy prefer AES-GCM", tls.CipherSuiteName(suite))
	}
	key, err := hkdf.Expand(newHash, traffic, label("key", size), size)
	if err != nil {
		return err
	}
	iv, err := hkdf.Expand(newHash, traffic, label("iv", len(d.iv)), len(d.iv))
	if err != nil {
		return err
	}
	copy(d.iv[:], iv)
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	d.aead, err = cipher.NewGCM(block)
	return err
}

// label is HkdfLabel with an empty context.
func label(name string, length int) string {
	name = "tls13 " + name
	return string([]byte{byte(length >> 8), byte(length), byte(len(name))}) + name + "\x00"
}

// step returns the nonce of the next record.
func (d *direction) step() []byte {
	d.nonce = d.iv
	low := d.nonce[4:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^d.seq)
	d.seq++
	return d.nonce[:]
}

// seal makes one record of plain; it is good until the next.
func (s *secret) seal(plain []byte) []byte {
	size := len(plain) + 1 + s.seals.aead.Overhead()
	s.sealed = append(s.sealed[:0], data, 3, 3, byte(size>>8), byte(size))
	s.sealed = append(append(s.sealed, plain...), data)
	body := s.sealed[recordHead:]
	return s.seals.aead.Seal(s.sealed[:recordHead], s.seals.step(), body, s.sealed[:recordHead])
}

// take adds bytes that were received.
func (s *secret) take(b []byte) {
	if s.at > 0 {
		s.raw = s.raw[:copy(s.raw, s.raw[s.at:])]
		s.at = 0
	}
	s.raw = append(s.raw, b...)
}

// each takes bytes that were received and gives the plaintext of every record that is complete.
func (s *secret) each(b []byte, hear func(plain []byte) error) error {
	s.take(b)
	for {
		plain, err := s.open()
		if err != nil || plain == nil {
			return err
		}
		if len(plain) == 0 {
			continue // a session ticket
		}
		if err := hear(plain); err != nil {
			return err
		}
	}
}

// open returns the plaintext of the next record: nil when there is none, empty when it is not for the application.
func (s *secret) open() ([]byte, error) {
	rest := s.raw[s.at:]
	if len(rest) < recordHead {
		return nil, nil
	}
	size := int(rest[3])<<8 | int(rest[4])
	if len(rest) < recordHead+size {
		return nil, nil
	}
	record := rest[recordHead : recordHead+size]
	s.at += recordHead + size
	plain, err := s.opens.aead.Open(record[:0], s.opens.step(), record, rest[:recordHead])
	if err != nil {
		return nil, fmt.Errorf("a record: %w", err)
	}
	plain = bytes.TrimRight(plain, "\x00")
	if len(plain) == 0 {
		return nil, errors.New("a record without a type")
	}
	kind := plain[len(plain)-1]
	switch plain = plain[:len(plain)-1]; kind {
	case data:
		return plain, nil
	case handshake:
		return plain[:0], nil
	case alert:
		return nil, fmt.Errorf("the alert %v", plain)
	default:
		return nil, fmt.Errorf("a record of type %d", kind)
	}
}

// blocking is a socket as crypto/tls wants it. It never reads beyond a record: what follows the handshake is the
// loop's.
type blocking struct {
	fd   int
	head [recordHead]byte
	got  int // bytes of the head that were read
	left int // bytes of the record that were not
}

func (b *blocking) Read(p []byte) (int, error) {
	limit := b.left
	if limit == 0 {
		limit = recordHead - b.got
	}
	n, err := syscall.Read(b.fd, p[:min(len(p), limit)])
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	if b.left > 0 {
		b.left -= n
		return n, nil
	}
	b.got += copy(b.head[b.got:], p[:n])
	if b.got == recordHead {
		b.got, b.left = 0, int(b.head[3])<<8|int(b.head[4])
	}
	return n, nil
}

func (b *blocking) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, err := syscall.Write(b.fd, p[done:])
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// Close does nothing: the socket is the loop's.
func (b *blocking) Close() error { return nil }

// LocalAddr is not known.
func (b *blocking) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr is not known.
func (b *blocking) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline does nothing: SO_RCVTIMEO bounds each read.
func (b *blocking) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, likewise.
func (b *blocking) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, likewise.
func (b *blocking) SetWriteDeadline(time.Time) error { return nil }
