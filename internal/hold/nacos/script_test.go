package nacos

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	wire "crossfade.dev/internal/wire/nacos"
)

// A script is a registry that answers as a test says, and notes what it was asked: for versions of Nacos that cannot be had
// here, and for what it says to others.
type script struct {
	*testing.T
	address string

	mu      sync.Mutex
	asked   []string            // over HTTP: METHOD PATH?QUERY BODY
	frames  []string            // over gRPC: TYPE BODY
	links   map[string]bool     // addresses that gRPC came from
	headers func(http.Header)   // hears those of HTTP; nil is nobody
	hears   func(*http.Request) // likewise
	say     func(string) string // the answer to what was asked over HTTP; "" is 404
	hosts   []wire.Instance     // of every service, over gRPC
	refuses int                 // code over gRPC of what registers, or 0
	waits   chan struct{}       // what registers over gRPC is answered when it is closed; nil is at once
	ends    []string            // of calls that waited and of streams, in their order
	push    chan wire.Frame
	acks    []string
}

func newScript(t *testing.T, say func(string) string) *script {
	t.Helper()
	s := &script{T: t, say: say, push: make(chan wire.Frame, 10), links: map[string]bool{}}
	port := freePair(t)
	s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(s.web)}
	go web.Serve(l)
	t.Cleanup(func() { web.Close() })
	if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+wire.PortOffset))); err != nil {
		t.Fatal(err)
	}
	rpc := grpc.NewServer(grpc.ForceServerCodec(wire.Codec{}))
	wire.RegisterServer(rpc, s)
	go rpc.Serve(l)
	t.Cleanup(rpc.Stop)
	return s
}

func (s *script) web(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	text := strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
	s.mu.Lock()
	s.asked = append(s.asked, text)
	say := s.say
	if s.headers != nil {
		s.headers(r.Header)
	}
	if s.hears != nil {
		s.hears(r)
	}
	s.mu.Unlock()
	answer := say(text)
	if answer == "" {
		w.WriteHeader(http.StatusNotFound)
	}
	io.WriteString(w, answer)
}

// wants fails the test unless this is all that was asked over HTTP since it was last looked at.
func (s *script) wants(all ...string) {
	s.Helper()
	s.mu.Lock()
	got := strings.Join(s.asked, "\n")
	s.asked = nil
	s.mu.Unlock()
	if want := strings.Join(all, "\n"); got != want {
		s.Errorf("the registry was asked\n%s\nwant\n%s", got, want)
	}
}

// Request is wire.Server's.
func (s *script) Request(ctx context.Context, f wire.Frame) (wire.Frame, error) {
	p, err := f.Payload()
	if err != nil {
		return nil, err
	}
	r, err := wire.ParseRequest(p.Body)
	if err != nil {
		return nil, err
	}
	from, _ := peer.FromContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[from.Addr.String()] = true
	switch p.Type {
	case wire.TypeInstance, wire.TypeBatchInstance, wire.TypePersistentInstance:
		s.frames = append(s.frames, p.Type+" "+string(p.Body)+" "+p.Headers[accessToken])
		if waits := s.waits; waits != nil {
			s.mu.Unlock()
			select {
			case <-waits:
			case <-ctx.Done():
			}
			s.mu.Lock()
			s.ends = append(s.ends, fmt.Sprint("a call, by itself: ", ctx.Err() == nil))
		}
		if s.refuses != 0 {
			return wire.Refused(r.RequestID, s.refuses, "no")
		}
		s.take(r)
		return wire.Accepted(p.Type, r)
	}
	return wire.NewFrame("QueryServiceResponse", nil, wire.Response{ResultCode: wire.Success, Info: &wire.ServiceInfo{Name: r.Service, Hosts: s.hosts}})
}

// take does what Nacos does: a connection has one thing per service.
func (s *script) take(r wire.Request) {
	s.hosts = nil
	if r.Type != wire.DeregisterInstance {
		s.hosts = r.All()
	}
}

// wantsFrames fails the test unless these, as parts, are all that was asked about instances over gRPC since it was last
// looked at.
func (s *script) wantsFrames(parts ...string) {
	s.Helper()
	s.mu.Lock()
	got := s.frames
	s.frames = nil
	s.mu.Unlock()
	for i, part := range parts {
		for piece := range strings.SplitSeq(part, " … ") {
			if i >= len(got) || !strings.Contains(got[i], piece) {
				s.Fatalf("the registry was asked\n%s\nwant parts\n%s", strings.Join(got, "\n"), strings.Join(parts, "\n"))
			}
		}
	}
	if len(got) != len(parts) {
		s.Errorf("the registry was asked\n%s\nwant %d", strings.Join(got, "\n"), len(parts))
	}
}

// Stream is wire.Server's. It sends what is pushed.
func (s *script) Stream(st wire.Stream) error {
	go func() {
		for {
			f, err := st.Recv()
			if err != nil {
				return
			}
			if p, err := f.Payload(); err == nil {
				s.mu.Lock()
				s.acks = append(s.acks, p.Type)
				s.mu.Unlock()
			}
		}
	}()
	for {
		select {
		case f := <-s.push:
			if err := st.Send(f); err != nil {
				return err
			}
		case <-st.Context().Done(): //nolint:staticcheck // deprecated is grpc.Stream, which has it from both sides
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ends = append(s.ends, "the stream")
			return nil
		}
	}
}

// until waits for something.
func until(t *testing.T, what string, fulfilled func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !fulfilled(); pause(t.Context(), 5*time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("never saw that %s", what)
		}
	}
}
