package registry

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// PasswordEnv is the variable of the environment that holds the password of a registry's user, where no file is named.
const PasswordEnv = "CROSSFADE_REGISTRY_PASSWORD" //nolint:gosec // the name of one

// maxTTL is the longest time to live that may be asked for.
const maxTTL = time.Hour

var (
	errPassword   = errors.New("a password in a URL is seen by everybody who lists processes: name its file with ?password-file=, or set " + PasswordEnv)
	errNoPassword = errors.New("name its file with ?password-file=, or set " + PasswordEnv)
	errNoUser     = errors.New("there is a password but no user")
)

// A URL names a registry: SCHEME://[USER@]ADDRESSES[/PATH][?QUERY].
type URL struct {
	Scheme    string
	User      string
	Addresses string // as they stand there, with commas
	Path      string // "" or with a slash at its beginning
	Query     url.Values
}

// ParseURL reads a URL with one of these schemes. A password in it is refused.
func ParseURL(raw string, schemes []string) (URL, error) {
	at, rest, _ := strings.Cut(raw, "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 { // net/url knows one address only
		authority, rest = rest[:i], rest[i:]
	} else {
		rest = ""
	}
	parsed, err := url.Parse(at + "://" + rest)
	if err != nil {
		return URL{}, err
	}
	u := URL{Scheme: parsed.Scheme, Path: parsed.Path}
	if !slices.Contains(schemes, u.Scheme) {
		return URL{}, fmt.Errorf("scheme %q is not one of %s", u.Scheme, strings.Join(schemes, ", "))
	}
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		if u.User, err = url.PathUnescape(authority[:i]); err != nil {
			return URL{}, err
		}
		if strings.Contains(u.User, ":") {
			return URL{}, errPassword
		}
		authority = authority[i+1:]
	}
	u.Addresses = authority
	u.Query, err = url.ParseQuery(parsed.RawQuery)
	return u, err
}

// Parameters reads what stands after the question mark: nothing but these, and each once.
func (u URL) Parameters(known map[string]*string) error {
	for name, values := range u.Query {
		switch at := known[name]; {
		case at == nil:
			return fmt.Errorf("there is no %q: there are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case len(values) > 1:
			return fmt.Errorf("%s is there twice", name)
		default:
			*at = values[0]
		}
	}
	return nil
}

// ParseTTL reads for how long an entry stays whose agent is gone.
func ParseTTL(text string, least time.Duration) (time.Duration, error) {
	ttl, err := time.ParseDuration(text)
	if err != nil || ttl < least || ttl > maxTTL {
		return 0, fmt.Errorf("ttl %q: want a duration of %v to %v", text, least, maxTTL)
	}
	return ttl, nil
}

// Password returns that of a user, from a file where one is named, else from PasswordEnv; without a user there is none.
func Password(user, file string) (string, error) {
	if file == "" {
		password := os.Getenv(PasswordEnv)
		switch {
		case user == "":
			return "", nil
		case password == "":
			return "", fmt.Errorf("user %s has no password: %w", user, errNoPassword)
		}
		return password, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if user == "" {
		return "", errNoUser
	}
	password := strings.TrimRight(string(data), "\r\n")
	if password == "" {
		return "", fmt.Errorf("user %s has no password: %s is empty", user, file)
	}
	return password, nil
}

// ShownURL is a URL as an error may repeat it: without a password, which has no business there.
func ShownURL(raw string) string {
	at, rest, is := strings.Cut(raw, "://")
	if !is {
		return raw
	}
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		user, _, _ := strings.Cut(rest[:i], ":")
		rest = user + rest[i:]
	}
	return at + "://" + rest
}
