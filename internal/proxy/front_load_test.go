package proxy

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// Every answer of the application says how loaded and how warm it is, where that is ordered.
func TestFrontReports(t *testing.T) {
	for _, version := range versions {
		t.Run(version.String(), func(t *testing.T) {
			f := &Front{}
			w := fronted(t, f, echo)
			c := w.client(version)
			if a, _ := ask(t, c, w.from("GET", "/", nil)); a.Header.Get(FieldLoad) != "" {
				t.Errorf("got %q, though nobody has ordered it", a.Header.Get(FieldLoad))
			}
			wantSeen(t, f, Seen{Total: 1, Foreign: 1}) // it has ended
			f.Order(Orders{Incarnation: "r-1", Report: true, Limit: 4, Warm: 0.25, Born: time.Now().Add(-time.Minute), CPU: 0.5})
			a, _ := ask(t, c, w.from("GET", "/", nil))
			all := a.Header.Values(FieldLoad)
			if len(all) != 1 {
				t.Fatalf("got %q, want one report", all)
			}
			l, err := evidence.ParseLoadHeader([]byte(all[0]))
			if err != nil {
				t.Fatal(err)
			}
			if l.Application != 0.25 || l.CPU != 0.5 {
				t.Errorf("got a utilisation of %v, and of %v of processors, want 1 of 4, and 0.5", l.Application, l.CPU)
			}
			for name, want := range map[string]float64{evidence.WarmBoot: evidence.BootID("r-1"), evidence.WarmShare: 0.25, evidence.WarmCount: 1, evidence.WarmErrors: 0} {
				if got, has := l.Metric(name); !has || got != want {
					t.Errorf("%s: got %v, %t, want %v", name, got, has, want)
				}
			}
			if age, _ := l.Metric(evidence.WarmAge); age < 60 || age > 90 {
				t.Errorf("got an age of %v s, want a minute", age)
			}
		})
	}
}

// An application that reports on itself knows better.
func TestFrontLeavesReportsAlone(t *testing.T) {
	f := &Front{}
	f.Order(Orders{Report: true})
	w := fronted(t, f, func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set(FieldLoad, "TEXT cpu_utilization=0.7") })
	for _, version := range versions {
		a, _ := ask(t, w.client(version), w.from("GET", "/", nil))
		if got := fmt.Sprint(a.Header.Values(FieldLoad)); got != "[TEXT cpu_utilization=0.7]" {
			t.Errorf("%s: got %s, want the application's", version, got)
		}
	}
}

// Calls of gRPC say so in their trailers, also where those stand in the head.
func TestFrontReportsInCalls(t *testing.T) {
	for name, tt := range map[string]struct {
		alone bool
		own   string
	}{
		"with an answer": {}, "without": {alone: true}, "and the application's own": {own: "QAE"}, "likewise, without": {alone: true, own: "QAE"},
	} {
		t.Run(name, func(t *testing.T) {
			end := []http1.Field{{Name: []byte("grpc-status"), Value: []byte("0")}}
			if tt.own != "" {
				end = append(end, http1.Field{Name: []byte(FieldLoadBin), Value: []byte(tt.own)})
			}
			f := &Front{}
			f.Order(Orders{Incarnation: "r-1", Report: true, Warm: 0.5})
			w := frontedAt(t, f, serveStreams(t, func(s *http2.Stream) {
				_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
				if tt.alone {
					_ = s.WriteHead(&http2.Head{Status: 200, Fields: append(call("/").Fields[:1], end...)}, true)
					return
				}
				_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1]}, false)
				_, _ = s.WriteBody([]byte("\x00\x00\x00\x00\x00"), false)
				_ = s.WriteTrailers(end)
			}))
			s, err := w.dialStreams().Open(call("/a.B/C"), true)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			a, err := s.ReadHead()
			if err != nil {
				t.Fatal(err)
			}
			if _, has := http1.Lookup(a.Fields, FieldLoad); has {
				t.Error("a call's head has a report that no client of gRPC looks for")
			}
			got := a.Fields
			if !tt.alone {
				if _, err := io.Copy(io.Discard, http2.Pipe{Stream: s}); err != nil {
					t.Fatal(err)
				}
				got = s.Trailers()
			}
			var reports []string
			for i := range got {
				if http1.EqualFold(got[i].Name, FieldLoadBin) {
					reports = append(reports, string(got[i].Value))
				}
			}
			if tt.own != "" {
				if len(reports) != 1 || reports[0] != tt.own {
					t.Errorf("got %q, want the application's own", reports)
				}
				return
			}
			if len(reports) != 1 {
				t.Fatalf("got %q, want one report", reports)
			}
			l, err := evidence.ParseLoadTrailer([]byte(reports[0]))
			if share, _ := l.Metric(evidence.WarmShare); err != nil || share != 0.5 {
				t.Errorf("got %+v, %v, want the share 0.5", l, err)
			}
			if status, _ := http1.Lookup(got, "grpc-status"); string(status) != "0" {
				t.Errorf("got the status %q, want 0", status)
			}
		})
	}
}

