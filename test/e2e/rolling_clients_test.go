//go:build integration

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// A rolling is every kind of client at once.
type rolling struct {
	strain
	lasting []*lasting
	end     context.CancelFunc
	ended   sync.WaitGroup
}

func beginRolling(t *testing.T) *rolling {
	t.Helper()
	url := "http://" + ingress + "/"
	s := &rolling{}
	s.add(t, "keep-alive POST", 150, "--connections", "30", "--method", "POST", "--body", "1KB", url)
	s.add(t, "fresh connections", 150, "--keepalive=false", "--source", "127.9.0.0/24", url)
	s.add(t, "HTTP/2 POST", 150, "--http2", "--connections", "6", "--method", "POST", "--body", "20KB", url)
	// A StreamingOutputCallRequest with 5 bytes of payload, each as the message before has come back.
	s.add(t, "gRPC bidi for half a second", 20, "--grpc", "grpc.testing.TestService/FullDuplexCall", "--messages", "5",
		"--every", "100ms", "--data", "\x1a\x07\x12\x05hello", "--connections", "4", "http://"+ingress)
	ctx, cancel := context.WithCancel(t.Context())
	s.end = cancel
	for _, kind := range []struct {
		name string
		live func(context.Context, *lasting) end
	}{
		{"gRPC bidi that lasts", bidiForLong},
		{"WebSocket that lasts", socketForLong},
	} {
		c := &lasting{name: kind.name}
		s.lasting = append(s.lasting, c)
		for range rollingLasting {
			s.ended.Go(func() {
				for ctx.Err() == nil {
					c.count(kind.live(ctx, c))
				}
			})
		}
	}
	t.Cleanup(func() { // where the test gave up
		s.end()
		s.ended.Wait()
	})
	return s
}

// stop ends all clients; those with something that lasts end it in order.
func (s *rolling) stop(t *testing.T) (sent, missed uint64, how string) {
	t.Helper()
	s.end()
	s.ended.Wait()
	sent, missed, how = s.strain.stop(t)
	lines := []string{how}
	for _, c := range s.lasting {
		sent, missed = sent+c.begun, missed+uint64(len(c.lost))
		lines = append(lines, c.String())
		if c.messages == 0 {
			t.Errorf("%s: no message came back", c.name)
		}
	}
	return sent, missed, strings.Join(lines, "\n")
}

// A lasting is what became of the streams of those who keep one open, and open another when it ends.
type lasting struct {
	name string

	mu                            sync.Mutex
	begun, told, closed, messages uint64
	lost                          []string
}

// An end is how a stream ended.
type end struct {
	told   bool   // the gateway said that it leaves
	closed bool   // we did, and the endpoint agreed
	lost   string // anything else, and what
}

func (c *lasting) count(e end) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
	switch {
	case e.lost != "":
		c.lost = append(c.lost, e.lost)
	case e.told:
		c.told++
	case e.closed:
		c.closed++
	}
}

func (c *lasting) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages++
}

func (c *lasting) String() string {
	return fmt.Sprintf("%s: %d begun, %d told, %d closed, %d lost %.300q; %d messages", c.name, c.begun, c.told, c.closed, len(c.lost), c.lost, c.messages)
}

// rollingBeat is the pause between two messages of what lasts.
const rollingBeat = 50 * time.Millisecond

// bidiForLong keeps a gRPC stream with messages open until ctx ends.
func bidiForLong(ctx context.Context, c *lasting) end {
	conn, err := grpc.NewClient("passthrough:///"+ingress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return end{lost: err.Error()}
	}
	defer conn.Close()
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), late)
	defer cancel()
	stream, err := testgrpc.NewTestServiceClient(conn).FullDuplexCall(call)
	if err != nil {
		return end{lost: "open: " + err.Error()}
	}
	beat := time.NewTicker(rollingBeat)
	defer beat.Stop()
	said := payload(100)
	for ctx.Err() == nil {
		if err := stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: said}); err == nil {
			back, err := stream.Recv()
			if err == nil && bytes.Equal(back.GetPayload().GetBody(), said.GetBody()) {
				c.answered()
				<-beat.C
				continue
			}
			return endOfCall(err)
		}
		_, err := stream.Recv() // which knows why
		return endOfCall(err)
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return endOfCall(err)
	}
	return end{closed: true}
}

// endOfCall tells trailers that say UNAVAILABLE from a connection that broke, of which grpc-go says the same: only of
// the latter it knows more than a peer's word.
func endOfCall(err error) end {
	s := status.Convert(err)
	if s.Code() == codes.Unavailable && strings.Contains(s.Message(), rollingWord) {
		return end{told: true}
	}
	return end{lost: fmt.Sprint(err)}
}

// rollingWord is in what a gateway that leaves says to a call.
const rollingWord = "leav"

// socketForLong keeps a WebSocket with messages open until ctx ends.
func socketForLong(ctx context.Context, c *lasting) end {
	nc, err := net.Dial("tcp", ingress)
	if err != nil {
		return end{lost: err.Error()}
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(late))
	s, err := shakeHands(nc)
	if err != nil {
		return end{lost: "handshake: " + err.Error()}
	}
	beat := time.NewTicker(rollingBeat)
	defer beat.Stop()
	said := []byte(strings.Repeat("hello ", 20))
	for ctx.Err() == nil {
		if err := s.say(opText, true, said); err != nil {
			return end{lost: "say: " + err.Error()}
		}
		f, err := s.hear()
		switch {
		case err != nil:
			return end{lost: "hear: " + err.Error()}
		case f.op == opClose && f.code() == closeAway:
			_ = s.say(opClose, true, f.payload)
			return end{told: true}
		case f.op != opText || !bytes.Equal(f.payload, said):
			return end{lost: "heard " + f.String()}
		}
		c.answered()
		<-beat.C
	}
	if err := s.close(closeNormal, "over"); err != nil {
		return end{lost: "close: " + err.Error()}
	}
	f, err := s.hear()
	switch {
	case err != nil || f.op != opClose:
		return end{lost: fmt.Sprintf("closed, and heard %v, %v", f, err)}
	case f.code() == closeAway:
		return end{told: true}
	}
	return end{closed: true}
}

// closeAway is what who leaves says, by RFC 6455 section 7.4.1.
const closeAway = 1001

// shakeHands makes the handshake of RFC 6455 section 4.1 on a connection.
func shakeHands(nc net.Conn) (*websocket, error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it does not fail
	key := base64.StdEncoding.EncodeToString(nonce[:])
	_, err := fmt.Fprintf(nc, "GET /ws HTTP/1.1\r\nHost: front\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", key)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(nc)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Sec-Websocket-Accept") != accepts(key) {
		return nil, fmt.Errorf("answered with %s", answer.Status)
	}
	return &websocket{duplex: overTCP{nc}, in: in, client: true}, nil
}
