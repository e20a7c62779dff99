package secure

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

var (
	errIrregular = errors.New("not a regular file")
	errTooLarge  = errors.New("larger than a megabyte")
)

// A pemFile is a file as it was last read. The zero path is no file.
type pemFile struct {
	path  string
	data  []byte
	fresh bool // data has changed since whoever reads it said that it is done with it

	info fs.FileInfo // as it was before it was read
	read time.Time
}

// refresh reads the file again if it may have changed: if it is another one, after links; if its time or size
// differ; if it was written so close to the last reading that both may bear one time; and once in a while, for
// those who set times back. What was read stays when the file cannot be read.
func (f *pemFile) refresh(now time.Time) error {
	const (
		near  = 2 * time.Second
		while = 30 * time.Second
	)
	if f.path == "" {
		return nil
	}
	info, err := os.Stat(f.path)
	if err != nil {
		f.info = nil
		return err // it names the operation and the path
	}
	same := f.info != nil && os.SameFile(info, f.info) && info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime())
	if same && f.read.Sub(info.ModTime()) > near && now.Sub(f.read) < while {
		return nil
	}
	data, err := contents(f.path, info)
	if err != nil {
		f.info = nil
		return err
	}
	f.info, f.read = info, now
	if f.data == nil || !bytes.Equal(data, f.data) {
		f.data, f.fresh = data, true
	}
	return nil
}

// contents reads a file of PEM blocks.
func contents(path string, info fs.FileInfo) ([]byte, error) {
	const most = 1 << 20
	if !info.Mode().IsRegular() { // or reading could wait for ever
		return nil, fmt.Errorf("%s: %w", path, errIrregular)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && len(data) > most {
		return nil, fmt.Errorf("%s: %w", path, errTooLarge)
	}
	return data, err
}
