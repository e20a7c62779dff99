//go:build integration

package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Where the WebSocket endpoints are: one of HTTP/1.1, one of HTTP/2, and the ledger that both keep.
const (
	socketsOne    = "127.8.1.1:9001"
	socketsTwo    = "127.8.1.2:9001"
	socketsLedger = "127.8.1.3:9001"
)

// A ledger is how WebSockets have ended at the endpoints, by what clients call them.
type ledger struct {
	mu    sync.Mutex
	ended map[string]string
}

func (l *ledger) write(id, end string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended[id] = end
}

// ServeHTTP answers /ID with how it ended, and with nothing while it goes on.
func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(w, l.ended[strings.TrimPrefix(r.URL.Path, "/")])
}

// socketCamp serves the WebSocket endpoints until it is told to leave.
func socketCamp(c *crew) {
	l := &ledger{ended: map[string]string{}}
	serve := map[string]func(net.Listener) error{
		socketsOne:    func(at net.Listener) error { return (&http.Server{Handler: socketsByUpgrade(l)}).Serve(at) },
		socketsTwo:    func(at net.Listener) error { return serveHTTP2(at, socketsByConnect(l)) },
		socketsLedger: func(at net.Listener) error { return (&http.Server{Handler: l}).Serve(at) },
	}
	for address, do := range serve {
		at, err := net.Listen("tcp", address)
		if err != nil {
			c.count(err.Error())
			return
		}
		go func() { c.count(do(at).Error()) }()
	}
	c.report()
	<-c.leave
}

// serveHTTP2 speaks HTTP/2 and nothing else, in the clear.
func serveHTTP2(at net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:   handler,
		Protocols: new(http.Protocols),
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: 1000},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, 0), // of connections that only look
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	return server.Serve(at)
}

// turnAway answers who is not to be let in, and says whether it did.
func turnAway(w http.ResponseWriter, r *http.Request) (refused bool) {
	if r.URL.Path == "/reject" {
		w.Header().Set("X-Because", "no invitation")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "who are you?")
		return true
	}
	switch {
	case r.Header.Get("Sec-Websocket-Version") != "13":
		http.Error(w, "version "+r.Header.Get("Sec-Websocket-Version"), http.StatusUpgradeRequired)
	case r.Header.Get("Sec-Websocket-Extensions") != "permessage-deflate":
		http.Error(w, "extensions "+r.Header.Get("Sec-Websocket-Extensions"), http.StatusBadRequest)
	case !has(r.Header.Get("Sec-Websocket-Protocol"), "echo"):
		http.Error(w, "protocols "+r.Header.Get("Sec-Websocket-Protocol"), http.StatusBadRequest)
	default:
		return false
	}
	return true
}

// socketsByUpgrade serves WebSockets as RFC 6455 section 4 has it.
func socketsByUpgrade(l *ledger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
		if r.Method != http.MethodGet || !has(r.Header.Get("Connection"), "upgrade") ||
			!strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || err != nil || len(key) != 16 {
			http.Error(w, fmt.Sprintf("not a handshake: %s %v", r.Method, r.Header), http.StatusBadRequest)
			return
		}
		if turnAway(w, r) {
			return
		}
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer nc.Close()
		head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: " + accepts(r.Header.Get("Sec-Websocket-Key")) + "\r\nSec-WebSocket-Protocol: echo\r\n\r\n"
		s := &socket{websocket: websocket{duplex: overTCP{nc}, in: rw.Reader}, out: []byte(head)}
		l.write(r.URL.Query().Get("id"), s.serve(r.URL.Path))
	})
}

