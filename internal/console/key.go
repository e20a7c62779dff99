package console

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	store "crossfade.dev/internal/store/file"
)

// keySize is how many bytes sessions are signed with.
const keySize = 32

// KeepKey returns the key that sessions are signed with, which a file keeps: who has logged in stays so when control is started
// anew. The first one is made. An error says that it is not kept; the key is good all the same.
func KeepKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	switch {
	case err == nil && len(key) == keySize && private(path):
		return key, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return newKey(), fmt.Errorf("read the console's key: %w", err)
	}
	key = newKey() // whoever could have read another one has nothing by it
	if err := store.Replace(path, key); err != nil {
		return key, fmt.Errorf("keep the console's key: %w", err)
	}
	return key, nil
}

// private says whether nobody else can read a file.
func private(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 == 0
}

func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // it never fails
	return key
}
