package dns

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"
)

// young is how long after a change of a file another one might leave the same time and size behind.
const young = 2 * time.Second

// A cached is what a file says, read again when it changes.
type cached[T any] struct {
	mu      sync.Mutex
	info    fs.FileInfo // of the file when it was read; nil for a missing one
	settled bool        // info would show another change
	data    []byte
	value   *T
}

// get returns what the file says now. While its bytes stay the same, so does the pointer. A missing file is an
// empty one; one that cannot be read leaves what was there before beside the error, nil when there was nothing.
func (c *cached[T]) get(path string, parse func([]byte) T) (*T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(path)
	if err == nil && c.fresh(info) {
		return c.value, nil
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c.value, err
	}
	if err != nil {
		info = nil
	}
	c.info, c.settled = info, info != nil && time.Since(info.ModTime()) > young
	if c.value == nil || !bytes.Equal(data, c.data) {
		value := parse(data)
		c.data, c.value = data, &value
	}
	return c.value, nil
}

func (c *cached[T]) fresh(info fs.FileInfo) bool {
	return c.settled && os.SameFile(info, c.info) && info.Size() == c.info.Size() && info.ModTime().Equal(c.info.ModTime())
}
