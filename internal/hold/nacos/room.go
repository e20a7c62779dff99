package nacos

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"unicode/utf16"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// Nacos takes so many characters of metadata, names and values together, unless somebody has switched that off. Some are kept
// free for what a mark says only later: that the instance leaves.
const (
	roomForAll = 1024
	roomFree   = 32
)

// dispensable are keys of a mark, or how they begin, that are left out first, and next, where there is no room.
func dispensable() [][]string {
	return [][]string{
		{"address", "ports."}, // the registration has its own
		{"labels.", "check_", "name", "workload", "bound_ms", "front"},
	}
}

// fitting returns of a mark's metadata what Nacos takes beside the instance's own, which it would take without us: all of it,
// most, what the warm-up goes by, or nothing. An instance that has more by itself is registered where nobody counts.
func fitting(mark map[string]string, in wire.Instance) map[string]string {
	own := characters(in.Metadata)
	if own > roomForAll || own+characters(mark) <= roomForAll-roomFree {
		return mark
	}
	left := maps.Clone(mark) // a mark's is shared
	for _, prefixes := range dispensable() {
		maps.DeleteFunc(left, func(key, _ string) bool {
			for _, prefix := range prefixes {
				if strings.HasPrefix(key, registry.Prefix+prefix) {
					return true
				}
			}
			return false
		})
		if own+characters(left) <= roomForAll-roomFree {
			return left
		}
	}
	return nil
}

// tellCramped says once of a registration that there is no room for all of its mark.
func (s *serving) tellCramped(once *sync.Once, key hold.Key, m hold.Mark, all []wire.Instance) {
	for _, in := range all {
		if len(says(m, in)) < len(m.Metadata) {
			once.Do(func() {
				s.gate.Note(unread, fmt.Sprintf("%s; passed on without some of what agents publish: Nacos takes %d characters of metadata", key, roomForAll))
			})
		}
	}
}

// characters counts as Java does.
func characters(metadata map[string]string) (n int) {
	for key, value := range metadata {
		n += len(utf16.Encode([]rune(key))) + len(utf16.Encode([]rune(value)))
	}
	return n
}
