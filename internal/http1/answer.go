package http1

import "strconv"

// Continue is the interim response that asks for a body.
const Continue = "HTTP/1.1 100 Continue\r\n\r\n"

// An Answer is a short response of our own.
type Answer struct {
	Status    int     // 200 or more
	Fields    []Field // besides Content-Length and Connection
	Body      []byte  // plain text in UTF-8, unless Fields have a Content-Type
	Head      bool    // answers a HEAD request: the body is announced, not written
	Close     bool
	KeepAlive bool // say so: an HTTP/1.0 client that asked for it needs it
}

// reasonTable holds the phrases of the answers that a data plane gives on its own.
var reasonTable = map[int]string{
	200: "OK",
	201: "Created",
	202: "Accepted",
	204: "No Content",
	301: "Moved Permanently",
	302: "Found",
	303: "See Other",
	304: "Not Modified",
	307: "Temporary Redirect",
	308: "Permanent Redirect",
	400: "Bad Request",
	401: "Unauthorized",
	403: "Forbidden",
	404: "Not Found",
	405: "Method Not Allowed",
	406: "Not Acceptable",
	408: "Request Timeout",
	409: "Conflict",
	410: "Gone",
	413: "Content Too Large",
	414: "URI Too Long",
	417: "Expectation Failed",
	421: "Misdirected Request",
	429: "Too Many Requests",
	431: "Request Header Fields Too Large",
	500: "Internal Server Error",
	501: "Not Implemented",
	502: "Bad Gateway",
	503: "Service Unavailable",
	504: "Gateway Timeout",
	505: "HTTP Version Not Supported",
}

// AppendAnswer appends a whole response.
func AppendAnswer(dst []byte, a *Answer) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(a.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reasonTable[a.Status]...)
	dst = append(dst, "\r\n"...)
	for i := range a.Fields {
		dst = appendEdit(dst, &a.Fields[i])
	}
	body := a.Body
	switch a.Status {
	case 204, 304:
		body = nil
	default:
		if _, typed := Lookup(a.Fields, "Content-Type"); len(body) > 0 && !typed {
			dst = append(dst, "Content-Type: text/plain; charset=utf-8\r\n"...)
		}
		dst = appendFraming(dst, Length, int64(len(body)))
	}
	switch {
	case a.Close:
		dst = append(dst, "Connection: close\r\n"...)
	case a.KeepAlive:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	dst = append(dst, "\r\n"...)
	if a.Head {
		return dst
	}
	return append(dst, body...)
}