// accepts is the answer to a key, of RFC 6455 section 4.2.2.
func accepts(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// socketsByConnect serves WebSockets as RFC 8441 has it.
func socketsByConnect(l *ledger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get(":protocol") != "websocket" || r.Host == "" ||
			r.Header.Get("Sec-Websocket-Key") != "" || r.Header.Get("Upgrade") != "" || r.Header.Get("Connection") != "" {
			http.Error(w, fmt.Sprintf("not a handshake: %s %v", r.Method, r.Header), http.StatusBadRequest)
			return
		}
		if turnAway(w, r) {
			return
		}
		w.Header().Set("Sec-Websocket-Protocol", "echo")
		w.WriteHeader(http.StatusOK)
		over := &overAnswer{r.Body, w, http.NewResponseController(w), false}
		_ = over.controls.Flush()
		s := &socket{websocket: websocket{duplex: over, in: bufio.NewReader(r.Body)}}
		l.write(r.URL.Query().Get("id"), s.serve(r.URL.Path))
		if over.dead {
			panic(http.ErrAbortHandler)
		}
	})
}

// overTCP ends a connection with a reset.
type overTCP struct{ net.Conn }

// CloseWrite implements duplex.
func (o overTCP) CloseWrite() error {
	half, ok := o.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Close implements duplex.
func (o overTCP) Close() error {
	nc := o.Conn
	if secure, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = secure.NetConn()
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return nc.Close()
}

// overAnswer is the bodies of a request and its answer.
type overAnswer struct {
	io.Reader
	io.Writer
	controls *http.ResponseController
	dead     bool
}

// Write implements duplex.
func (o *overAnswer) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	return n, errors.Join(err, o.controls.Flush())
}

// CloseWrite implements duplex: the answer ends with its handler, and there is nothing before that.
func (o *overAnswer) CloseWrite() error { return nil }

// Close implements duplex.
func (o *overAnswer) Close() error {
	o.dead = true
	return nil
}

// A socket is a WebSocket at an endpoint.
type socket struct {
	websocket
	out []byte // to be said with what is said next
}

// serve does what a path stands for, and returns how it ended.
func (s *socket) serve(path string) (end string) {
	if path == "/first" { // in one write with the head, if there is one
		s.out = append(s.out, s.encode(frame{true, opText, []byte("welcome")})...)
	}
	if _, err := s.Write(s.out); err != nil {
		return "broken: " + err.Error()
	}
	switch path {
	case "/after":
		return s.after()
	case "/half":
		return s.half()
	}
	for {
		f, err := s.hear()
		var wrong *violation
		switch {
		case errors.As(err, &wrong):
			_ = s.close(wrong.code, wrong.what)
			return err.Error()
		case errors.Is(err, io.EOF):
			return "end"
		case err != nil:
			return "broken: " + err.Error()
		}
		if end := s.answer(path, f); end != "" {
			return end
		}
	}
}

// answer answers one frame; "" goes on.
func (s *socket) answer(path string, f frame) (end string) {
	switch {
	case f.op == opClose:
		_ = s.close(f.code(), f.reason())
		return fmt.Sprintf("closed %d %q", f.code(), f.reason())
	case f.op == opPong:
		return ""
	case f.op == opPing:
		f.op = opPong
	case path == "/close":
		code, err := strconv.Atoi(string(f.payload))
		if err != nil {
			return err.Error()
		}
		_ = s.close(code, "leaving")
		reply, err := s.hear()
		return fmt.Sprintf("was answered %d, %v", reply.code(), err)
	case path == "/abrupt":
		_ = s.Close()
		return "left"
	}
	if _, err := s.Write(s.encode(f)); err != nil {
		return "broken: " + err.Error()
	}
	return ""
}

// after waits until the client has said its last, and then says how much that was.
func (s *socket) after() string {
	n, err := io.Copy(io.Discard, s.in)
	if err != nil {
		return "broken: " + err.Error()
	}
	_ = s.say(opText, true, strconv.AppendInt(nil, n, 10))
	return "end"
}

// half says one message and that no more comes, and then listens.
func (s *socket) half() string {
	err := errors.Join(s.say(opText, true, []byte("enough")), s.CloseWrite())
	if err != nil {
		return "broken: " + err.Error()
	}
	var heard bytes.Buffer
	for {
		f, err := s.hear()
		switch {
		case errors.Is(err, io.EOF):
			return "end after " + heard.String()
		case errors.Is(err, syscall.ECONNRESET):
			return "reset after " + heard.String()
		case err != nil:
			return "broken: " + err.Error()
		}
		heard.Write(f.payload)
	}
}
