package http1

import "bytes"

// Why a message is refused. A response that is refused has status 502 and the same reason.
var (
	errEmptyLine    = &Error{400, "the message does not start with a start line"}
	errBareLF       = &Error{400, "a line ends without CR"}
	errRequestLine  = &Error{400, "the request line is not three words"}
	errMethod       = &Error{400, "the method is not a token"}
	errConnect      = &Error{501, "CONNECT is not served"}
	errTarget       = &Error{400, "the target holds a byte that no target may hold"}
	errTargetForm   = &Error{400, "the target is not in origin, absolute or asterisk form"}
	errEscape       = &Error{400, "the target's path has a broken percent escape"}
	errNUL          = &Error{400, "the target's path holds an escaped NUL"}
	errDotParameter = &Error{400, "a dot segment of the target's path has parameters"}
	errAboveRoot    = &Error{400, "the target's path leads above the root"}
	errVersion      = &Error{505, "the version is neither HTTP/1.0 nor HTTP/1.1"}
	errVersionWord  = &Error{400, "the request line does not end with a version"}
	errFieldName    = &Error{400, "a field name is not a token directly followed by a colon"}
	errFold         = &Error{400, "a field line is folded"}
	errFieldValue   = &Error{400, "a field value holds a control byte"}
	errManyFields   = &Error{431, "the message has too many fields"}
	errNoHost       = &Error{400, "an HTTP/1.1 request has no Host"}
	errTwoHosts     = &Error{400, "the request has more than one Host"}
	errHost         = &Error{400, "the authority is not a host with an optional port"}
	errLength       = &Error{400, "Content-Length is not one decimal number that fits"}
	errTwoLengths   = &Error{400, "the message has more than one Content-Length"}
	errLengthAndTE  = &Error{400, "the message has both Content-Length and Transfer-Encoding"}
	errOldTE        = &Error{400, "an HTTP/1.0 message has a Transfer-Encoding"}
	errCoding       = &Error{400, "Transfer-Encoding is not exactly chunked"}
	errUnknownTE    = &Error{501, "Transfer-Encoding names a coding besides chunked"}
	errConnection   = &Error{400, "Connection is not a list of tokens"}
	errOptions      = &Error{431, "Connection lists too many options"}
	errExpect       = &Error{417, "Expect asks for something besides 100-continue"}
	errStatusLine   = &Error{502, "the status line is not a version, three digits and a reason"}
	errInterim      = &Error{502, "an interim response announces a body"}
	errSwitch       = &Error{502, "a 101 response does not switch to websocket"}
	errTargetLong   = &Error{414, "the request line is too long"}
	errHeadLarge    = &Error{431, "the head is too large"}
	errChunkSize    = &Error{400, "a chunk size is not a hexadecimal number that fits"}
	errChunkLine    = &Error{400, "a chunk's size line holds a byte that it may not hold"}
	errChunkExt     = &Error{400, "the chunk extensions are too large"}
	errChunkEnd     = &Error{400, "a chunk's data does not end where its size says"}
	errTrailerLarge = &Error{400, "the trailers are too large"}
	errTrailerName  = &Error{400, "a trailer has a name that only a head may have"}
)

// asResponse is the verdict on a response for what is wrong with its fields.
func asResponse(e *Error) *Error {
	if e.Status == 502 {
		return e
	}
	return &Error{502, e.Reason}
}

// TooLarge says why an incomplete request head b that fills the caller's bound is refused: 414 when not even
// the request line fitted, else 431.
func TooLarge(b []byte) *Error {
	if bytes.IndexByte(bytes.TrimPrefix(b, []byte("\r\n")), '\n') < 0 {
		return errTargetLong
	}
	return errHeadLarge
}
