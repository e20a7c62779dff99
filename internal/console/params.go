package console

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// known refuses parameters that a path does not know: what has no effect must not look as if it had.
func known(values url.Values, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("parameter %q is not known; there are %q", name, names)
		}
	}
	return nil
}

// number reads a whole number from least to most.
func number(values url.Values, name string, otherwise, least, most int) (int, error) {
	text := values.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s=%q: want a whole number from %d to %d", name, text, least, most)
	}
	return n, nil
}

// latest is beyond which seconds are no dates any more.
const latest = 1 << 40

// unix reads a moment in Unix seconds.
func unix(values url.Values, name string, otherwise int64) (int64, error) {
	text := values.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > latest {
		return 0, fmt.Errorf("%s=%q: want seconds since 1970", name, text)
	}
	return n, nil
}

// moment reads a time: RFC 3339, or Unix seconds.
func moment(values url.Values, name string) (time.Time, error) {
	text := values.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	n, err := unix(values, name, 0)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s=%q: want a time such as 2026-01-02T15:04:05Z, or seconds since 1970", name, text)
	}
	return time.Unix(n, 0), nil
}

// oneOf reads one of some words; the first of them where nothing is said.
func oneOf(values url.Values, name string, words []string) (string, error) {
	text := values.Get(name)
	switch {
	case text == "":
		return words[0], nil
	case !slices.Contains(words, text):
		return "", fmt.Errorf("%s=%q: want one of %q", name, text, words)
	}
	return text, nil
}
