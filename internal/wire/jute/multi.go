package jute

import (
	"errors"
	"fmt"
)

// MaxParts bounds the parts of a multi: each takes far more room once it is read than on the wire. More than in a frame of
// 1 MiB, ZooKeeper's own bound, can be.
const MaxParts = 1 << 16

// ErrParts says that a multi has more than MaxParts.
var ErrParts = errors.New("jute: a multi of impossibly many parts")

// head reads the head of a part of a multi, or of what it is answered with.
// The code in it is said again by the part itself.
func (r *Reader) head() (op Op, done bool) {
	op, done = Op(r.Int()), r.Bool()
	r.Int()
	return op, done
}

func (w *Writer) head(op Op, done bool, err Code) {
	w.Int(int32(op))
	w.Bool(done)
	w.Int(int32(err))
}

// readParts reads parts, each behind a head of its own, until the head that ends them.
func readParts[T any](record []byte, part func(*Reader, Op) (T, error)) ([]T, error) {
	r := NewReader(record)
	var all []T
	for {
		op, done := r.head()
		if done || r.Err() != nil {
			return all, r.End()
		}
		if len(all) == MaxParts {
			return nil, ErrParts
		}
		one, err := part(r, op)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
}

// ReadMulti reads what follows the head of OpMulti.
func ReadMulti(record []byte) ([]Change, error) {
	return readParts(record, func(r *Reader, op Op) (Change, error) { return r.change(op), nil })
}

// Multi writes parts as a request.
func Multi(xid int32, parts []Change) []byte {
	w := Request{Xid: xid, Op: OpMulti}.Write()
	for i := range parts {
		w.head(parts[i].Op, false, -1)
		w.Change(&parts[i])
	}
	w.head(OpError, true, -1)
	return w.Frame()
}

// A Result is what came of one change.
type Result struct {
	Op   Op   // that of the change, but for OpCreate2, which servers answer in a multi as OpCreate, and for containers and TTLs, which they answer as OpCreate2; of a multi that failed OpError
	Err  Code // not OK only with OpError
	Path string
	Stat Stat // of OpSetData, and of what creates, but for OpCreate
}

// ReadResult reads what follows the head of an answer that is OK to a change on its own.
func ReadResult(op Op, record []byte) (Result, error) {
	r := NewReader(record)
	s := r.result(op)
	return s, r.End()
}

func (r *Reader) result(op Op) Result {
	s := Result{Op: op}
	switch op {
	case OpCreate:
		s.Path = r.Text()
	case OpCreate2, OpCreateContainer, OpCreateTTL:
		s.Path, s.Stat = r.Text(), r.Stat()
	case OpSetData:
		s.Stat = r.Stat()
	case OpDelete, OpCheck:
	case OpError:
		s.Err = Code(r.Int())
	default:
		if r.err == nil {
			r.err = fmt.Errorf("%w: %d as the result of a change", ErrRecord, op)
		}
	}
	return s
}

// Result writes what came of a change.
func (w *Writer) Result(s *Result) {
	switch s.Op {
	case OpCreate:
		w.Text(s.Path)
	case OpCreate2, OpCreateContainer, OpCreateTTL:
		w.Text(s.Path)
		w.Stat(s.Stat)
	case OpSetData:
		w.Stat(s.Stat)
	case OpError:
		w.Int(int32(s.Err))
	default:
	}
}

// ReadResults reads what follows the head of an answer to OpMulti.
func ReadResults(record []byte) ([]Result, error) {
	return readParts(record, func(r *Reader, op Op) (Result, error) { return r.result(op), nil })
}

// Results writes what follows the head of an answer to OpMulti.
func (w *Writer) Results(results []Result) {
	for i := range results {
		s := &results[i]
		w.head(s.Op, false, s.Err)
		w.Result(s)
	}
	w.head(OpError, true, -1)
}

// ReadMultiRead reads what follows the head of OpMultiRead. What each part is answered with does not hang on the others.
func ReadMultiRead(record []byte) ([]Look, error) {
	return readParts(record, func(r *Reader, op Op) (Look, error) {
		if op != OpGetData && op != OpGetChildren {
			return Look{}, fmt.Errorf("%w: %d in a multi of reads", ErrRecord, op)
		}
		return Look{Op: op, Path: r.Text(), Watch: r.Bool()}, nil
	})
}

// A Seen is what one part of OpMultiRead is answered with.
type Seen struct {
	Op       Op
	Err      Code
	Data     []byte
	Stat     Stat
	Children []string
}

// ReadSeen reads what follows the head of an answer to OpMultiRead.
func ReadSeen(record []byte) ([]Seen, error) {
	return readParts(record, func(r *Reader, op Op) (Seen, error) {
		s := Seen{Op: op}
		switch op {
		case OpGetData:
			s.Data, s.Stat = r.Bytes(), r.Stat()
		case OpGetChildren:
			s.Children = r.Texts()
		case OpError:
			s.Err = Code(r.Int())
		default:
			return Seen{}, fmt.Errorf("%w: %d as the result of a read", ErrRecord, op)
		}
		return s, nil
	})
}

// Seen writes what follows the head of an answer to OpMultiRead.
func (w *Writer) Seen(all []Seen) {
	for _, s := range all {
		w.head(s.Op, false, s.Err)
		switch s.Op {
		case OpGetData:
			w.Bytes(s.Data)
			w.Stat(s.Stat)
		case OpGetChildren:
			w.Texts(s.Children)
		default:
			w.Int(int32(s.Err))
		}
	}
	w.head(OpError, true, -1)
}
