package http2

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	frame "golang.org/x/net/http2"
)

const ok200 = " end :status=200"

func TestServerSpeaksFirstAndAnswers(t *testing.T) {
	inBubble(t, Options{}, nil, func(s *site) {
		s.want("SETTINGS", "WINDOW_UPDATE 0 983041")
		_, _ = s.nc.Write([]byte(Preface))
		_ = s.framer.WriteSettings()
		s.want("SETTINGS ack")
		s.get(1)
		s.want("HEADERS 1" + ok200)
		s.post(3)
		s.want()
		_ = s.framer.WriteData(3, true, []byte("hello"))
		s.want("HEADERS 3" + ok200)
		_ = s.framer.WritePing(false, [8]byte{1})
		s.want("PING ack=true")
	})
}

// Each case is said to a fresh server whose handler answers when the request is whole.
func TestFramesThatBreakARule(t *testing.T) {
	data := func(id uint32, end bool, n int) func(*site) {
		return func(s *site) { _ = s.framer.WriteData(id, end, make([]byte, n)) }
	}
	raw := func(ty frame.FrameType, flags frame.Flags, id uint32, p ...byte) func(*site) {
		return func(s *site) { _ = s.framer.WriteRawFrame(ty, flags, id, p) }
	}
	get := func(id uint32, more ...string) func(*site) { return func(s *site) { s.get(id, more...) } }
	post := func(id uint32, more ...string) func(*site) { return func(s *site) { s.post(id, more...) } }
	head := func(end bool, fields ...string) func(*site) { return func(s *site) { s.headers(1, end, fields...) } }
	setting := func(id frame.SettingID, v uint32) func(*site) {
		return func(s *site) { _ = s.framer.WriteSettings(frame.Setting{ID: id, Val: v}) }
	}
	settle := func(*site) { synctest.Wait() } // until it is answered
	type say []func(*site)
	goaway := func(last, code string) []string { return []string{"GOAWAY " + last + " " + code, "closed"} }
	rst := func(id, code string) []string { return []string{"RST_STREAM " + id + " " + code} }
	cases := []struct {
		name string
		say  say
		want []string
	}{
		// Section 4.
		{"frame too large", say{post(1), raw(frame.FrameData, 0, 1, make([]byte, frameSize+1)...)}, goaway("1", "FRAME_SIZE_ERROR")},
		{"block does not decode", say{raw(frame.FrameHeaders, 0x5, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)}, goaway("1", "COMPRESSION_ERROR")},
		{"block interrupted", say{raw(frame.FrameHeaders, 0x1, 1, 0x82), raw(frame.FramePing, 0, 0, make([]byte, 8)...)}, goaway("1", "PROTOCOL_ERROR")},
		{"block continued on another stream", say{raw(frame.FrameHeaders, 0x1, 1, 0x82), raw(frame.FrameContinuation, 4, 3, 0x86)}, goaway("1", "PROTOCOL_ERROR")},
		{"CONTINUATION alone", say{raw(frame.FrameContinuation, 4, 1, 0x82)}, goaway("0", "PROTOCOL_ERROR")},
		{"table size update too large", say{raw(frame.FrameHeaders, 0x5, 1, 0x3f, 0xe2, 0x1f)}, goaway("1", "COMPRESSION_ERROR")},
		// Section 5.1: states.
		{"DATA on idle", say{data(1, true, 1)}, goaway("0", "PROTOCOL_ERROR")},
		{"RST_STREAM on idle", say{raw(frame.FrameRSTStream, 0, 1, 0, 0, 0, 8)}, goaway("0", "PROTOCOL_ERROR")},
		{"WINDOW_UPDATE on idle", say{raw(frame.FrameWindowUpdate, 0, 1, 0, 0, 0, 8)}, goaway("0", "PROTOCOL_ERROR")},
		{"PRIORITY on idle", say{raw(frame.FramePriority, 0, 1, 0, 0, 0, 0, 8)}, nil},
		{"even stream", say{get(2)}, goaway("0", "PROTOCOL_ERROR")},
		{"lower stream", say{post(5), get(3)}, goaway("5", "PROTOCOL_ERROR")},
		{"HEADERS on a closed stream", say{get(1), settle, get(1)}, append([]string{"HEADERS 1" + ok200}, goaway("1", "STREAM_CLOSED")...)},
		{"DATA on a closed stream", say{get(1), settle, data(1, true, 1)}, append([]string{"HEADERS 1" + ok200}, rst("1", "STREAM_CLOSED")...)},
		{"WINDOW_UPDATE and RST_STREAM on a closed stream", say{get(1), settle, raw(frame.FrameWindowUpdate, 0, 1, 0, 0, 0, 8), raw(frame.FrameRSTStream, 0, 1, 0, 0, 0, 8)}, []string{"HEADERS 1" + ok200}},
		{"DATA after RST_STREAM", say{post(1), raw(frame.FrameRSTStream, 0, 1, 0, 0, 0, 8), data(1, true, 1)}, rst("1", "STREAM_CLOSED")},
		{"DATA and HEADERS after our RST_STREAM", say{post(1, "content-length=1"), data(1, false, 2), data(1, true, 2), get(1)}, rst("1", "PROTOCOL_ERROR")},
		{"PUSH_PROMISE", say{raw(frame.FramePushPromise, 4, 1, 0, 0, 0, 2, 0x82)}, goaway("0", "PROTOCOL_ERROR")},
		// Section 6.
		{"DATA on 0", say{data(0, true, 1)}, goaway("0", "PROTOCOL_ERROR")},
		{"HEADERS on 0", say{func(s *site) { s.get(0) }}, goaway("0", "PROTOCOL_ERROR")},
		{"padding too long", say{post(1), raw(frame.FrameData, 0x8, 1, 5, 'x')}, goaway("1", "PROTOCOL_ERROR")},
		{"padding without length", say{post(1), raw(frame.FrameData, 0x8, 1)}, goaway("1", "FRAME_SIZE_ERROR")},
		{"padding", say{post(1, "content-length=1"), raw(frame.FrameData, 0x9, 1, 2, 'x', 0, 0)}, []string{"HEADERS 1" + ok200}},
		{"HEADERS padding too long", say{raw(frame.FrameHeaders, 0xd, 1, 9, 0x82)}, goaway("0", "PROTOCOL_ERROR")},
		{"HEADERS too short for priority", say{raw(frame.FrameHeaders, 0x25, 1, 0x82)}, goaway("0", "FRAME_SIZE_ERROR")},
		{"HEADERS depends on itself", say{raw(frame.FrameHeaders, 0x25, 1, 0, 0, 0, 1, 8, 0x82, 0x87, 0x84)}, rst("1", "PROTOCOL_ERROR")},
		{"PRIORITY depends on itself", say{post(1), raw(frame.FramePriority, 0, 1, 0, 0, 0, 1, 8)}, rst("1", "PROTOCOL_ERROR")},
		{"PRIORITY too short", say{post(1), raw(frame.FramePriority, 0, 1, 0, 0, 0, 1)}, goaway("1", "FRAME_SIZE_ERROR")},
		{"PRIORITY on 0", say{raw(frame.FramePriority, 0, 0, 0, 0, 0, 1, 1)}, goaway("0", "PROTOCOL_ERROR")},
		{"RST_STREAM on 0", say{raw(frame.FrameRSTStream, 0, 0, 0, 0, 0, 8)}, goaway("0", "PROTOCOL_ERROR")},
		{"RST_STREAM too short", say{post(1), raw(frame.FrameRSTStream, 0, 1, 0, 0, 8)}, goaway("1", "FRAME_SIZE_ERROR")},
		{"SETTINGS on 1", say{raw(frame.FrameSettings, 0, 1)}, goaway("0", "PROTOCOL_ERROR")},
		{"SETTINGS not whole", say{raw(frame.FrameSettings, 0, 0, 1, 2, 3)}, goaway("0", "FRAME_SIZE_ERROR")},
		{"SETTINGS ack with payload", say{raw(frame.FrameSettings, 1, 0, make([]byte, 6)...)}, goaway("0", "FRAME_SIZE_ERROR")},
		{"ENABLE_PUSH 2", say{setting(frame.SettingEnablePush, 2)}, goaway("0", "PROTOCOL_ERROR")},
		{"INITIAL_WINDOW_SIZE too large", say{setting(frame.SettingInitialWindowSize, 1<<31)}, goaway("0", "FLOW_CONTROL_ERROR")},
		{"MAX_FRAME_SIZE too small", say{setting(frame.SettingMaxFrameSize, 1<<14-1)}, goaway("0", "PROTOCOL_ERROR")},
		{"MAX_FRAME_SIZE too large", say{setting(frame.SettingMaxFrameSize, 1<<24)}, goaway("0", "PROTOCOL_ERROR")},
		{"ENABLE_CONNECT_PROTOCOL 2", say{setting(frame.SettingEnableConnectProtocol, 2)}, goaway("0", "PROTOCOL_ERROR")},
		{"unknown setting", say{setting(0x999, 7)}, []string{"SETTINGS ack"}},
		{"PING on 1", say{raw(frame.FramePing, 0, 1, make([]byte, 8)...)}, goaway("0", "PROTOCOL_ERROR")},
		{"PING too short", say{raw(frame.FramePing, 0, 0, 1)}, goaway("0", "FRAME_SIZE_ERROR")},
		{"GOAWAY on 1", say{raw(frame.FrameGoAway, 0, 1, make([]byte, 8)...)}, goaway("0", "PROTOCOL_ERROR")},
		{"GOAWAY too short", say{raw(frame.FrameGoAway, 0, 0, 1)}, goaway("0", "FRAME_SIZE_ERROR")},
		{"WINDOW_UPDATE by 0", say{raw(frame.FrameWindowUpdate, 0, 0, 0, 0, 0, 0)}, goaway("0", "PROTOCOL_ERROR")},
		{"WINDOW_UPDATE too short", say{raw(frame.FrameWindowUpdate, 0, 0, 0, 0, 1)}, goaway("0", "FRAME_SIZE_ERROR")},
		{"WINDOW_UPDATE too far", say{raw(frame.FrameWindowUpdate, 0, 0, 0x7f, 0xff, 0xff, 0xff)}, goaway("0", "FLOW_CONTROL_ERROR")},
		{"WINDOW_UPDATE of a stream by 0", say{post(1), raw(frame.FrameWindowUpdate, 0, 1, 0, 0, 0, 0)}, rst("1", "PROTOCOL_ERROR")},
		{"WINDOW_UPDATE of a stream too far", say{post(1), raw(frame.FrameWindowUpdate, 0, 1, 0x7f, 0xff, 0xff, 0xff)}, rst("1", "FLOW_CONTROL_ERROR")},
		{"unknown frame", say{raw(0x42, 0xff, 77, 1, 2, 3), get(1)}, []string{"HEADERS 1" + ok200}},
		// Section 8.
		{"capital", say{get(1, "X-Name=1")}, rst("1", "PROTOCOL_ERROR")},
		{"name with space", say{get(1, "x name=1")}, rst("1", "PROTOCOL_ERROR")},
		{"name with colon", say{get(1, "x:name=1")}, rst("1", "PROTOCOL_ERROR")},
		{"value with CR LF", say{get(1, "x=1\r\ny: 2")}, rst("1", "PROTOCOL_ERROR")},
		{"value with NUL", say{get(1, "x=\x00")}, rst("1", "PROTOCOL_ERROR")},
		{"value begins with space", say{get(1, "x= 1")}, rst("1", "PROTOCOL_ERROR")},
		{"value ends with tab", say{get(1, "x=1\t")}, rst("1", "PROTOCOL_ERROR")},
		{"connection", say{get(1, "connection=close")}, rst("1", "PROTOCOL_ERROR")},
		{"transfer-encoding", say{get(1, "transfer-encoding=chunked")}, rst("1", "PROTOCOL_ERROR")},
		{"keep-alive", say{get(1, "keep-alive=1")}, rst("1", "PROTOCOL_ERROR")},
		{"proxy-connection", say{get(1, "proxy-connection=close")}, rst("1", "PROTOCOL_ERROR")},
		{"upgrade", say{get(1, "upgrade=websocket")}, rst("1", "PROTOCOL_ERROR")},
		{"te", say{get(1, "te=gzip")}, rst("1", "PROTOCOL_ERROR")},
		{"te trailers", say{get(1, "te=trailers")}, []string{"HEADERS 1" + ok200}},
		{"unknown pseudo", say{get(1, ":test=1")}, rst("1", "PROTOCOL_ERROR")},
		{"status in a request", say{get(1, ":status=200")}, rst("1", "PROTOCOL_ERROR")},
		{"pseudo after field", say{head(true, ":method=GET", ":scheme=http", "x=1", ":path=/")}, rst("1", "PROTOCOL_ERROR")},
		{"two paths", say{get(1, ":path=/b")}, rst("1", "PROTOCOL_ERROR")},
		{"no method", say{head(true, ":scheme=http", ":path=/")}, rst("1", "PROTOCOL_ERROR")},
		{"no scheme", say{head(true, ":method=GET", ":path=/")}, rst("1", "PROTOCOL_ERROR")},
		{"no path", say{head(true, ":method=GET", ":scheme=http")}, rst("1", "PROTOCOL_ERROR")},
		{"empty path", say{head(true, ":method=GET", ":scheme=http", ":path=")}, rst("1", "PROTOCOL_ERROR")},
		{"path without slash", say{head(true, ":method=GET", ":scheme=http", ":path=x")}, rst("1", "PROTOCOL_ERROR")},
		{"path with space", say{head(true, ":method=GET", ":scheme=http", ":path=/ HTTP/1.1")}, rst("1", "PROTOCOL_ERROR")},
		{"method with space", say{head(true, ":method=GET /", ":scheme=http", ":path=/")}, rst("1", "PROTOCOL_ERROR")},
		{"asterisk", say{head(true, ":method=OPTIONS", ":scheme=http", ":path=*")}, []string{"HEADERS 1" + ok200}},
		{"authority with user", say{head(true, ":method=GET", ":scheme=http", ":path=/", ":authority=u@h")}, rst("1", "PROTOCOL_ERROR")},
		{"host differs", say{get(1, "host=b.example")}, rst("1", "PROTOCOL_ERROR")},
		{"host agrees", say{get(1, "host=A.example")}, []string{"HEADERS 1" + ok200}},
		{"plain CONNECT", say{head(true, ":method=CONNECT", ":authority=a:443")}, []string{"HEADERS 1" + ok200}},
		{"CONNECT with path", say{head(true, ":method=CONNECT", ":authority=a:443", ":scheme=http", ":path=/")}, rst("1", "PROTOCOL_ERROR")},
		{"extended CONNECT where it is not served", say{head(false, ":method=CONNECT", ":protocol=websocket", ":authority=a", ":scheme=http", ":path=/")}, rst("1", "PROTOCOL_ERROR")},
		{"body longer than announced", say{post(1, "content-length=1"), data(1, true, 2)}, rst("1", "PROTOCOL_ERROR")},
		{"body shorter than announced", say{post(1, "content-length=3"), data(1, true, 2)}, rst("1", "PROTOCOL_ERROR")},
		{"body announced, none there", say{get(1, "content-length=3")}, rst("1", "PROTOCOL_ERROR")},
		{"body shorter before trailers", say{post(1, "content-length=3"), data(1, false, 2), head(true, "x=1")}, rst("1", "PROTOCOL_ERROR")},
		{"two lengths", say{post(1, "content-length=1", "content-length=1"), data(1, true, 1)}, rst("1", "PROTOCOL_ERROR")},
		{"length with sign", say{post(1, "content-length=+1")}, rst("1", "PROTOCOL_ERROR")},
		{"trailers", say{post(1), head(true, "x=1")}, []string{"HEADERS 1" + ok200}},
		{"trailers with pseudo", say{post(1), head(true, ":path=/")}, rst("1", "PROTOCOL_ERROR")},
		{"trailers that do not end", say{post(1), head(false, "x=1")}, rst("1", "PROTOCOL_ERROR")},
		{"trailers with length", say{post(1), head(true, "content-length=0")}, rst("1", "PROTOCOL_ERROR")},
	}
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			inBubble(t, Options{}, nil, func(s *site) {
				s.greet()
				for _, say := range c.say {
					say(s)
				}
				s.want(c.want...)
			})
		})
	}
}

