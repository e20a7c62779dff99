package http1

import "bytes"

// Parse parses the response head at the start of b; the request's method decides the framing. n and err are
// those of Request.Parse; every error has status 502. An interim response (1xx) is a response with NoBody:
// the caller parses on.
func (r *Response) Parse(b, method []byte) (n int, err error) {
	n, bad := r.parse(b, method)
	if bad != nil {
		return 0, asResponse(bad)
	}
	return n, nil
}

func (r *Response) parse(b, method []byte) (n int, err *Error) {
	pos, err := r.parseLine(b)
	if pos == 0 || err != nil {
		return 0, err
	}
	h := head{fields: r.Fields[:0]}
	n, err = h.parse(b, pos)
	r.Fields = h.fields
	if n == 0 || err != nil {
		return 0, err
	}
	return n, r.conclude(&h, method)
}

// parseLine reads "HTTP/1.1 200 OK" and returns where the next line starts; 0 when more bytes are needed. The reason
// may be missing, even with its space, as many servers do.
func (r *Response) parseLine(b []byte) (next int, err *Error) {
	const start, code, reason = "HTTP/1.", len("HTTP/1.1 "), len("HTTP/1.1 200")
	if common := min(len(b), len(start)); string(b[:common]) != start[:common] {
		return 0, errStatusLine
	}
	if len(b) <= reason {
		if bytes.IndexByte(b, '\n') >= 0 {
			return 0, errStatusLine
		}
		return 0, nil
	}
	status, ok := parseLength(b[code:reason])
	r.Minor, r.Status = int(b[len(start)])-'0', int(status)
	switch c := b[reason]; {
	case r.Minor != 0 && r.Minor != 1, b[code-1] != ' ', !ok, status < 100, c != ' ' && c != '\r' && c != '\n':
		return 0, errStatusLine
	}
	end, err := scanValue(b, reason)
	switch {
	case err == errFieldValue:
		return 0, errStatusLine
	case end == 0 || err != nil:
		return 0, err
	}
	r.Reason = b[min(reason+1, end):end]
	return end + len("\r\n"), nil
}

// conclude draws from the fields and the request's method what the whole response means.
func (r *Response) conclude(h *head, method []byte) *Error {
	r.Close, r.House = h.closes(r.Minor), h.house
	if err := r.frame(h, method); err != nil {
		return err
	}
	if r.names = h.names; r.names {
		h.nominate()
	}
	r.Upgrade = nil
	if r.Status != 101 {
		return nil
	}
	r.Close = true
	if r.Upgrade = h.protocol(); r.Upgrade == nil {
		return errSwitch
	}
	return nil
}

// frame finds how the body ends, and whether the connection ends with it: RFC 9112 section 6.3.
func (r *Response) frame(h *head, method []byte) (err *Error) {
	if r.Framing, err = h.framing(r.Minor, UntilClose); err != nil {
		return err
	}
	r.ContentLength = h.length
	switch announces := r.Framing == Chunked || r.ContentLength > 0; {
	case r.Status < 200 && announces: // the final response follows, but where?
		return errInterim
	case r.Status < 200 || r.Status == 204:
		// Such a response has no body. One that announces a body may still send it: what follows cannot be trusted.
		r.Close = r.Close || announces
		r.Framing, r.ContentLength = NoBody, -1
	case r.Status == 304 || string(method) == "HEAD":
		r.Framing = NoBody
		if h.lengths == 0 {
			r.ContentLength = -1
		}
	case r.Status < 300 && string(method) == "CONNECT":
		r.Framing, r.ContentLength, r.Close = NoBody, -1, true
	case r.Framing == UntilClose:
		r.Close = true
	}
	return nil
}
