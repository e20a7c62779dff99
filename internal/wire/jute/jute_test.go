package jute

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Records as they stand on the wire, written by hand from ZooKeeper's own description of them (zookeeper.jute), and cut off
// anywhere.
func TestRecordsAsTheyStand(t *testing.T) {
	for name, c := range map[string]struct {
		hex  string
		read func([]byte) (any, error)
		want any
	}{
		"connect": {
			"00000000000000000000000000000fa0000000000000000000000010" + strings.Repeat("00", 16),
			func(b []byte) (any, error) { return ReadConnect(b) },
			Connect{TimeoutMS: 4000, Password: make([]byte, 16)},
		},
		"connected": {
			"0000000000000fa00100000000000001000000100102030405060708090a0b0c0d0e0f1000",
			func(b []byte) (any, error) { return ReadConnected(b) },
			Connected{TimeoutMS: 4000, Session: 0x0100000000000001, Password: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, HasReadOnly: true},
		},
		"create": {
			"000000022f61" + "0000000178" + "00000001" + "0000001f" + "00000005776f726c64" + "00000006616e796f6e65" + "00000001",
			func(b []byte) (any, error) { return ReadChange(OpCreate, b) },
			Change{Op: OpCreate, Path: "/a", Data: []byte("x"), ACL: []ACL{{31, "world", "anyone"}}, Flags: FlagEphemeral},
		},
		"multi": {
			"00000002" + "00" + "ffffffff" + "000000022f61" + "ffffffff" + "ffffffff" + "01" + "ffffffff",
			func(b []byte) (any, error) { return ReadMulti(b) },
			[]Change{{Op: OpDelete, Path: "/a", Version: -1}},
		},
		"event": {
			"00000002" + "00000003" + "000000022f61",
			func(b []byte) (any, error) { return ReadEvent(b) },
			Event{Type: NodeDeleted, State: Synced, Path: "/a"},
		},
	} {
		b, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.read(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
		for cut := range b {
			if name == "connect" || name == "connected" && cut == len(b)-1 {
				continue // the last field came with ZooKeeper 3.4
			}
			if _, err := c.read(b[:cut]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken for all of it", name, cut, len(b))
			}
		}
		if _, err := c.read(append(b, 0, 0)); !errors.Is(err, ErrRest) {
			t.Errorf("%s: with more at its end: %v, want %v", name, err, ErrRest)
		}
	}
}

func texts() *rapid.Generator[string] { return rapid.StringN(0, 8, 16) }

func buffers() *rapid.Generator[[]byte] {
	return rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 40))
}

func changes(ops ...Op) *rapid.Generator[Change] {
	return rapid.Custom(func(rt *rapid.T) Change {
		c := Change{Op: rapid.SampledFrom(ops).Draw(rt, "op"), Path: texts().Draw(rt, "path")}
		switch {
		case c.Op.Creates():
			c.Data, c.Flags = buffers().Draw(rt, "data"), rapid.Int32().Draw(rt, "flags")
			for range rapid.IntRange(0, 3).Draw(rt, "acls") {
				c.ACL = append(c.ACL, ACL{rapid.Int32().Draw(rt, "perms"), texts().Draw(rt, "scheme"), texts().Draw(rt, "id")})
			}
			if c.Op == OpCreateTTL {
				c.TTL = rapid.Int64().Draw(rt, "ttl")
			}
		case c.Op == OpSetData:
			c.Data, c.Version = buffers().Draw(rt, "data"), rapid.Int32().Draw(rt, "version")
		default:
			c.Version = rapid.Int32().Draw(rt, "version")
		}
		return c
	})
}

func stats() *rapid.Generator[Stat] {
	return rapid.Custom(func(rt *rapid.T) Stat {
		n := rapid.Int64().Draw(rt, "long")
		return Stat{Czxid: n, Mzxid: n + 1, Ctime: n + 2, Mtime: n + 3, Version: 1, Cversion: 2, Aversion: 3, Owner: -n, DataLength: 4, Children: 5, Pzxid: n + 4}
	})
}