func TestHalfClosedRemote(t *testing.T) {
	hold := func(s *Stream) {
		_ = s.WriteHead(&Head{Status: 200}, false)
		s.Flush()
		lie(s)
	}
	for name, say := range map[string]func(*site){
		"DATA":    func(s *site) { _ = s.framer.WriteData(1, true, []byte("x")) },
		"HEADERS": func(s *site) { s.headers(1, true, "x=1") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, hold, func(s *site) {
				s.greet().get(1)
				s.want("HEADERS 1 :status=200")
				say(s)
				s.want("RST_STREAM 1 STREAM_CLOSED")
			})
		})
	}
}

func TestBadPreface(t *testing.T) {
	inBubble(t, Options{}, nil, func(s *site) {
		_, _ = s.nc.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n", 2)))
		s.want("SETTINGS", "WINDOW_UPDATE 0 983041", "GOAWAY 0 PROTOCOL_ERROR", "closed")
	})
	inBubble(t, Options{}, nil, func(s *site) {
		_, _ = s.nc.Write([]byte(Preface))
		_ = s.framer.WritePing(false, [8]byte{})
		s.want("SETTINGS", "WINDOW_UPDATE 0 983041", "GOAWAY 0 PROTOCOL_ERROR", "closed")
		if err := <-s.ended; !errors.As(err, new(*ConnError)) {
			t.Errorf("got %v", err)
		}
		s.ended <- nil
	})
}
