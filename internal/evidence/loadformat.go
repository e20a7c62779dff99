package evidence

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
)

// A LoadForm is how a load report is written in the field endpoint-load-metrics.
type LoadForm uint8

// The forms.
const (
	LoadText   LoadForm = iota // "TEXT cpu_utilization=0.3,named_metrics.warm.age_s=12"
	LoadJSON                   // "JSON {…}"
	LoadBinary                 // "BIN " and the message in base64
)

// AppendHeader appends the report as the field endpoint-load-metrics has it. What is no number, or a negative one of a kind
// that has none, is left out. As text and binary it allocates nothing but what b may have to grow.
func (l *Load) AppendHeader(b []byte, form LoadForm) []byte {
	switch form {
	case LoadJSON:
		return l.appendJSON(append(b, "JSON "...))
	case LoadBinary:
		return l.appendBase64(append(b, "BIN "...), base64.StdEncoding)
	case LoadText:
	}
	return l.appendText(append(b, "TEXT "...))
}

// AppendTrailer appends the report as the trailer endpoint-load-metrics-bin has it in HTTP/2: the message in base64,
// without padding. It allocates nothing but what b may have to grow.
func (l *Load) AppendTrailer(b []byte) []byte {
	return l.appendBase64(b, base64.RawStdEncoding)
}

func (l *Load) appendText(b []byte) []byte {
	begun := len(b)
	for _, name := range [...]struct {
		name  string
		value float64
	}{
		{"cpu_utilization=", l.CPU},
		{"mem_utilization=", l.Memory},
		{"rps_fractional=", l.Requests},
		{"eps=", l.Errors},
		{"application_utilization=", l.Application},
	} {
		if sayable(name.value) {
			b = append(comma(b, begun), name.name...)
			b = appendNumber(b, name.value)
		}
	}
	for _, f := range l.families() {
		for i := range *f.metrics {
			m := &(*f.metrics)[i]
			if m.sayable() && !strings.ContainsAny(m.Name, ",=:") {
				b = append(append(append(comma(b, begun), f.prefix...), m.Name...), '=')
				b = appendNumber(b, m.Value)
			}
		}
	}
	return b
}

func comma(b []byte, begun int) []byte {
	if len(b) == begun {
		return b
	}
	return append(b, ',')
}

func appendNumber(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'g', -1, 64) }

func (l *Load) appendJSON(b []byte) []byte {
	b = append(b, '{')
	begun := len(b)
	l.numbers(func(_ int, name string, value *float64) bool {
		if sayable(*value) {
			b = append(strconv.AppendQuote(comma(b, begun), name), ':')
			b = appendNumber(b, *value)
		}
		return true
	})
	for _, f := range l.families() {
		if len(*f.metrics) == 0 {
			continue
		}
		b = append(strconv.AppendQuote(comma(b, begun), strings.TrimSuffix(f.prefix, ".")), ":{"...)
		inside := len(b)
		for i := range *f.metrics {
			if m := &(*f.metrics)[i]; m.sayable() {
				b = append(strconv.AppendQuote(comma(b, inside), m.Name), ':')
				b = appendNumber(b, m.Value)
			}
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// Wire types of protocol buffers (https://protobuf.dev/programming-guides/encoding/).
const (
	wireVarint = 0
	wireDouble = 1
	wireBytes  = 2
	wireFloat  = 5
)

const doubleSize = 1 + 8 // with its tag, of a field below 16

// appendBase64 writes the message behind the room for its base64, and that into it.
func (l *Load) appendBase64(b []byte, encoding *base64.Encoding) []byte {
	size := l.wireSize()
	at, text := len(b), encoding.EncodedLen(size)
	for range text {
		b = append(b, 0)
	}
	b = l.appendWire(b)
	encoding.Encode(b[at:at+text], b[at+text:])
	return b[:at+text]
}

func (l *Load) wireSize() (size int) {
	for _, v := range [...]float64{l.CPU, l.Memory, l.Requests, l.Errors, l.Application} {
		if sayable(v) {
			size += doubleSize
		}
	}
	for _, f := range l.families() {
		for i := range *f.metrics {
			if m := &(*f.metrics)[i]; m.sayable() {
				entry := m.wireSize()
				size += 1 + varintSize(entry) + entry
			}
		}
	}
	return size
}

// wireSize is the length of the metric as an entry of a map.
func (m *Metric) wireSize() int { return 1 + varintSize(len(m.Name)) + len(m.Name) + doubleSize }

func varintSize(n int) (size int) {
	for size = 1; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

func (l *Load) appendWire(b []byte) []byte {
	b = appendDouble(b, 1, l.CPU)
	b = appendDouble(b, 2, l.Memory)
	families := l.families()
	b = families[0].appendWire(b)
	b = families[1].appendWire(b)
	b = appendDouble(b, 6, l.Requests)
	b = appendDouble(b, 7, l.Errors)
	b = families[2].appendWire(b)
	return appendDouble(b, 9, l.Application)
}

func (f *family) appendWire(b []byte) []byte {
	for i := range *f.metrics {
		m := &(*f.metrics)[i]
		if !m.sayable() {
			continue
		}
		b = append(b, byte(f.number<<3|wireBytes))
		b = binary.AppendUvarint(b, uint64(m.wireSize())) //nolint:gosec // a length
		b = append(b, 1<<3|wireBytes)
		b = binary.AppendUvarint(b, uint64(len(m.Name)))
		b = append(append(b, m.Name...), 2<<3|wireDouble)
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(m.Value))
	}
	return b
}

func appendDouble(b []byte, number byte, v float64) []byte {
	if !sayable(v) {
		return b
	}
	return binary.LittleEndian.AppendUint64(append(b, number<<3|wireDouble), math.Float64bits(v))
}