// What is written is read as it was.
func TestRoundTrips(t *testing.T) {
	all := []Op{OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL, OpDelete, OpSetData, OpCheck}
	same := func(rt *rapid.T, what string, want, got any, err error) {
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			rt.Fatalf("%s: %v, -want +got\n%s", what, err, diff)
		}
	}
	body := func(rt *rapid.T, frame []byte, want Request) []byte {
		back, err := ReadFrame(bytes.NewReader(frame))
		if err != nil || !bytes.Equal(back, frame) {
			rt.Fatalf("the frame came back as %x, %v", back, err)
		}
		q, rest, err := ReadRequest(Body(back))
		same(rt, "head", want, q, err)
		return rest
	}
	rapid.Check(t, func(rt *rapid.T) {
		xid := rapid.Int32().Draw(rt, "xid")
		c := changes(all...).Draw(rt, "change")
		got, err := ReadChange(c.Op, body(rt, c.Frame(xid), Request{xid, c.Op}))
		same(rt, "change", c, got, err)

		var parts []Change
		parts = append(parts, rapid.SliceOfN(changes(all...), 0, 4).Draw(rt, "parts")...)
		multi, err := ReadMulti(body(rt, Multi(xid, parts), Request{xid, OpMulti}))
		same(rt, "multi", parts, multi, err)

		stat := stats().Draw(rt, "stat")
		results := []Result{{Op: OpCreate, Path: "/a"}, {Op: OpCreate2, Path: "/b", Stat: stat}, {Op: OpSetData, Stat: stat}, {Op: OpDelete}, {Op: OpError, Err: NoNode}}
		w := Reply{xid, 7, OK}.Write()
		w.Results(results)
		head, rest, err := ReadReply(Body(w.Frame()))
		same(rt, "reply", Reply{xid, 7, OK}, head, err)
		back, err := ReadResults(rest)
		same(rt, "results", results, back, err)

		seen := []Seen{{Op: OpGetData, Data: buffers().Draw(rt, "data"), Stat: stat}, {Op: OpGetChildren, Children: []string{"x"}}, {Op: OpError, Err: NoAuth}}
		w = Reply{}.Write()
		w.Seen(seen)
		_, rest, _ = ReadReply(Body(w.Frame()))
		sight, err := ReadSeen(rest)
		same(rt, "seen", seen, sight, err)

		look := Look{Op: OpExists, Path: c.Path, Watch: true}
		saw, err := ReadLook(OpExists, body(rt, look.Frame(xid), Request{xid, OpExists}))
		same(rt, "look", look, saw, err)

		watches := Watches{Op: OpSetWatches2, Zxid: 9}
		for i := range watches.Paths {
			watches.Paths[i] = append([]string{}, rapid.SliceOfN(texts(), 0, 3).Draw(rt, "paths")...)
		}
		watching, err := ReadWatches(OpSetWatches2, body(rt, watches.Frame(xid), Request{xid, OpSetWatches2}))
		same(rt, "watches", watches, watching, err)

		connect := Connect{LastZxid: 3, TimeoutMS: 4000, Session: 5, Password: []byte("p"), HasReadOnly: xid > 0, ReadOnly: xid > 100}
		connecting, err := ReadConnect(Body(connect.Frame()))
		same(rt, "connect", connect, connecting, err)
		connected := Connected{TimeoutMS: 4000, Session: 5, Password: []byte("p"), HasReadOnly: xid > 0, ReadOnly: xid > 100}
		heard, err := ReadConnected(Body(connected.Frame()))
		same(rt, "connected", connected, heard, err)
	})
}

// A length is believed once its bytes have come: whoever says 64 MB and sends nothing gets no memory.
func TestFramesAreBounded(t *testing.T) {
	if _, err := ReadFrame(bytes.NewReader([]byte{4, 0, 0, 1})); !errors.Is(err, ErrFrame) {
		t.Errorf("a frame of 64 MB and a byte: %v, want %v", err, ErrFrame)
	}
	if _, err := ReadFrame(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff})); !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), "-1 bytes") {
		t.Errorf("a frame of -1 bytes: %v, want %v", err, ErrFrame)
	}
	if _, err := ReadFrame(bytes.NewReader(nil)); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("no frame: %v, want %v", err, io.EOF)
	}
	promised := []byte{4, 0, 0, 0, 'x'}
	result := testing.Benchmark(func(b *testing.B) {
		b.Helper()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ReadFrame(bytes.NewReader(promised)); !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatalf("a frame that is cut off: %v, want %v", err, io.ErrUnexpectedEOF)
			}
		}
	})
	if got := result.AllocedBytesPerOp(); got > 4*chunk {
		t.Errorf("64 MB were promised, one byte came: %d bytes were taken, want at most %d", got, 4*chunk)
	}
	large := NewWriter()
	large.Bytes(bytes.Repeat([]byte("x"), 3<<20))
	if frame, err := ReadFrame(bytes.NewReader(large.Frame())); err != nil || !bytes.Equal(frame, large.Frame()) {
		t.Errorf("a frame of 3 MB came back with %d bytes, %v", len(frame), err)
	}
}

// A count is not believed either.
func TestCountsAreBounded(t *testing.T) {
	for _, record := range []string{"7fffffff", "80000000", "00000002" + "00000000"} {
		b, err := hex.DecodeString(record)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(b)
		if got := r.Texts(); len(got) != 0 || !errors.Is(r.Err(), ErrRecord) {
			t.Errorf("%s: %q, %v; want %v", record, got, r.Err(), ErrRecord)
		}
	}
}

