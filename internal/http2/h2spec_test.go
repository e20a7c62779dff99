package http2

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// h2spec is where scripts/setup puts the program.
const h2spec = "../../.cache/bin/h2spec"

func TestH2spec(t *testing.T) {
	program, err := filepath.Abs(h2spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v, and CI skips nothing: run scripts/setup", err)
		}
		t.Skipf("%v: run scripts/setup", err)
	}
	summary := regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`)
	for _, secure := range []bool{false, true} {
		t.Run("tls="+strconv.FormatBool(secure), func(t *testing.T) {
			l := listen(t, secure)
			go acceptAll(l, &Options{}, hello)
			_, port, _ := net.SplitHostPort(l.Addr().String())
			args := []string{"--host", "127.0.0.1", "--port", port, "--timeout", "2", "--strict"}
			if secure {
				args = append(args, "--tls", "--insecure")
			}
			out, _ := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
			m := summary.FindSubmatch(out)
			if m == nil || string(m[1]) != "146" || string(m[2]) != "146" {
				t.Fatalf("got\n%s", out[max(0, bytes.Index(out, []byte("Failures:"))):])
			}
			t.Logf("%s", m[0])
		})
	}
}

// listen opens a socket of the loopback, for HTTP/2 in the clear or behind TLS.
func listen(t testing.TB, secure bool) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if !secure {
		return l
	}
	lent := httptest.NewUnstartedServer(nil) // for its certificate
	lent.StartTLS()
	cert := lent.TLS.Certificates
	lent.Close()
	return tls.NewListener(l, &tls.Config{Certificates: cert, NextProtos: []string{"h2"}})
}

func acceptAll(l net.Listener, o *Options, handle func(*Stream)) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			if secure, ok := nc.(*tls.Conn); ok && secure.Handshake() != nil {
				nc.Close()
				return
			}
			_ = NewServer(nc, nil, o).Serve(handle)
		}()
	}
}

// hello reads the request and answers with a body.
func hello(s *Stream) {
	buf := make([]byte, 4<<10)
	for {
		if _, err := s.ReadBody(buf); err != nil {
			break
		}
	}
	_ = s.WriteHead(&Head{Status: 200, Fields: fieldsOf("content-type", "text/plain")}, false)
	_, _ = s.WriteBody([]byte("hello, world\n"), true)
}
