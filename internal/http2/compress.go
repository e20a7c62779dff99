package http2

import "golang.org/x/net/http2/hpack"

// A compressor writes fields as RFC 7541 has it. Of the peer's table it knows what each entry takes, not what it holds:
// whoever wants to point to an entry keeps the number that it was added under.
type compressor struct {
	dst     []byte // what is being written
	huffman bool   // strings are made shorter, which takes time on both sides

	sizes   [tableSize / entryCost]uint16 // of the entries, by their number
	size    int                           // of all that are in the table
	most    int                           // that it may be
	resized bool                          // the peer must be told
	added   uint64                        // how many entries there were; the newest has that number, the first one 1
	evicted uint64                        // how many of them, the oldest, are out again
}

// entryCost is what an entry takes besides its name and value (RFC 7541 section 4.1).
const entryCost = 32

// fixedFields is how many fields the fixed table has (RFC 7541 appendix A).
const fixedFields = 61

// A fixed table says where a field stands in it.
type fixed struct {
	names  map[string]uint64
	fields map[[2]string]uint64
}

var fixedTable = makeFixedTable()

// makeFixedTable asks a decoder what each index stands for.
func makeFixedTable() fixed {
	t := fixed{map[string]uint64{}, map[[2]string]uint64{}}
	at := uint64(1)
	d := hpack.NewDecoder(0, func(f hpack.HeaderField) {
		if t.names[f.Name] == 0 {
			t.names[f.Name] = at
		}
		t.fields[[2]string{f.Name, f.Value}] = at
	})
	for ; at <= fixedFields; at++ {
		_, _ = d.Write([]byte{0x80 | byte(at)})
	}
	return t
}

// resize changes the bound of the table. It only ever becomes smaller: one that went down and up again between two heads
// would have to be told twice (RFC 7541 section 4.2), which not every decoder understands.
func (c *compressor) resize(most int) {
	if most < c.most {
		c.most, c.resized = most, true
		c.evict(most)
	}
}

// tell tells the peer of a new bound. It is called before the first field of a head is written.
func (c *compressor) tell() {
	if c.resized {
		c.resized = false
		c.number(0x20, 5, uint64(c.most))
	}
}

func (c *compressor) evict(to int) {
	for c.size > to {
		c.evicted++
		c.size -= int(c.sizes[c.evicted%uint64(len(c.sizes))])
	}
}

// holds says whether the entry of that number is in the table. None has the number 0.
func (c *compressor) holds(entry uint64) bool { return entry > c.evicted }

// point writes a field that is in the table.
func (c *compressor) point(entry uint64) { c.pointFixed(fixedFields + 1 + c.added - entry) }

// pointFixed writes a field of the fixed table.
func (c *compressor) pointFixed(index uint64) { c.number(0x80, 7, index) }

// add writes a field and puts it into the table. It returns the number of the entry, 0 if the table is too small.
func (c *compressor) add(name, value string) (entry uint64) {
	size := len(name) + len(value) + entryCost
	if size > c.most {
		c.literal(0, 4, name, value)
		return 0
	}
	c.evict(c.most - size)
	c.literal(0x40, 6, name, value)
	c.added++
	c.sizes[c.added%uint64(len(c.sizes))] = uint16(size)
	c.size += size
	return c.added
}

// pass writes a field that the table does not learn; a secret one no table on the way may.
func (c *compressor) pass(name, value string, secret bool) {
	form := byte(0)
	if secret {
		form = 0x10
	}
	c.literal(form, 4, name, value)
}

// literal writes a field in a form whose index has that many bits.
func (c *compressor) literal(form byte, bits int, name, value string) {
	if i := fixedTable.names[name]; i > 0 {
		c.number(form, bits, i)
	} else {
		c.dst = append(c.dst, form)
		c.text(name)
	}
	c.text(value)
}

func (c *compressor) text(s string) {
	if c.huffman {
		if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
			c.number(0x80, 7, n)
			c.dst = hpack.AppendHuffmanString(c.dst, s)
			return
		}
	}
	c.number(0, 7, uint64(len(s)))
	c.dst = append(c.dst, s...)
}

// number writes n in so many bits of a byte that begins with form, and in more bytes if need be (RFC 7541 section 5.1).
func (c *compressor) number(form byte, bits int, n uint64) {
	most := uint64(1)<<bits - 1
	if n < most {
		c.dst = append(c.dst, form|byte(n))
		return
	}
	c.dst = append(c.dst, form|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		c.dst = append(c.dst, byte(n)|0x80)
	}
	c.dst = append(c.dst, byte(n))
}
