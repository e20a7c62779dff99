package http1

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
	h := head{fields: r.Fields[:0]}
	*r = Response{Fields: h.fields}
	const start = "HTTP/1."
	if common := min(len(b), len(start)); string(b[:common]) != start[:common] {
		return 0, errStatusLine
	}
	line, next, err := cutLine(b, 0)
	if err != nil || next == 0 {
		return 0, err
	}
	if err := r.parseLine(line); err != nil {
		return 0, err
	}
	n, err = h.parse(b, next)
	r.Fields = h.fields
	if n == 0 || err != nil {
		return 0, err
	}
	return n, r.conclude(&h, method)
}

// parseLine reads "HTTP/1.1 200 OK". The reason may be missing, even with its space, as many servers do.
func (r *Response) parseLine(line []byte) *Error {
	const code = len("HTTP/1.1 ")
	if len(line) < code+3 || line[code-1] != ' ' {
		return errStatusLine
	}
	minor, err := parseVersion(line[:code-1])
	if err != nil {
		return errStatusLine
	}
	for _, c := range line[code : code+3] {
		if c < '0' || c > '9' {
			return errStatusLine
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if reason := line[code+3:]; len(reason) > 0 {
		if reason[0] != ' ' || !all(reason, inValue) {
			return errStatusLine
		}
		r.Reason = reason[1:]
	}
	if r.Status < 100 {
		return errStatusLine
	}
	r.Minor = minor
	return nil
}

// conclude draws from the fields and the request's method what the whole response means: RFC 9112 section 6.3.
func (r *Response) conclude(h *head, method []byte) (err *Error) {
	if r.Framing, err = h.framing(r.Minor, UntilClose); err != nil {
		return err
	}
	r.ContentLength = h.length
	r.Close = h.closes(r.Minor)
	r.names = h.names
	switch {
	case r.Status < 200 || r.Status == 204:
		// Such a response has no body. One that announces a body may still send it: what follows cannot be trusted.
		r.Close = r.Close || r.Framing == Chunked || r.ContentLength > 0
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
	if r.Status != 101 {
		return nil
	}
	r.Close = true
	if r.Upgrade = h.protocol(); r.Upgrade == nil {
		return errSwitch
	}
	return nil
}
