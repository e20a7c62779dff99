package feed

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"crossfade.dev/internal/secure"
)

// OpenHelp says what Open takes.
const OpenHelp = "unix:PATH, or tls://HOST:PORT?cert=FILE&key=FILE&ca=FILE[&server-name=NAME]"

// Open returns a client of the control at a place as people name it; see [OpenHelp]. A path alone is a socket's. It does
// not connect. Close it.
func Open(place string) (*Client, error) {
	if path, ok := strings.CutPrefix(place, "unix:"); ok || !strings.Contains(place, "://") {
		if path = strings.TrimPrefix(path, "//"); path == "" {
			return nil, fmt.Errorf("feed %q: want %s", place, OpenHelp)
		}
		return Dial(path)
	}
	u, err := url.Parse(place)
	if err != nil || u.Scheme != "tls" || u.Host == "" || u.User != nil || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return nil, fmt.Errorf("feed %q: want %s", place, OpenHelp)
	}
	said := u.Query()
	for name, values := range said {
		if !slices.Contains([]string{"cert", "key", "ca", "server-name"}, name) || len(values) > 1 {
			return nil, fmt.Errorf("feed %q: %s is not understood, or there twice; want %s", place, name, OpenHelp)
		}
	}
	files := secure.Files{Certificate: said.Get("cert"), Key: said.Get("key"), CA: said.Get("ca")}
	return DialTLS(u.Host, files, said.Get("server-name"))
}
