package http2

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	frame "golang.org/x/net/http2"
)

// Each flood ends its connection with ENHANCE_YOUR_CALM, and is counted.
func TestFloods(t *testing.T) {
	answer := func(s *Stream) { _ = s.WriteHead(&Head{Status: 200}, true) }
	id := func(i int) uint32 { return uint32(2*i + 1) }
	cases := []struct {
		flood  Flood
		name   string
		handle func(*Stream)
		say    func(s *site, i int) error
	}{
		{RapidReset, "rapid reset", lie, func(s *site, i int) error {
			s.get(id(i))
			return s.framer.WriteRSTStream(id(i), Cancel)
		}},
		{RapidReset, "resets that we are made to send", lie, func(s *site, i int) error {
			s.get(id(i))
			return s.framer.WriteRawFrame(frame.FrameWindowUpdate, 0, id(i), make([]byte, 4))
		}},
		{RapidReset, "malformed requests", lie, func(s *site, i int) error {
			s.get(id(i), "Bad=1")
			return s.framer.WritePing(true, [8]byte{})
		}},
		{RapidReset, "requests beyond the bound", lie, func(s *site, i int) error {
			s.get(id(i))
			return s.framer.WritePing(true, [8]byte{})
		}},
		{EmptyFlood, "empty DATA on closed streams", answer, func(s *site, i int) error {
			if i%10 == 0 {
				s.get(id(i))
			}
			return s.framer.WriteData(id(i/10*10), true, nil)
		}},
		{SettingsFlood, "SETTINGS", nil, func(s *site, _ int) error { return s.framer.WriteSettings() }},
		{PingFlood, "PING", nil, func(s *site, _ int) error { return s.framer.WritePing(false, [8]byte{}) }},
		{PriorityFlood, "PRIORITY", nil, func(s *site, _ int) error {
			return s.framer.WritePriority(1, frame.PriorityParam{StreamDep: 3})
		}},
		{PriorityFlood, "unknown frames", nil, func(s *site, _ int) error { return s.framer.WriteRawFrame(0x99, 0, 0, nil) }},
		{WindowFlood, "WINDOW_UPDATE", nil, func(s *site, _ int) error { return s.framer.WriteWindowUpdate(0, 1) }},
		{EmptyFlood, "empty DATA", nil, func(s *site, i int) error {
			if i == 0 {
				s.post(1)
			}
			return s.framer.WriteData(1, false, nil)
		}},
		{ContinuationFlood, "CONTINUATION", nil, func(s *site, i int) error {
			if i == 0 {
				_ = s.framer.WriteRawFrame(frame.FrameHeaders, 0, 1, s.encode(getFields...))
			}
			return s.framer.WriteContinuation(1, false, s.encode(fmt.Sprintf("x-%d=1", i)))
		}},
	}
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			inBubble(t, Options{}, c.handle, func(s *site) {
				s.greet()
				said := 0
				for said < 20_000 && c.say(s, said) == nil {
					said++
				}
				heard := s.take()
				if said == 20_000 {
					t.Errorf("said %d and was never cut", said)
					return
				}
				if n := len(heard); n < 2 || !strings.HasSuffix(heard[n-2], "ENHANCE_YOUR_CALM") {
					t.Errorf("heard %q at last, want ENHANCE_YOUR_CALM", heard[max(0, n-3):])
				}
				err := <-s.ended
				s.ended <- nil
				if !errors.As(err, new(*ConnError)) || s.stats.Floods[c.flood].Load() != 1 {
					t.Errorf("got %v and %d floods of %v, want 1", err, s.stats.Floods[c.flood].Load(), c.flood)
				}
			})
		})
	}
}

// What a lively, honest peer does is no flood, however long it does it.
func TestLivelyPeersAreNoFlood(t *testing.T) {
	inBubble(t, Options{}, nil, func(s *site) {
		s.greet()
		id := uint32(1)
		for range 20_000 { // as a gRPC client does that pings once a round trip
			s.post(id)
			_ = s.framer.WriteData(id, true, []byte("message"))
			_ = s.framer.WritePing(false, [8]byte{})
			_ = s.framer.WriteWindowUpdate(0, 1)
			_ = s.framer.WriteWindowUpdate(0, 1)
			id += 2
			if id%101 == 0 {
				s.take()
			}
		}
		for range 3_000 { // and one that gives up every twentieth call, and waits in between
			s.get(id)
			if id%40 == 1 {
				_ = s.framer.WriteRSTStream(id, Cancel)
				time.Sleep(10 * time.Millisecond)
			}
			id += 2
		}
		if heard := s.take(); slices.Contains(heard, "closed") {
			t.Errorf("heard %q at last", heard[len(heard)-2:])
		}
	})
}

// A peer that has us answer and does not read the answers is cut before they fill our memory, however useful the rest
// of what it sends.
func TestAnswersThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := pipe(t)
		stats := new(Stats)
		server := NewServer(ours, nil, &Options{Stats: stats})
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(sink) }()
		w := newWire(t, theirs)
		_, _ = theirs.Write([]byte(Preface))
		_ = w.framer.WriteSettings()
		_ = w.framer.WriteSettingsAck()
		w.post(1)
		said := 0
		for said < 10_000 && w.framer.WriteData(1, false, []byte("x")) == nil && w.framer.WritePing(false, [8]byte{}) == nil {
			said++
		}
		if err := <-ended; !errors.As(err, new(*ConnError)) || said < maxOwed || said > 2*maxOwed || stats.Floods[AnswerFlood].Load() != 1 {
			t.Errorf("got %v after %d answers, want a flood of %d", err, said, maxOwed)
		}
	})
}

func TestBudgetsLeak(t *testing.T) {
	b := &bucket{}
	for i := range 1000 { // what is slow is never too much
		if b.spend(&budgetTable[SettingsFlood], time.Unix(int64(i), 0), 0) {
			t.Fatal("one a second is too much")
		}
	}
}

func TestHeadTooLarge(t *testing.T) {
	inBubble(t, Options{MaxHead: 4 << 10}, nil, func(s *site) {
		s.greet()
		s.get(1, "x="+strings.Repeat("a", 3000), "y="+strings.Repeat("b", 3000))
		s.want("HEADERS 1 end :status=431 content-length=0")
		s.post(3, "x="+strings.Repeat("a", 3000), "y="+strings.Repeat("b", 3000))
		s.want("HEADERS 3 end :status=431 content-length=0", "RST_STREAM 3 NO_ERROR")
		s.get(5)
		s.want("HEADERS 5" + ok200)
		if got := s.stats.HeadTooLarge.Load(); got != 2 {
			t.Errorf("got %d, want 2", got)
		}
		s.get(7, "x="+strings.Repeat("a", 5000))
		s.want("GOAWAY 7 ENHANCE_YOUR_CALM", "closed")
	})
}

// A few bytes that name a large entry of the table again and again are not made into a large head.
func TestCompressionBomb(t *testing.T) {
	inBubble(t, Options{}, nil, func(s *site) {
		s.greet()
		large := "x=" + strings.Repeat("a", 4000)
		s.get(1, large)
		block := s.encode(append(slices.Clone(getFields), large)...)
		for range 10_000 {
			block = append(block, 0x80|62)
		}
		_ = s.framer.WriteHeaders(frame.HeadersFrameParam{StreamID: 3, BlockFragment: block, EndStream: true, EndHeaders: true})
		s.want("HEADERS 1"+ok200, "HEADERS 3 end :status=431 content-length=0")
		if got := cap(s.server.parser.text); got > 256<<10 {
			t.Errorf("the parser holds %d bytes", got)
		}
	})
}
