package load

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A streamError is why a stream ended before its answer was whole, when its connection did not.
type streamError struct {
	outcome Outcome
	reset   string // the code of the server's RST_STREAM; else ""
	text    string
}

func (e *streamError) Error() string { return e.text }

// broken is the error of an answer that breaks a rule of its protocol.
func broken(format string, args ...any) *streamError {
	return &streamError{outcome: Other, text: fmt.Sprintf(format, args...)}
}

// A stream is one request on a session. All of it is guarded by the session's mu, but for what is set once.
type stream struct {
	// Set once.
	id     uint32
	key    string        // the field that names the endpoint, in small letters
	grpc   bool          // the answer is a call's
	bare   bool          // the answer has no body, whatever length it announces: HEAD's
	wake   chan struct{} // rings when something below has changed
	opened uint64        // the session's frames before it

	sending int64 // what the server still takes of the body, in bytes
	allowed int64 // what the server may still send, in bytes
	ended   bool  // our side
	done    bool
	err     error // why the answer is not whole; nil if it is

	// The answer so far.
	begun    bool // a byte of the final answer came
	status   int
	endpoint string
	size     int64  // bytes of the body
	expected int64  // as the answer announced; -1 if it did not
	kind     string // content-type
	messages messages
	verdict  string // grpc-status as it stands there
}

// ring wakes who waits for the stream.
func (s *stream) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// head takes the fields that stand before a body or after it.
func (s *stream) head(f *http2.MetaHeadersFrame) error {
	switch {
	case f.Truncated:
		return errHeadTooLarge
	case s.begun:
		return s.trailers(f)
	}
	status := f.PseudoValue("status")
	n, err := strconv.Atoi(status)
	if err != nil || len(status) != 3 || n < 100 || n == http.StatusSwitchingProtocols || len(f.PseudoFields()) != 1 {
		return broken("an answer with the status %q", status)
	}
	if n < http.StatusOK {
		if f.StreamEnded() {
			return broken("nothing after an interim answer")
		}
		return nil
	}
	s.begun, s.status, s.expected = true, n, -1
	for _, field := range f.RegularFields() {
		if err := s.field(field); err != nil {
			return err
		}
	}
	return nil
}

// field takes one field of the final head.
func (s *stream) field(field hpack.HeaderField) (err error) {
	switch field.Name {
	case "content-length":
		if s.expected, err = strconv.ParseInt(field.Value, 10, 64); err != nil || s.expected < 0 {
			return broken("content-length %q", field.Value)
		}
	case "content-type":
		s.kind = field.Value
	case "connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade":
		return broken("%s has no place in HTTP/2", field.Name)
	case "grpc-status":
		s.verdict = field.Value
	case s.key:
		if s.endpoint == "" {
			s.endpoint = field.Value
		}
	}
	return nil
}

func (s *stream) trailers(f *http2.MetaHeadersFrame) error {
	if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
		return broken("trailers that do not end the answer, or with pseudo fields")
	}
	for _, field := range f.RegularFields() {
		if field.Name == "grpc-status" {
			s.verdict = field.Value
		}
	}
	return nil
}

// data takes a piece of the body.
func (s *stream) data(p []byte) error {
	if !s.begun {
		return broken("a body without a head")
	}
	s.size += int64(len(p))
	if s.framed() {
		return s.messages.take(p)
	}
	return nil
}

// framed says whether the body is a call's messages: of an answer that does not come from a service of gRPC, but from
// a proxy or a page, it is not.
func (s *stream) framed() bool {
	rest, is := strings.CutPrefix(s.kind, "application/grpc")
	return s.grpc && s.status == http.StatusOK && is && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// whole says what is missing from an answer that has come to its end.
func (s *stream) whole() error {
	switch {
	case !s.begun:
		return broken("an end without a head")
	case s.expected >= 0 && s.size != s.expected && !s.bare && s.status != http.StatusNotModified:
		return broken("a body of %d bytes that was announced as %d", s.size, s.expected)
	case s.framed():
		return s.messages.end()
	}
	return nil
}

// result judges a whole answer; a call that is OK has this many messages in it.
func (s *stream) result(messages int) (result, error) {
	got := result{status: s.status, endpoint: s.endpoint}
	switch {
	case s.status >= http.StatusInternalServerError:
		got.outcome = ServerError
		return got, nil
	case !s.grpc:
		return got, nil
	case s.verdict == "" && s.framed():
		return result{}, broken("an answer without grpc-status")
	case !s.framed() && (s.verdict == "" || grpcStatus(s.verdict) == "OK"):
		return result{}, broken("not gRPC: HTTP status %d of type %q", s.status, s.kind)
	}
	got.grpc = grpcStatus(s.verdict)
	switch {
	case got.grpc != "OK":
		got.outcome = GRPCError
	case s.messages.whole != messages:
		return result{}, broken("OK with another number of messages than asked for")
	}
	return got, nil
}

// grpcStatusNames are gRPC's statuses by their number.
var grpcStatusNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
	"DATA_LOSS", "UNAUTHENTICATED",
}

// grpcStatus returns the name of a status; what has none keeps its number, and what is no number is UNKNOWN.
func grpcStatus(text string) string {
	n, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err != nil:
		return grpcStatusNames[2]
	case n < uint64(len(grpcStatusNames)):
		return grpcStatusNames[n]
	}
	return strings.TrimLeft(text, "0")
}

var errWithinMessage = errors.New("the answer ends within a message")

// prefix is the size of what stands before a message of gRPC: whether it is compressed, and its length.
const prefix = 5

// framed returns a message as it goes over the wire.
func framed(message []byte) []byte {
	n := len(message)
	return append([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, message...)
}

// messages counts the messages of a gRPC body, whatever the pieces it comes in.
type messages struct {
	whole  int
	before [prefix]byte
	have   int    // of before
	left   uint32 // of the message
}

func (m *messages) take(p []byte) error {
	for len(p) > 0 {
		if m.have < prefix {
			n := copy(m.before[m.have:], p)
			m.have += n
			p = p[n:]
			if m.have < prefix {
				return nil
			}
			if m.before[0] != 0 {
				return broken("a message is compressed, and was not asked to be")
			}
			m.left = uint32(m.before[1])<<24 | uint32(m.before[2])<<16 | uint32(m.before[3])<<8 | uint32(m.before[4])
		}
		n := min(uint64(m.left), uint64(len(p)))
		m.left -= uint32(n)
		p = p[n:]
		if m.left == 0 {
			m.whole++
			m.have = 0
		}
	}
	return nil
}

// end says whether the body ended between two messages.
func (m *messages) end() error {
	if m.have > 0 {
		return errWithinMessage
	}
	return nil
}
