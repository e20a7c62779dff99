package http2

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	frame "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"crossfade.dev/internal/http1"
)

// A wire is the other end of a connection: it says frames, well-formed or not, and hears frames as lines of text.
type wire struct {
	t      *testing.T
	nc     net.Conn
	framer *frame.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
	mu     sync.Mutex
	heard  []string
	closed bool
}

// newWire must be called in a bubble.
func newWire(t *testing.T, nc net.Conn) *wire {
	t.Helper()
	w := &wire{t: t, nc: nc, framer: frame.NewFramer(nc, nc)}
	w.framer.AllowIllegalWrites = true
	w.enc = hpack.NewEncoder(&w.block)
	return w
}

func (w *wire) listen() {
	dec := hpack.NewDecoder(4096, nil)
	var line string
	var block []byte
	for {
		f, err := w.framer.ReadFrame()
		if err != nil {
			w.mu.Lock()
			w.closed = true
			w.mu.Unlock()
			return
		}
		var ended bool
		switch f := f.(type) {
		case *frame.HeadersFrame:
			line, block, ended = fmt.Sprintf("HEADERS %d", f.StreamID), append([]byte(nil), f.HeaderBlockFragment()...), f.HeadersEnded()
			if f.StreamEnded() {
				line += " end"
			}
		case *frame.ContinuationFrame:
			line += "+"
			block, ended = append(block, f.HeaderBlockFragment()...), f.HeadersEnded()
		default:
			w.note(show(f))
			continue
		}
		if ended {
			fields, err := dec.DecodeFull(block)
			if err != nil {
				w.note("BAD HPACK " + err.Error())
			}
			words := []string{line}
			for _, f := range fields {
				words = append(words, f.Name+"="+f.Value)
			}
			w.note(strings.Join(words, " "))
		}
	}
}

func show(f frame.Frame) string {
	h := f.Header()
	switch f := f.(type) {
	case *frame.DataFrame:
		end := ""
		if f.StreamEnded() {
			end = " end"
		}
		if len(f.Data()) > 40 {
			return fmt.Sprintf("DATA %d%s %d bytes", h.StreamID, end, len(f.Data()))
		}
		return fmt.Sprintf("DATA %d%s %q", h.StreamID, end, f.Data())
	case *frame.SettingsFrame:
		if f.IsAck() {
			return "SETTINGS ack"
		}
		return "SETTINGS"
	case *frame.PingFrame:
		return fmt.Sprintf("PING ack=%v", f.IsAck())
	case *frame.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, f.ErrCode)
	case *frame.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %v", h.StreamID, f.ErrCode)
	case *frame.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d %d", h.StreamID, f.Increment)
	default:
		return h.String()
	}
}

func (w *wire) note(line string) {
	w.mu.Lock()
	w.heard = append(w.heard, line)
	w.mu.Unlock()
}

// take returns what was heard since the last call, once everybody is quiet.
func (w *wire) take() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		w.heard = append(w.heard, "closed")
		w.closed = false
	}
	heard := w.heard
	w.heard = nil
	return heard
}

func (w *wire) want(lines ...string) {
	w.t.Helper()
	got := w.take()
	if len(got) == 0 && len(lines) == 0 {
		return
	}
	if diff := cmp.Diff(lines, got); diff != "" {
		w.t.Errorf("heard (-want +got):\n%s", diff)
	}
}

// encode compresses "name=value" pairs.
func (w *wire) encode(fields ...string) []byte {
	w.block.Reset()
	for _, f := range fields {
		i := strings.IndexByte(f[1:], '=') + 1
		_ = w.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: f[i+1:]})
	}
	return slices.Clone(w.block.Bytes())
}

func (w *wire) headers(id uint32, end bool, fields ...string) {
	_ = w.framer.WriteHeaders(frame.HeadersFrameParam{StreamID: id, BlockFragment: w.encode(fields...), EndStream: end, EndHeaders: true})
}

func (w *wire) get(id uint32, more ...string) { w.headers(id, true, with(getFields, more...)...) }

func (w *wire) post(id uint32, more ...string) { w.headers(id, false, with(postFields, more...)...) }

var (
	getFields  = []string{":method=GET", ":scheme=https", ":path=/", ":authority=a.example"}
	postFields = []string{":method=POST", ":scheme=https", ":path=/", ":authority=a.example"}
)

func with(fields []string, more ...string) []string { return append(slices.Clone(fields), more...) }

// A site is a server with the wire that speaks to it.
type site struct {
	*wire
	server *Server
	stats  *Stats
	ended  chan error
}

// inBubble runs story against a server whose handler is handle; nil answers 200 when the request is whole.
func inBubble(t *testing.T, o Options, handle func(*Stream), story func(*site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := &site{wire: newWire(t, theirs), stats: new(Stats), ended: make(chan error, 1)}
		o.Stats = s.stats
		s.server = NewServer(ours, nil, &o)
		if handle == nil {
			handle = sink
		}
		go func() { s.ended <- s.server.Serve(handle) }()
		go s.listen()
		story(s)
		theirs.Close()
		s.server.Close()
		<-s.ended
	})
}

// greet exchanges prefaces.
func (s *site) greet(settings ...frame.Setting) *site {
	_, _ = s.nc.Write([]byte(Preface))
	_ = s.framer.WriteSettings(settings...)
	_ = s.framer.WriteSettingsAck()
	s.take()
	return s
}

// sink answers 200 once it has read the request.
func sink(s *Stream) {
	buf := make([]byte, 4<<10)
	for {
		if _, err := s.ReadBody(buf); err != nil {
			break
		}
	}
	_ = s.WriteHead(&Head{Status: 200}, true)
}

func fieldsOf(pairs ...string) (fields []http1.Field) {
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, http1.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return fields
}

// pipe returns the two ends of a connection, which the bubble's end closes.
func pipe(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ours, theirs = net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// lie does nothing until its stream is gone.
func lie(s *Stream) {
	gone := make(chan struct{})
	s.OnGone(func() { close(gone) })
	<-gone
}
