package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEachLossIsCountedOnceUnderItsName(t *testing.T) {
	const length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
	for _, c := range []struct {
		name string
		deed deed
		want Losses
	}{
		{"a whole answer", answering(okAnswer), Losses{}},
		{"a whole answer after interim ones", answering("HTTP/1.1 103 Early Hints\r\n\r\n" + okAnswer), Losses{}},
		{"a whole answer that ends with its connection", cutting("HTTP/1.1 200 OK\r\n\r\nall"), Losses{}},
		{"a whole answer, then a reset", resetting(okAnswer), Losses{}},
		{"reset before the answer", resetting(""), Losses{Reset: 1}},
		{"closed before the answer", cutting(""), Losses{EOF: 1}},
		{"closed after an interim answer", cutting("HTTP/1.1 100 Continue\r\n\r\n"), Losses{EOF: 1}},
		{"closed within the first line", cutting("HTT"), Losses{Cut: 1}},
		{"closed within the head", cutting("HTTP/1.1 200 OK\r\nContent-Le"), Losses{Cut: 1}},
		{"closed within a counted body", cutting(length + "12345"), Losses{Cut: 1}},
		{"closed before a counted body", cutting(length), Losses{Cut: 1}},
		{"reset within a counted body", resetting(length + "12345"), Losses{Cut: 1}},
		{"closed within chunks", cutting("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsick\r\n"), Losses{Cut: 1}},
		{"closed within an error's body", cutting("HTTP/1.1 500 Oh\r\nContent-Length: 10\r\n\r\n12345"), Losses{Cut: 1}},
		{"no answer in time", hanging, Losses{Timeout: 1}},
		{"half an answer in time", func(conn net.Conn) bool {
			_, _ = io.WriteString(conn, length+"12345")
			return hanging(conn)
		}, Losses{Timeout: 1}},
		{"an error", answering(errorAnswer), Losses{ServerError: 1}},
		{"not HTTP", cutting("SSH-2.0-OpenSSH\r\n"), Losses{Other: 1}},
		{"broken chunks", cutting("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), Losses{Other: 1}},
		{"more than announced", answering(okAnswer + "and more"), Losses{Other: 1}},
		{"a switch of protocols", answering("HTTP/1.1 101 Switching Protocols\r\n\r\n"), Losses{Other: 1}},
		{"an endless head", answering("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 2<<20)), Losses{Other: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plan := Plan{URLs: []string{listen(t, inTurn(c.deed))}, Requests: 1, Connections: 1}
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
			if got := len(report.OtherDetails); got != int(c.want.Other) {
				t.Errorf("got %d details of other losses, want %d: %v", got, c.want.Other, report.OtherDetails)
			}
		})
	}
}

func TestNobodyListening(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Plan{URLs: []string{url}, Requests: 7})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Losses{Refused: 7}); report.Lost != want {
		t.Errorf("got %+v, want %+v", report.Lost, want)
	}
}

// A server that closes a connection between two requests has taken nothing from anybody.
func TestConnectionClosedWhileIdleIsReplacedAndCostsNothing(t *testing.T) {
	closed := make(chan struct{})
	url := listen(t, inTurn(func(conn net.Conn) bool {
		_, _ = io.WriteString(conn, okAnswer)
		_ = conn.Close()
		close(closed)
		return false
	}, answering(okAnswer)))
	plan := Plan{URLs: []string{url}, Requests: 2}
	plan.fillIn()
	requests, err := compose(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	books := newAccount()
	l := newLink(&plan, books)
	defer l.close()
	for i := range 2 {
		got := l.exchange(t.Context(), &requests[0], time.Now().Add(plan.Timeout))
		if got.outcome != OK {
			t.Errorf("request %d: got %v, want ok", i, got.outcome)
		}
		<-closed
	}
	if books.totals.Connects != 2 || books.totals.IdleClosed != 1 {
		t.Errorf("got %d connections and %d closed idle, want 2 and 1", books.totals.Connects, books.totals.IdleClosed)
	}
}

// A server may answer before it has read a large request, and hang up on the rest: the answer counts, and the
// connection is not used again.
func TestEarlyAnswerToALargeRequest(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer listener.Close()
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
			_ = conn.Close()
		}
	})
	report, err := Run(t.Context(), Plan{
		URLs: []string{"http://" + listener.Addr().String()}, Requests: 3, Connections: 1, Body: make([]byte, 16<<20),
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.OK != 3 || report.Statuses[413] != 3 || report.Connects != 3 || report.IdleClosed != 0 {
		t.Errorf("got %d ok, statuses %v, losses %+v, %d connections, %d closed idle; want three 413 on three",
			report.OK, report.Statuses, report.Lost, report.Connects, report.IdleClosed)
	}
}

// A server that misbehaves at random knows what it did; the report must say the same.
func TestConservationWithAMisbehavingServer(t *testing.T) {
	var (
		mu   sync.Mutex
		rng  = rand.New(rand.NewPCG(7, 7))
		want Losses
		ok   uint64
	)
	deeds := []struct {
		deed  deed
		count *uint64
	}{
		{answering(okAnswer), &ok},
		{answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), &ok},
		{cutting("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), &ok},
		{answering(errorAnswer), &want.ServerError},
		{cutting(""), &want.EOF},
		{resetting(""), &want.Reset},
		{cutting(okAnswer[:len(okAnswer)-1]), &want.Cut},
		{resetting(okAnswer[:20]), &want.Cut},
		{cutting("what?\r\n\r\n"), &want.Other},
	}
	script := func() deed {
		mu.Lock()
		defer mu.Unlock()
		chosen := deeds[rng.IntN(len(deeds))]
		*chosen.count++
		return chosen.deed
	}
	for _, open := range []bool{false, true} {
		for _, noKeepAlive := range []bool{false, true} {
			t.Run(fmt.Sprintf("open %t, keepalive %t", open, !noKeepAlive), func(t *testing.T) {
				want, ok = Losses{}, 0
				plan := Plan{URLs: []string{listen(t, script)}, Requests: 2000, Connections: 8, NoKeepAlive: noKeepAlive}
				if open {
					plan.Rate = 20_000
				}
				report, err := Run(t.Context(), plan)
				if err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if report.Sent != 2000 || report.OK != ok {
					t.Errorf("got %d sent, %d ok; want 2000, %d", report.Sent, report.OK, ok)
				}
				if diff := cmp.Diff(want, report.Lost); diff != "" {
					t.Errorf("losses (-server +client):\n%s", diff)
				}
			})
		}
	}
}

func TestClassifyKnowsWrappedErrors(t *testing.T) {
	odd := errors.New("odd")
	for _, begun := range []bool{false, true} {
		if got := classify(fmt.Errorf("read: %w", odd), begun); got != Other {
			t.Errorf("begun %t: got %v, want other", begun, got)
		}
	}
}
