package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// The protocol is https://github.com/grpc/grpc/blob/master/doc/health-checking.md: Check takes a HealthCheckRequest,
// whose field 1 is the service's name, and answers with a HealthCheckResponse, whose field 1 is a status. How messages
// and statuses stand on a stream is PROTOCOL-HTTP2.md beside it.

const (
	grpcPath   = "/grpc.health.v1.Health/Check"
	grpcPrefix = 5       // bytes before a message: whether it is compressed, and its length
	grpcMost   = 4 << 10 // bytes of an answer's body: one message, which holds a number
)

// servingTable are the statuses of a HealthCheckResponse.
var servingTable = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

const serving = 1

// AskGRPC asks the server at address whether a service of its serves, "" for the server as a whole, by
// grpc.health.v1.Health/Check over plaintext HTTP/2, on a connection of its own. The error is nil for SERVING, that of
// the dial where nobody took the connection, and else what was heard. It waits for as long as ctx lets it.
func AskGRPC(ctx context.Context, address netip.AddrPort, service string) error {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", address.String())
	if err != nil {
		return err
	}
	heard := &hearing{Conn: nc}
	c := http2.NewClient(heard, &http2.Options{})
	ended := make(chan struct{})
	go func() {
		_ = c.Run() // the stream says why
		close(ended)
	}()
	stop := context.AfterFunc(ctx, c.Close)
	reason, ok, err := call(ctx, c, address, service)
	stop()
	c.Close()
	<-ended
	switch {
	case ok:
		return nil
	case err == nil:
		return errors.New(reason)
	case ctx.Err() != nil:
		return ctx.Err()
	case bytes.HasPrefix(heard.first, []byte("HTTP/1.")):
		return errors.New("gRPC: the endpoint speaks HTTP/1.1, not HTTP/2")
	case len(heard.first) == 0: // as an endpoint of TLS does
		return errors.New("gRPC: the endpoint closed the connection; does it speak HTTP/2 in plaintext?")
	}
	return fmt.Errorf("gRPC: %w", err)
}

// A hearing is a connection that keeps what was heard first on it: what the other end speaks.
type hearing struct {
	net.Conn
	first []byte
}

func (h *hearing) Read(b []byte) (int, error) {
	const enough = 8
	n, err := h.Conn.Read(b)
	if room := enough - len(h.first); room > 0 {
		h.first = append(h.first, b[:min(n, room)]...)
	}
	return n, err
}

// call makes one call, waits for the whole of its answer, and says what that means.
func call(ctx context.Context, c *http2.Client, address netip.AddrPort, service string) (reason string, ok bool, err error) {
	message := healthRequest(service)
	s, err := c.Open(&http2.Head{
		Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte(address.String()), Path: []byte(grpcPath),
		Fields: callFields(ctx), ContentLength: int64(len(message)), Sized: true,
	}, false)
	if err != nil {
		return "", false, err
	}
	defer s.Close()
	_, _ = s.WriteBody(message, true) // a server may answer without having read; if it does not, ReadHead says why
	h := new(http2.Head)
	for h.Status < 200 { // there may be interim answers first
		if h, err = s.ReadHead(); err != nil {
			return "", false, err
		}
	}
	body, err := io.ReadAll(io.LimitReader(http2.Pipe{Stream: s}, grpcMost+1))
	if err == nil && len(body) > grpcMost {
		err = errLong
	}
	if err != nil {
		return "", false, err
	}
	reason, ok = judge(h, body, s.Trailers())
	return reason, ok, nil
}

func callFields(ctx context.Context) []http1.Field {
	fields := []http1.Field{
		{Name: []byte("content-type"), Value: []byte("application/grpc")},
		{Name: []byte("te"), Value: []byte("trailers")},
		{Name: []byte("user-agent"), Value: []byte("crossfade-check")},
	}
	if by, limited := ctx.Deadline(); limited {
		const most = 99_999_999 // eight digits
		left := min(max(1, time.Until(by).Milliseconds()), most)
		fields = append(fields, http1.Field{Name: []byte("grpc-timeout"), Value: fmt.Appendf(nil, "%dm", left)})
	}
	return fields
}

