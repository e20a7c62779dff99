package proxy

import (
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/upstream"
)

// plain, as a body's way to go, is the bytes alone: what ends it is said otherwise.
const plain = http1.UntilClose

// A body is one message's body on its way through, decoded as it comes and framed as it goes. Over HTTP/2 it comes
// and goes without a framing of its own: as one that ends with its connection, and [plain].
type body struct {
	from, to http1.Framing
	left     int64 // when from is Length
	chunks   http1.Chunks
	bare     bool          // its trailers stay behind: its head nominated fields to drop, which they may be (RFC 9110 section 7.6.1)
	done     bool          // all of it, its end included, has been passed
	trailers []http1.Field // when it is done
	loads    bool          // load reports among them go on
	seams    seams         // of what lasts
	stop     bool          // at the next of them
}

func (t *body) start(from, to http1.Framing, length int64, bare bool) {
	t.from, t.to, t.left, t.bare, t.trailers = from, to, length, bare, nil
	t.seams.of, t.stop = seamless, false
	t.chunks.Reset()
	t.done = from == http1.NoBody || from == http1.Length && length == 0
}

// pass takes what in holds of the body and returns it as it goes out, after what is in *scratch. The result is
// *scratch, grown, or lies in in; it is valid until either changes. An error is an *http1.Error; what came
// before it is returned with it.
func (t *body) pass(scratch *[]byte, in *upstream.Buffer) ([]byte, error) {
	if t.done {
		return *scratch, nil
	}
	if t.from == http1.Chunked {
		err := t.passChunks(scratch, in)
		return *scratch, err
	}
	b := in.Bytes()
	b = b[:t.seams.pass(b, t.stop)]
	if t.from == http1.Length {
		b = b[:min(int64(len(b)), t.left)]
		t.left -= int64(len(b))
		t.done = t.left == 0
	}
	if t.to != http1.Chunked {
		if piece, ok := in.Lead(*scratch, len(b)); ok {
			return piece, nil
		}
	}
	in.Skip(len(b)) // what b holds stays until the next Fill
	*scratch = t.frame(*scratch, b)
	return *scratch, nil
}

func (t *body) passChunks(scratch *[]byte, in *upstream.Buffer) error {
	for len(in.Bytes()) > 0 && !t.chunks.Done() && (!t.stop || !t.seams.at()) {
		data, n, err := t.chunks.Next(in.Bytes())
		*scratch = t.frame(*scratch, data[:t.seams.pass(data, t.stop)])
		in.Skip(n)
		if err != nil {
			return err
		}
	}
	if t.chunks.Done() {
		t.end(scratch, t.chunks.Trailers())
	}
	return nil
}

// end passes the body's end.
func (t *body) end(scratch *[]byte, trailers []http1.Field) {
	t.done = true
	if !t.bare {
		t.trailers = trailers
	}
	if t.to == http1.Chunked {
		*scratch = http1.AppendLastChunk(*scratch, t.trailers)
	}
}

func (t *body) frame(dst, data []byte) []byte {
	if t.to == http1.Chunked {
		return http1.AppendChunk(dst, data)
	}
	return append(dst, data...)
}

// close tells the body that its connection ended cleanly, or its stream, with trailers. If that is how it ends, close
// appends its end to *scratch and says true.
func (t *body) close(scratch *[]byte, trailers []http1.Field) bool {
	if t.from != http1.UntilClose {
		return false
	}
	t.end(scratch, trailers)
	return true
}
