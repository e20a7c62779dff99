package load

import (
	"bufio"
	"encoding/json"
	"io"
	"strconv"
	"sync"
	"time"
)

// A trace writes one line of JSON per request:
//
//	{"request":0,"due_ns":0,"sent_ns":51042,"ended_ns":612804,"outcome":"ok","status":200,"endpoint":"reviews-v1-1"}
//
// Offsets count from the start of the run; request is the number in the order of sending, lines come in the
// order of ending. Status and endpoint are there for whole answers, the endpoint when the answer named it; an answer
// to a call has "grpc" with its status's name, too, and a stream that the server reset "reset" with the code's.
type trace struct {
	mu    sync.Mutex
	out   *bufio.Writer
	line  []byte
	names map[string][]byte // endpoints in JSON
}

func newTrace(w io.Writer) *trace {
	return &trace{out: bufio.NewWriterSize(w, 64<<10), names: map[string][]byte{}}
}

func (t *trace) add(s slot, sent, ended time.Duration, got result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := append(t.line[:0], `{"request":`...)
	line = strconv.AppendUint(line, s.index, 10)
	line = append(line, `,"due_ns":`...)
	line = strconv.AppendInt(line, int64(s.due), 10)
	line = append(line, `,"sent_ns":`...)
	line = strconv.AppendInt(line, int64(sent), 10)
	line = append(line, `,"ended_ns":`...)
	line = strconv.AppendInt(line, int64(ended), 10)
	line = append(line, `,"outcome":"`...)
	line = append(line, got.outcome.String()...)
	line = append(line, '"')
	if got.status != 0 {
		line = append(line, `,"status":`...)
		line = strconv.AppendInt(line, int64(got.status), 10)
	}
	if got.grpc != "" {
		line = append(line, `,"grpc":"`...)
		line = append(line, got.grpc...) // a name, or digits
		line = append(line, '"')
	}
	if got.reset != "" {
		line = append(line, `,"reset":"`...)
		line = append(line, got.reset...) // likewise
		line = append(line, '"')
	}
	if got.endpoint != "" {
		line = append(line, `,"endpoint":`...)
		line = append(line, t.name(got.endpoint)...)
	}
	line = append(line, '}', '\n')
	_, _ = t.out.Write(line) // the error stays with the writer until flush
	t.line = line
}

// name returns an endpoint's name in JSON.
func (t *trace) name(endpoint string) []byte {
	if name, ok := t.names[endpoint]; ok {
		return name
	}
	name, err := json.Marshal(endpoint)
	if err != nil {
		name = []byte(`""`) // cannot be: every string can be written
	}
	if len(t.names) < maxEndpoints {
		t.names[endpoint] = name
	}
	return name
}

// flush writes what is buffered and returns the first error of all writing.
func (t *trace) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.Flush()
}
