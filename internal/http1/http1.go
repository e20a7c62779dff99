// Package http1 is a strict HTTP/1.1 codec over byte slices: bytes in, verdict and bytes out.
//
// It does no I/O, keeps no map of headers and allocates nothing once a Request, Response or Chunks value has
// been used: what it returns points into the caller's buffer and is valid until the caller changes it. Only a path
// that was not in its normal form is written anew.
// Anything ambiguous is refused (see [Error]); nothing ambiguous is ever written.
package http1

// An Error is why a message was refused, and the status to refuse it with.
type Error struct {
	Status int    // 400, 408, 413, 414, 417, 431, 501, 505; 502 for a response
	Reason string // one sentence for a log, without the peer's bytes
}

func (e *Error) Error() string { return e.Reason }

// A Field is one header line, without its colon, surrounding white space or line end.
type Field struct {
	Name, Value []byte
	is          known // what the codec made of the name, if it parsed it
}

// A Framing says how the end of a message's body is found.
type Framing uint8

// The framings.
const (
	NoBody     Framing = iota // the message ends with its head
	Length                    // ContentLength bytes follow; may be 0
	Chunked                   // chunks follow, then trailers
	UntilClose                // everything until the connection closes (responses only)
)

// MaxFields bounds the header lines of one head and, separately, the trailer lines of one body.
const MaxFields = 256

// A Request is a parsed request head. Its slices point into the buffer given to Parse.
type Request struct {
	Method        []byte
	Target        []byte // as it stood in the request line
	Host          []byte // the authority: of an absolute target, else of the Host field; with its port, if any; may be empty
	Path          []byte // origin form, with the query, normalized (see appendNormal); "*" for OPTIONS *; valid until the next Parse
	Minor         int    // HTTP/1.Minor: 0 or 1
	Fields        []Field
	Framing       Framing
	ContentLength int64  // when Framing is Length, else 0
	Close         bool   // the connection ends after the answer (Connection: close, or HTTP/1.0 without keep-alive)
	Expect        bool   // Expect: 100-continue, and a body follows
	Upgrade       []byte // "websocket", in the client's spelling, when asked for with Connection: upgrade; nil if not, or for another protocol
	House         bool   // among Fields is one of the house, or a load report: see Edit
	names         bool   // Connection nominates fields to drop
	normal        []byte // what Path points into when it is not as it stood in the target
}

// A Response is a parsed response head. Its slices point into the buffer given to Parse.
type Response struct {
	Minor         int
	Status        int // 100..999
	Reason        []byte
	Fields        []Field
	Framing       Framing
	ContentLength int64  // when Framing is Length: what follows; when NoBody: what is announced (HEAD, 304), else -1
	Close         bool   // the connection cannot be used again
	Upgrade       []byte // with status 101: "websocket", in the sender's spelling
	House         bool   // as in Request
	names         bool
}

// Nominates says that Connection names fields of the client's own. They are dropped from the head; the request's
// trailers, which may have the same names, must then not go on either.
func (r *Request) Nominates() bool { return r.names }

// Nominates is that of Request, for a response.
func (r *Response) Nominates() bool { return r.names }
