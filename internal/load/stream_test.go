package load

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"pgregory.net/rapid"
)

func TestEachLossOfAStreamIsCountedOnceUnderItsName(t *testing.T) {
	ends := func(id uint32, p *peer, fields ...string) bool {
		p.head(id, true, fields...)
		return true
	}
	for _, c := range []struct {
		name string
		turn turn
		want Losses
	}{
		{"a whole answer", answers, Losses{}},
		{"a whole answer after interim ones", func(p *peer, id uint32) bool {
			p.head(id, false, ":status", "103")
			return answers(p, id)
		}, Losses{}},
		{"a whole answer with trailers", func(p *peer, id uint32) bool {
			p.head(id, false, ":status", "200", "content-length", "2")
			p.data(id, false, "ok")
			return ends(id, p, "x-sum", "1")
		}, Losses{}},
		{"a whole answer before GOAWAY", func(p *peer, id uint32) bool {
			p.goAway(id)
			return answers(p, id)
		}, Losses{}},
		{"GOAWAY in two steps", func(p *peer, id uint32) bool {
			p.goAway(1<<31 - 1)
			p.goAway(id)
			return answers(p, id)
		}, Losses{}},
		{"a whole answer and then the end", func(p *peer, id uint32) bool { return !answers(p, id) }, Losses{}},
		{"an error", func(p *peer, id uint32) bool { return ends(id, p, ":status", "503") }, Losses{ServerError: 1}},
		{"refused", func(p *peer, id uint32) bool { p.reset(id, http2.ErrCodeRefusedStream); return true }, Losses{Rejected: 1}},
		{"reset", func(p *peer, id uint32) bool { p.reset(id, http2.ErrCodeInternal); return true }, Losses{StreamReset: 1}},
		{"reset within the answer", func(p *peer, id uint32) bool {
			p.head(id, false, ":status", "200")
			p.reset(id, http2.ErrCodeCancel)
			return true
		}, Losses{StreamReset: 1}},
		{"not taken", func(p *peer, id uint32) bool { p.goAway(id - 1); return false }, Losses{Unprocessed: 1}},
		{"taken, and the connection closed", func(p *peer, id uint32) bool { p.goAway(id); return false }, Losses{EOF: 1}},
		{"closed before the answer", func(*peer, uint32) bool { return false }, Losses{EOF: 1}},
		{"closed within the answer", func(p *peer, id uint32) bool { p.head(id, false, ":status", "200"); return false }, Losses{Cut: 1}},
		{"closed after an interim answer", func(p *peer, id uint32) bool { p.head(id, false, ":status", "100"); return false }, Losses{EOF: 1}},
		{"reset connection", func(p *peer, _ uint32) bool {
			_ = p.nc.(*net.TCPConn).SetLinger(0)
			return false
		}, Losses{Reset: 1}},
		{"reset connection within the answer", func(p *peer, id uint32) bool {
			p.head(id, false, ":status", "200")
			_ = p.nc.(*net.TCPConn).SetLinger(0)
			return false
		}, Losses{Cut: 1}},
		{"no answer in time", func(*peer, uint32) bool { return true }, Losses{Timeout: 1}},
		{"half an answer in time", func(p *peer, id uint32) bool { p.head(id, false, ":status", "200"); return true }, Losses{Timeout: 1}},
		{"a body without a head", func(p *peer, id uint32) bool { p.data(id, true, "ok"); return true }, Losses{Other: 1}},
		{"shorter than announced", func(p *peer, id uint32) bool {
			p.head(id, false, ":status", "200", "content-length", "3")
			p.data(id, true, "ok")
			return true
		}, Losses{Other: 1}},
		{"no status", func(p *peer, id uint32) bool { return ends(id, p, "x", "y") }, Losses{Other: 1}},
		{"a switch of protocols", func(p *peer, id uint32) bool { return ends(id, p, ":status", "101") }, Losses{Other: 1}},
		{"an interim answer that ends it", func(p *peer, id uint32) bool { return ends(id, p, ":status", "103") }, Losses{Other: 1}},
		{"a field of HTTP/1.1", func(p *peer, id uint32) bool { return ends(id, p, ":status", "200", "connection", "close") }, Losses{Other: 1}},
		{"a name in capitals", func(p *peer, id uint32) bool { return ends(id, p, ":status", "200", "X-Y", "z") }, Losses{Other: 1}},
		{"trailers in mid-answer", func(p *peer, id uint32) bool {
			p.head(id, false, ":status", "200")
			p.head(id, false, "x", "y")
			return true
		}, Losses{Other: 1}},
		{"an answer to nothing", func(p *peer, id uint32) bool { return ends(id+2, p, ":status", "200") }, Losses{Other: 1}},
		{"a promise", func(p *peer, id uint32) bool {
			_ = p.framer.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true})
			return true
		}, Losses{Other: 1}},
		{"an endless head", func(p *peer, id uint32) bool {
			p.block.Reset()
			_ = p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0, 1, 'a'}})
			for range 100 {
				_ = p.framer.WriteContinuation(id, false, make([]byte, 16<<10))
			}
			return true
		}, Losses{Other: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plan := Plan{URLs: []string{listenHTTP2(t, takesTurns(c.turn))}, Protocol: HTTP2, Requests: 1, Connections: 1}
			if c.want.Timeout > 0 {
				plan.Timeout = 50 * time.Millisecond
			}
			report, err := Run(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			if report.Sent != 1 || report.OK != 1-c.want.Total() {
				t.Errorf("got %d sent and %d ok, want 1 and %d", report.Sent, report.OK, 1-c.want.Total())
			}
			if diff := cmp.Diff(c.want, report.Lost); diff != "" {
				t.Errorf("losses (-want +got):\n%s%v", diff, report.OtherDetails)
			}
		})
	}
}