// What is reported is what was measured: rates, the part that failed, and the mean and variance of the logarithm of service
// times. It is written at most ten times a second, and forgets.
func TestFrontMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Front
		f.began = time.Now()
		f.Order(Orders{Incarnation: "r-1", Report: true, Born: time.Now()})
		o := f.orders.Load()
		const each = 10 * time.Millisecond
		for i := range 6000 { // a minute of 100 requests per second: one in ten fails, half of the others take e times as long
			time.Sleep(each)
			switch {
			case i%10 == 0:
				f.gauge.note(503, time.Hour)
			case i%2 == 0:
				f.gauge.note(200, time.Second)
			default:
				f.gauge.note(200, time.Duration(math.Round(math.E*1e9)))
			}
			f.load(o, time.Now())
		}
		read := func() evidence.Load {
			l, err := evidence.ParseLoadHeader(f.load(f.orders.Load(), time.Now()).header)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		near := func(l evidence.Load, name string, want, within float64) {
			got, has := l.Metric(name)
			switch name {
			case "rps":
				got, has = l.Requests, true
			case "eps":
				got, has = l.Errors, true
			}
			if !has || math.Abs(got-want) > within*math.Max(1, math.Abs(want)) {
				t.Errorf("%s: got %v, %t, want %v", name, got, has, want)
			}
		}
		time.Sleep(reportEvery)
		l := read()
		const seconds = 5 // of memory
		near(l, "rps", 100, 0.03)
		near(l, "eps", 10, 0.05)
		near(l, evidence.WarmErrors, 0.1, 0.01)
		near(l, evidence.WarmCount, 90*seconds, 0.03)
		near(l, evidence.WarmMean, 5.0/9, 0.02)
		near(l, evidence.WarmVariance, 5.0/9*4/9, 0.02)
		near(l, evidence.WarmAge, 60.1, 0.01)
		first := f.load(o, time.Now())
		time.Sleep(reportEvery - 1)
		if f.load(o, time.Now()) != first {
			t.Error("a report is written anew before its time")
		}
		time.Sleep(time.Minute)
		near(read(), "rps", 0, 0.01)
		near(read(), evidence.WarmCount, 0, 0.01)
		f.Order(Orders{Incarnation: "r-1", Report: true, Warm: 1}) // is reported at once
		near(read(), evidence.WarmShare, 1, 0)
	})
}

// Service times are without what was waited for in the line.
func TestFrontReportsWithoutTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Front{}
		f.Order(Orders{Report: true, Limit: 1, MaxWait: time.Hour})
		const took = 2 * time.Second
		_, c, r := bubble(t, Options{Front: f}, func(c net.Conn, r *bufio.Reader) {
			for {
				if _, err := readHead(r); err != nil {
					return
				}
				time.Sleep(took)
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		give := f.holdOne(t)
		began := time.Now()
		time.AfterFunc(time.Minute, give)
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: app\r\n\r\n")
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != time.Minute+took {
			t.Errorf("it took %v, want a minute more than %v", waited, took)
		}
		l, err := evidence.ParseLoadHeader([]byte(a.Header.Get(FieldLoad)))
		if mean, has := l.Metric(evidence.WarmMean); err != nil || !has || math.Abs(math.Exp(mean)-took.Seconds()) > 0.001 {
			t.Errorf("got a mean of e^%v s, %t, %v, want %v", mean, has, err, took)
		}
	})
}

func TestBrief(t *testing.T) {
	for v, want := range map[float64]float64{
		0: 0, 1: 1, 0.5970396642: 0.59704, -3.7159441: -3.71594, 123456789: 123457000, 1e-9: 1e-9, 1e300: 1e300, math.SmallestNonzeroFloat64: math.SmallestNonzeroFloat64,
	} {
		if got := brief(v); math.Abs(got-want) > math.Abs(want)*1e-12 {
			t.Errorf("got %v of %v, want %v", got, v, want)
		}
	}
}
