package http2

// What waits to be read lies in pieces of two sizes: a message of a few bytes must not hold much.
const (
	littlePiece = 1 << 10
	bigPiece    = 16 << 10
)

type piece struct {
	b    []byte // what was put in; its capacity is the piece's size
	read int
}

// A pile holds what came of a body and was not yet read.
type pile struct {
	memory *Memory
	pieces []*piece
	size   int
}

func (p *pile) put(b []byte) {
	p.size += len(b)
	for len(b) > 0 {
		if n := len(p.pieces); n > 0 {
			last := p.pieces[n-1]
			k := min(len(b), cap(last.b)-len(last.b))
			last.b = append(last.b, b[:k]...)
			if b = b[k:]; len(b) == 0 {
				return
			}
		}
		size := bigPiece
		if len(p.pieces) == 0 && len(b) <= littlePiece {
			size = littlePiece
		}
		p.pieces = append(p.pieces, p.memory.piece(size))
	}
}

func (p *pile) take(b []byte) (n int) {
	emptied := 0
	for _, first := range p.pieces {
		k := copy(b[n:], first.b[first.read:])
		n += k
		if first.read += k; first.read < len(first.b) {
			break
		}
		p.memory.putPiece(first)
		emptied++
	}
	if emptied > 0 {
		rest := copy(p.pieces, p.pieces[emptied:])
		clear(p.pieces[rest:])
		p.pieces = p.pieces[:rest]
	}
	p.size -= n
	return n
}

func (p *pile) drop() {
	for i, x := range p.pieces {
		p.memory.putPiece(x)
		p.pieces[i] = nil
	}
	p.pieces, p.size = p.pieces[:0], 0
}