func TestServersThatDoNotSpeakHTTP2(t *testing.T) {
	for _, deed := range []deed{answering(okAnswer), cutting("SSH-2.0-OpenSSH\r\n")} {
		var saying sync.WaitGroup
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		saying.Go(func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_ = deed(conn)
			_, _ = io.Copy(io.Discard, conn)
		})
		report, err := Run(t.Context(), Plan{URLs: []string{"http://" + listener.Addr().String()}, Protocol: HTTP2, Requests: 1})
		_ = listener.Close()
		saying.Wait()
		if err != nil || report.Lost != (Losses{Other: 1}) {
			t.Errorf("got %+v, %v, want one loss of kind other", report, err)
		}
	}
}

// Whatever a server does with streams that share connections, what it knows to have done is what the report says.
func TestConservationOfStreams(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := Plan{
			Requests:    rapid.Uint64Range(1, 80).Draw(rt, "requests"),
			Connections: rapid.IntRange(1, 2).Draw(rt, "connections"),
			Streams:     rapid.IntRange(1, 6).Draw(rt, "streams"),
			Rate:        rapid.SampledFrom([]float64{0, 1, 50, 5000}).Draw(rt, "rate"),
			Timeout:     time.Second,
		}
		turns := rapid.SliceOfN(rapid.IntRange(0, 8), 1, 30).Draw(rt, "turns")
		report, did, err := runMisbehavingStreams(t, plan, turns)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(did.Lost, report.Lost); diff != "" || did.OK != report.OK || report.Sent != plan.Requests {
			rt.Fatalf("got %d sent, %d ok, want %d and %d; losses (-server +client):\n%s%v", report.Sent, report.OK, plan.Requests, did.OK, diff, report.OtherDetails)
		}
	})
}

// runMisbehavingStreams runs a plan on virtual time against a server that takes the numbered turns, and returns the
// report and the server's own counts.
func runMisbehavingStreams(t *testing.T, plan Plan, turns []int) (report *Report, did Report, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		n := 0
		report, err = Run(t.Context(), inBubbleHTTP2(plan, func() turn {
			mu.Lock()
			defer mu.Unlock()
			n++
			return misbehaving(&mu, &did, turns[n%len(turns)])
		}))
	})
	return report, did, err
}

// misbehaving returns a numbered turn that says in did what it does to its own stream. None of them ends the connection
// while others are on it: what that costs them is not the server's to know.
func misbehaving(mu *sync.Mutex, did *Report, number int) turn {
	counted := func(count *uint64, t func(p *peer, id uint32)) turn {
		return func(p *peer, id uint32) bool {
			mu.Lock()
			*count++
			mu.Unlock()
			t(p, id)
			return true
		}
	}
	switch number {
	case 0:
		return counted(&did.Lost.ServerError, func(p *peer, id uint32) { p.head(id, true, ":status", "500") })
	case 1:
		return counted(&did.Lost.Rejected, func(p *peer, id uint32) { p.reset(id, http2.ErrCodeRefusedStream) })
	case 2:
		return counted(&did.Lost.StreamReset, func(p *peer, id uint32) { p.reset(id, http2.ErrCodeNo) })
	case 3:
		return counted(&did.Lost.StreamReset, func(p *peer, id uint32) { p.head(id, false, ":status", "200"); p.reset(id, http2.ErrCodeCancel) })
	case 4:
		return counted(&did.Lost.Timeout, func(p *peer, id uint32) { p.head(id, false, ":status", "200") })
	case 5:
		return counted(&did.Lost.Other, func(p *peer, id uint32) { p.data(id, true, "ok") })
	case 6: // two steps, the second of which takes what has come
		return counted(&did.OK, func(p *peer, id uint32) { p.goAway(1<<31 - 1); answers(p, id) })
	default:
		return counted(&did.OK, func(p *peer, id uint32) { answers(p, id) })
	}
}
