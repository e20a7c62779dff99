package http2

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	frame "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// seedFrames are frames, well-formed and not, one after the other.
func seedFrames(write func(*frame.Framer, func(...string) []byte)) []byte {
	var out, block bytes.Buffer
	f := frame.NewFramer(&out, nil)
	f.AllowIllegalWrites = true
	enc := hpack.NewEncoder(&block)
	write(f, func(fields ...string) []byte {
		block.Reset()
		for _, x := range fields {
			i := bytes.IndexByte([]byte(x[1:]), '=') + 1
			_ = enc.WriteField(hpack.HeaderField{Name: x[:i], Value: x[i+1:]})
		}
		return bytes.Clone(block.Bytes())
	})
	return out.Bytes()
}

// Whatever a client sends: no panic, no handler that stays, no body beyond its window, and no end that hangs.
func FuzzServer(f *testing.F) {
	f.Add(seedFrames(func(f *frame.Framer, enc func(...string) []byte) {
		_ = f.WriteSettings(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 5})
		_ = f.WriteSettingsAck()
		_ = f.WriteHeaders(frame.HeadersFrameParam{StreamID: 1, BlockFragment: enc(getFields...), EndHeaders: true, EndStream: true})
		_ = f.WriteHeaders(frame.HeadersFrameParam{StreamID: 3, BlockFragment: enc(with(postFields, "content-length=5", "cookie=a", "cookie=b")...), EndHeaders: true})
		_ = f.WriteData(3, false, []byte("he"))
		_ = f.WriteWindowUpdate(3, 100)
		_ = f.WriteDataPadded(3, true, []byte("llo"), []byte{0, 0})
		_ = f.WritePing(false, [8]byte{})
		_ = f.WriteGoAway(0, NoError, nil)
	}))
	f.Add(seedFrames(func(f *frame.Framer, enc func(...string) []byte) {
		_ = f.WriteSettings(frame.Setting{ID: frame.SettingHeaderTableSize, Val: 0})
		block := enc(with(postFields, "te=trailers")...)
		_ = f.WriteHeaders(frame.HeadersFrameParam{StreamID: 1, BlockFragment: block[:3]})
		_ = f.WriteContinuation(1, true, block[3:])
		_ = f.WriteHeaders(frame.HeadersFrameParam{StreamID: 1, BlockFragment: enc("x=1"), EndHeaders: true, EndStream: true})
		_ = f.WriteRSTStream(1, Cancel)
		_ = f.WritePriority(5, frame.PriorityParam{StreamDep: 5})
		_ = f.WriteSettings(frame.Setting{ID: frame.SettingInitialWindowSize, Val: 1 << 30})
		_ = f.WriteWindowUpdate(0, 1<<31-1)
	}))
	f.Fuzz(func(t *testing.T, said []byte) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			const window = 20_000
			server := NewServer(ours, nil, &Options{MaxStreams: 4, MaxHead: 4 << 10, StreamWindow: window, StallTimeout: time.Second})
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(hello) }()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			_, _ = theirs.Write([]byte(Preface))
			_, _ = theirs.Write(said)
			synctest.Wait()
			server.mu.Lock()
			for _, s := range server.streams {
				if s.pile.size > firstWindow {
					t.Errorf("stream %d holds %d bytes", s.id, s.pile.size)
				}
			}
			if server.open > 4 || server.running > 8 {
				t.Errorf("%d streams and %d handlers, of 4", server.open, server.running)
			}
			if server.recv > int64(server.o.ConnWindow) || server.out.len() > 1<<20 {
				t.Errorf("window %d, %d bytes to be written", server.recv, server.out.len())
			}
			server.mu.Unlock()
			theirs.Close()
			<-ended
			if len(server.streams) != 0 || server.open != 0 || server.running != 0 {
				t.Errorf("left %d streams, %d open, %d handlers", len(server.streams), server.open, server.running)
			}
		})
	})
}

// Likewise for what an endpoint answers.
func FuzzClient(f *testing.F) {
	f.Add(seedFrames(func(f *frame.Framer, enc func(...string) []byte) {
		_ = f.WriteSettings()
		_ = f.WriteHeaders(frame.HeadersFrameParam{StreamID: 1, BlockFragment: enc(":status=103", "link=1"), EndHeaders: true})
		_ = f.WriteHeaders(frame.HeadersFrameParam{StreamID: 1, BlockFragment: enc(":status=200", "content-length=5"), EndHeaders: true})
		_ = f.WriteData(1, true, []byte("hello"))
		_ = f.WriteHeaders(frame.HeadersFrameParam{StreamID: 3, BlockFragment: enc(":status=200"), EndHeaders: true})
		_ = f.WriteData(3, false, []byte("hello"))
		_ = f.WriteHeaders(frame.HeadersFrameParam{StreamID: 3, BlockFragment: enc("grpc-status=0"), EndHeaders: true, EndStream: true})
		_ = f.WriteRSTStream(5, RefusedStream)
		_ = f.WriteGoAway(3, NoError, nil)
	}))
	f.Fuzz(func(t *testing.T, said []byte) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			client := NewClient(ours, &Options{MaxHead: 4 << 10, StreamWindow: 20_000})
			ended := make(chan error, 1)
			go func() { ended <- client.Run() }()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			for range 3 {
				s, err := client.Open(getHead("GET"), true)
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					defer s.Close()
					for {
						if h, err := s.ReadHead(); err != nil || h.Status >= 200 {
							break
						}
					}
					_, _ = io.ReadAll(readerOf(s))
					_ = s.Trailers()
				}()
			}
			_, _ = theirs.Write(said)
			synctest.Wait()
			theirs.Close()
			<-ended
			if len(client.streams) != 0 || client.open != 0 {
				t.Errorf("left %d streams, %d open", len(client.streams), client.open)
			}
		})
	})
}