// healthRequest is a HealthCheckRequest, framed.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(message, 1<<3|2) // field 1, of a length that follows
		message = binary.AppendUvarint(message, uint64(len(service)))
		message = append(message, service...)
	}
	out := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(out, message...)
}

// judge says what an answer means. A status of gRPC says more than one of HTTP, wherever it stands.
func judge(h *http2.Head, body []byte, trailers []http1.Field) (reason string, ok bool) {
	code, message, found := grpcStatus(trailers)
	if !found {
		code, message, found = grpcStatus(h.Fields) // where nothing follows the head
	}
	kind := field(h.Fields, "content-type")
	switch {
	case !found && h.Status != 200:
		return fmt.Sprintf("gRPC: HTTP %d", h.Status), false
	case !found && !strings.HasPrefix(kind, "application/grpc"):
		return fmt.Sprintf("gRPC: HTTP 200 of type %q", clean(kind)), false
	case !found:
		return "gRPC: an answer without grpc-status", false
	case code != "0" && message == "":
		return "gRPC status " + codeText(code), false
	case code != "0":
		return fmt.Sprintf("gRPC status %s: %s", codeText(code), clean(message)), false
	}
	status, err := healthStatus(body)
	if err != nil {
		return "gRPC: " + err.Error(), false
	}
	if status < uint64(len(servingTable)) {
		return "gRPC " + servingTable[status], status == serving
	}
	return fmt.Sprintf("gRPC health status %d", status), false
}

// codeText is "5 NOT_FOUND" for "5".
func codeText(code string) string {
	if n, err := strconv.Atoi(code); err == nil && evidence.CallName(n) != "" {
		return code + " " + evidence.CallName(n)
	}
	return clean(code)
}

func grpcStatus(fields []http1.Field) (code, message string, found bool) {
	code = field(fields, "grpc-status")
	message = field(fields, "grpc-message")
	if text, err := url.PathUnescape(message); err == nil { // it is percent-encoded
		message = text
	}
	return code, message, code != ""
}

func field(fields []http1.Field, name string) string {
	for _, f := range fields {
		if string(f.Name) == name {
			return string(f.Value)
		}
	}
	return ""
}

// clean is somebody else's text, fit to stand in a line for people.
func clean(text string) string {
	const most = 200
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

var (
	errMessage    = errors.New("an answer that is no HealthCheckResponse")
	errLong       = fmt.Errorf("an answer of more than %d bytes", grpcMost)
	errCompressed = errors.New("a compressed answer, which was not asked for")
)

// healthStatus reads the status out of a body that is one HealthCheckResponse, framed. Fields that it does not know
// it passes over; a status that is not there is 0.
func healthStatus(body []byte) (uint64, error) {
	switch {
	case len(body) < grpcPrefix || uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-grpcPrefix):
		return 0, errMessage
	case body[0] != 0:
		return 0, errCompressed
	}
	status := uint64(0)
	for m := body[grpcPrefix:]; len(m) > 0; {
		tag, n := binary.Uvarint(m)
		if n <= 0 || tag>>3 == 0 {
			return 0, errMessage
		}
		m = m[n:]
		value, size := wireValue(m, tag&7)
		if size < 0 {
			return 0, errMessage
		}
		if tag == 1<<3 { // field 1, a varint
			status = value
		}
		m = m[size:]
	}
	return status, nil
}

// wireValue measures the value of a field by its wire type, and reads it where that is a varint. The size is -1 where
// it is none.
func wireValue(m []byte, wireType uint64) (value uint64, size int) {
	switch wireType {
	case 0: // varint
		if value, size = binary.Uvarint(m); size > 0 {
			return value, size
		}
		return 0, -1
	case 1: // 64 bits
		size = 8
	case 2: // so many bytes
		length, n := binary.Uvarint(m)
		if n <= 0 || length > uint64(len(m)-n) {
			return 0, -1
		}
		size = n + int(length)
	case 5: // 32 bits
		size = 4
	default:
		return 0, -1
	}
	if size > len(m) {
		return 0, -1
	}
	return 0, size
}
