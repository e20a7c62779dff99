package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// A frame is one record of a log on disk: its length and its checksum, four bytes each, then the record.
const (
	frameHead = 8
	mostFrame = 64 << 20
)

// errDamaged says that a log has something in it that nobody wrote.
var errDamaged = errors.New("damaged")

// appendFrame appends a record to data, framed.
func appendFrame(data, record []byte) []byte {
	data = binary.LittleEndian.AppendUint32(data, uint32(len(record)))
	data = binary.LittleEndian.AppendUint32(data, crc32.ChecksumIEEE(record))
	return append(data, record...)
}

// readFrames calls take with each record of the first limit bytes of a log, and returns how many bytes they are. The error wraps
// errDamaged where a record is not as it was written, or the log is shorter; what comes before is taken.
func readFrames(path string, limit int64, take func(record []byte) error) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	short := int64(len(data)) < limit
	data = data[:min(int64(len(data)), limit)]
	at := 0
	for at < len(data) {
		record, ok := frame(data[at:])
		if !ok {
			return int64(at), fmt.Errorf("%w at byte %d", errDamaged, at)
		}
		if err := take(record); err != nil {
			return int64(at), fmt.Errorf("%w at byte %d: %w", errDamaged, at, err)
		}
		at += frameHead + len(record)
	}
	if short {
		return int64(at), fmt.Errorf("%w: it ends at byte %d", errDamaged, at)
	}
	return int64(at), nil
}

// frame returns the record that data begins with.
func frame(data []byte) ([]byte, bool) {
	if len(data) < frameHead {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(data)
	if n > mostFrame || int(n) > len(data)-frameHead {
		return nil, false
	}
	record := data[frameHead : frameHead+n]
	return record, crc32.ChecksumIEEE(record) == binary.LittleEndian.Uint32(data[4:])
}

// extend writes data behind the first from bytes of a log, and drops what else was there: it was written and never meant.
func extend(path string, from int64, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(from)
	if err == nil {
		_, err = f.Seek(from, io.SeekStart)
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
