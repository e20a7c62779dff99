package http2

import "sync"

// A Memory is what connections use by turns, goroutines included. The zero value is ready; it may be shared by all.
type Memory struct {
	reads   sync.Pool // *[muchRead]byte
	packets sync.Pool // *packet
	little  sync.Pool // *piece
	big     sync.Pool
	hands   hands
}

func (m *Memory) read() *[muchRead]byte {
	if b, ok := m.reads.Get().(*[muchRead]byte); ok {
		return b
	}
	return new([muchRead]byte)
}

func (m *Memory) packet() *packet {
	if p, ok := m.packets.Get().(*packet); ok {
		return p
	}
	return &packet{b: make([]byte, 0, outUsual/4)}
}

// putPacket keeps what did not grow far beyond the usual.
func (m *Memory) putPacket(p *packet) {
	if cap(p.b) <= 2*outBound {
		p.b = p.b[:0]
		m.packets.Put(p)
	}
}

func (m *Memory) piece(size int) *piece {
	if p, ok := m.pieces(size).Get().(*piece); ok {
		return p
	}
	return &piece{b: make([]byte, 0, size)}
}

func (m *Memory) putPiece(p *piece) {
	p.b, p.read = p.b[:0], 0
	m.pieces(cap(p.b)).Put(p)
}

func (m *Memory) pieces(size int) *sync.Pool {
	if size == littlePiece {
		return &m.little
	}
	return &m.big
}
