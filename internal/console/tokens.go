package console

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
)

// leastToken is how long a token must be, whether it stands in the file itself or by its digest: nobody guesses one of so many
// characters, however often they may try.
const leastToken = 20

// tokens are those of a file, which is read again when it changes.
type tokens struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex // guards the following
	looked  time.Time
	changed time.Time
	size    int64
	byHash  map[string]*entry
}

// An entry is one line.
type entry struct {
	name string
	role Role
	hash string // SHA-256 of the token, in hexadecimal
}

func openTokens(path string, log *slog.Logger) (*tokens, error) {
	t := &tokens{path: path, log: log}
	return t, t.load()
}

// find returns whose a token is; nil where it is nobody's, or one that could be guessed.
func (t *tokens) find(token string) *entry {
	if len(token) < leastToken {
		return nil
	}
	return t.digest(hash(token))
}

// digest returns whose the token of a digest is. Whoever can find a digest by how long we take has no token by it.
func (t *tokens) digest(of string) *entry {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.looked) >= time.Second {
		t.looked = now
		t.again()
	}
	return t.byHash[of]
}

// again reads the file anew where it has changed. One that cannot be read leaves everything as it was, and says so each time.
func (t *tokens) again() {
	info, err := os.Stat(t.path)
	if err == nil && info.ModTime().Equal(t.changed) && info.Size() == t.size {
		return
	}
	if err == nil {
		err = t.load()
	}
	if err != nil {
		t.log.Error("the console's tokens cannot be read; those from before hold", "err", err)
	}
}

func (t *tokens) load() error {
	info, err := os.Stat(t.path)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	data, err := os.ReadFile(t.path)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	all, err := parseTokens(data, info.Mode())
	if err != nil {
		return fmt.Errorf("tokens: %s%w", t.path, err)
	}
	t.byHash, t.changed, t.size = all, info.ModTime(), info.Size()
	return nil
}

// parseTokens reads lines NAME ROLE sha256:HEX, or NAME ROLE TOKEN where only its owner can read the file.
func parseTokens(data []byte, mode fs.FileMode) (map[string]*entry, error) {
	if mode.Perm()&0o022 != 0 {
		return nil, fmt.Errorf(": others may write it (mode %04o): chmod 600 it", mode.Perm())
	}
	all, names := map[string]*entry{}, map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		e, err := parseToken(line, mode)
		switch {
		case err != nil:
		case names[e.name]:
			err = fmt.Errorf("%q has a line already", e.name)
		case all[e.hash] != nil:
			err = fmt.Errorf("%q has the token of %q", e.name, all[e.hash].name)
		}
		if err != nil {
			return nil, fmt.Errorf(":%d: %w", n, err)
		}
		all[e.hash], names[e.name] = e, true
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	if len(all) == 0 {
		return nil, errors.New(": it has no token; want lines NAME ROLE sha256:HEX")
	}
	return all, nil
}

func parseToken(line string, mode fs.FileMode) (*entry, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return nil, fmt.Errorf("want NAME ROLE sha256:HEX, there are %d words", len(fields))
	}
	role, err := ParseRole(fields[1])
	if err != nil {
		return nil, err
	}
	e := &entry{name: fields[0], role: role}
	if len(e.name) > maxUser || strings.ContainsFunc(e.name, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return nil, fmt.Errorf("a name has %d printable bytes at most", maxUser)
	}
	if digest, hashed := strings.CutPrefix(fields[2], "sha256:"); hashed {
		raw, err := hex.DecodeString(digest)
		if err != nil || len(raw) != sha256.Size {
			return nil, errors.New("sha256: is followed by 64 hexadecimal digits: printf %s TOKEN | sha256sum")
		}
		e.hash = hex.EncodeToString(raw)
		return e, nil
	}
	if mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("a token itself stands here and others may read the file (mode %04o): chmod 600 it, or write sha256:HEX", mode.Perm())
	}
	if len(fields[2]) < leastToken {
		return nil, fmt.Errorf("a token has %d characters or more: openssl rand -hex 32", leastToken)
	}
	e.hash = hash(fields[2])
	return e, nil
}

// maxUser bounds a name of somebody.
const maxUser = 64

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