// A part that takes nine bytes on the wire takes a hundred once it is read.
func TestPartsAreBounded(t *testing.T) {
	record := func(n int) []byte {
		w := NewWriter()
		for range n {
			w.head(OpError, false, OK)
			w.Int(0)
		}
		w.head(OpError, true, -1)
		return Body(w.Frame())
	}
	if got, err := ReadResults(record(MaxParts)); len(got) != MaxParts || err != nil {
		t.Errorf("the most that there may be: %d, %v", len(got), err)
	}
	if got, err := ReadResults(record(MaxParts + 1)); got != nil || !errors.Is(err, ErrParts) {
		t.Errorf("results: %d, %v; want %v", len(got), err, ErrParts)
	}
	if got, err := ReadSeen(record(MaxParts + 1)); got != nil || !errors.Is(err, ErrParts) {
		t.Errorf("what was seen: %d, %v; want %v", len(got), err, ErrParts)
	}
	const head = 8
	changes := slices.Repeat([]Change{{Op: OpCheck, Path: "/"}}, MaxParts+1)
	if got, err := ReadMulti(Body(Multi(1, changes))[head:]); got != nil || !errors.Is(err, ErrParts) {
		t.Errorf("changes: %d, %v; want %v", len(got), err, ErrParts)
	}
	if got, err := ReadMulti(Body(Multi(1, changes[1:]))[head:]); len(got) != MaxParts || err != nil {
		t.Errorf("the most changes that there may be: %d, %v", len(got), err)
	}
}

// Whatever is read is written as it was, and nothing makes a reader fall over.
func FuzzRecords(f *testing.F) {
	for _, c := range []Change{
		{Op: OpCreate2, Path: "/services/a/1", Data: []byte("{}"), ACL: []ACL{{31, "world", "anyone"}}, Flags: 1},
		{Op: OpCreateTTL, Path: "/t", TTL: 5},
		{Op: OpDelete, Path: "/a", Version: -1},
		{Op: OpSetData, Path: "/a"},
	} {
		f.Add(int32(c.Op), Body(c.Frame(1)))
	}
	f.Add(int32(OpMulti), Body(Multi(1, []Change{{Op: OpCheck, Path: "/a"}, {Op: OpCreate, Path: "/b"}})))
	f.Add(int32(OpSetWatches), Body((&Watches{Op: OpSetWatches, Paths: [5][]string{{"/a"}}}).Frame(1)))
	f.Add(int32(OpExists), Body(Look{Op: OpExists, Path: "/a"}.Frame(1)))
	f.Fuzz(func(t *testing.T, n int32, frame []byte) {
		op := Op(n)
		again := func(read func([]byte) error, write func() []byte) {
			if read(frame) != nil {
				return
			}
			// Booleans and null lists have more than one form: what is written is read as the same, and written as the same.
			first := write()
			if err := read(Body(first)); err != nil {
				t.Fatalf("what was written is not read: %v", err)
			}
			if second := write(); !bytes.Equal(first, second) {
				t.Fatalf("%x is written as %x", first, second)
			}
		}
		var change Change
		if op.Changes() {
			again(func(b []byte) (err error) {
				change, err = afterHead(b, func(b []byte) (Change, error) { return ReadChange(op, b) })
				return err
			},
				func() []byte { return change.Frame(1) })
		}
		var parts []Change
		again(func(b []byte) (err error) { parts, err = afterHead(b, ReadMulti); return err }, func() []byte { return Multi(1, parts) })
		var watches Watches
		again(func(b []byte) (err error) {
			watches, err = afterHead(b, func(b []byte) (Watches, error) { return ReadWatches(OpSetWatches2, b) })
			return err
		}, func() []byte { return watches.Frame(1) })
		var connect Connect
		again(func(b []byte) (err error) { connect, err = ReadConnect(b); return err }, func() []byte { return connect.Frame() })
		var connected Connected
		again(func(b []byte) (err error) { connected, err = ReadConnected(b); return err }, func() []byte { return connected.Frame() })
		var results []Result
		again(func(b []byte) (err error) { _, rest, _ := ReadReply(b); results, err = ReadResults(rest); return err }, func() []byte {
			w := Reply{}.Write()
			w.Results(results)
			return w.Frame()
		})
		var seen []Seen
		again(func(b []byte) (err error) { _, rest, _ := ReadReply(b); seen, err = ReadSeen(rest); return err }, func() []byte {
			w := Reply{}.Write()
			w.Seen(seen)
			return w.Frame()
		})
		_, _ = ReadMultiRead(frame)
		_, _ = ReadEvent(frame)
	})
}

func afterHead[T any](b []byte, read func([]byte) (T, error)) (T, error) {
	_, rest, err := ReadRequest(b)
	if err != nil {
		var none T
		return none, err
	}
	return read(rest)
}
