package zookeeper

import (
	"fmt"
	"path"
	"strings"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/wire/zookeeper"
)

// defaultPaths are where Curator, Spring Cloud and Dubbo register.
const defaultPaths = "/services/*/*,/dubbo/*/providers/*"

// patterns say which ephemeral nodes are registrations.
type patterns struct {
	list  [][]string // by their parts
	named bool       // somebody said them
}

// parsePatterns reads patterns that are separated by commas, under a root.
func parsePatterns(root, said string) (patterns, error) {
	p := patterns{named: said != ""}
	if said == "" {
		said = defaultPaths
	}
	root = strings.TrimSuffix(root, "/")
	for text := range strings.SplitSeq(said, ",") {
		if !strings.HasPrefix(text, "/") || text == "/" || path.Clean(text) != text {
			return p, fmt.Errorf("paths=%s: %q is no path: want /services/*/* or the like", said, text)
		}
		p.list = append(p.list, strings.Split(root+text, "/"))
	}
	return p, nil
}

// has says whether a path is one of a registration.
func (p *patterns) has(at string) bool {
	for _, pattern := range p.list {
		if matches(pattern, at) {
			return true
		}
	}
	return false
}

func matches(pattern []string, at string) bool {
	for i, want := range pattern {
		part, rest, more := strings.Cut(at, "/")
		if want != "*" && want != part || want == "*" && part == "" || more != (i+1 < len(pattern)) {
			return false
		}
		at = rest
	}
	return true
}

// parent returns the path of a node's parent.
func parent(at string) string { return path.Dir(at) }

// base returns the name of a node.
func base(at string) string { return path.Base(at) }

// marked returns a registration as it is passed on with a mark, and whether it has room for one. What has not is passed on
// as it is.
func marked(at string, data []byte, m hold.Mark) (to string, with []byte, room bool) {
	if len(m.Metadata) == 0 && !m.Leaving && (m.Share == 0 || m.Share == 1) {
		return at, data, true
	}
	dir, name := path.Split(at)
	if provider, err := zookeeper.ParseProvider(name); err == nil {
		provider.Mark(m.Metadata, m.Share, m.Leaving)
		return dir + provider.Node(), data, true
	}
	if instance, err := zookeeper.ParseInstance(data); err == nil && instance.Mark(m.Metadata, m.Share, m.Leaving) {
		if with, err := instance.Bytes(); err == nil {
			return at, with, true
		}
	}
	return at, data, false
}
