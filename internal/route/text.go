package route

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"crossfade.dev/internal/fleet"
)

// A comparison is a way to compare text.
type comparison uint8

const (
	anything comparison = iota
	exactly
	beginning
	expression
)

// A text is a fleet.StringMatch, ready to use.
type text struct {
	how     comparison
	fold    bool   // without regard to ASCII case; not of an expression
	literal []byte // the whole, or the beginning; for an expression, what every match begins with
	regex   *regexp.Regexp
	line    bool // beginning: nothing that follows may be a line feed, as ".*" has it
}

// newText compiles s. An expression that is no more than a literal, or a literal and ".*", is compared as that.
// The error wraps ErrRegex.
func newText(s fleet.StringMatch, fold bool) (text, error) {
	switch {
	case s.Exact != "":
		return text{how: exactly, literal: []byte(s.Exact), fold: fold}, nil
	case s.Prefix != "":
		return text{how: beginning, literal: []byte(s.Prefix), fold: fold}, nil
	case s.Regex == "":
		return text{}, nil
	}
	regex, err := CompileRegex(s.Regex)
	if err != nil {
		return text{}, err
	}
	if literal, rest := strings.CutSuffix(s.Regex, ".*"); rest {
		if plain, whole := literalOf(literal); whole {
			return text{how: beginning, literal: []byte(plain), line: true}, nil
		}
	}
	plain, whole := literalOf(s.Regex)
	if whole {
		return text{how: exactly, literal: []byte(plain)}, nil
	}
	return text{how: expression, literal: []byte(plain), regex: regex}, nil
}

// literalOf returns what every match of an expression begins with, and whether that is the whole of it.
func literalOf(expr string) (literal string, whole bool) {
	re, err := regexp.Compile(expr)
	if err != nil { // cut from an expression that compiles, but does not itself
		return "", false
	}
	return re.LiteralPrefix()
}

// CompileRegex compiles an RE2 expression that must match the whole of a string. The error wraps ErrRegex.
func CompileRegex(expr string) (*regexp.Regexp, error) {
	// The expression has to stand on its own: "a)(b" compiles only inside the anchors.
	_, err := regexp.Compile(expr)
	if err == nil {
		var re *regexp.Regexp
		if re, err = regexp.Compile(`\A(?:` + expr + `)\z`); err == nil {
			return re, nil
		}
	}
	reason := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	return nil, fmt.Errorf("%w %q: %s", ErrRegex, expr, reason)
}

// holds says whether b compares.
func (t *text) holds(b []byte) bool {
	switch t.how {
	case anything:
		return true
	case exactly:
		return len(b) == len(t.literal) && t.begins(b)
	case beginning:
		return t.begins(b) && (!t.line || bytes.IndexByte(b[len(t.literal):], '\n') < 0)
	case expression:
		return bytes.HasPrefix(b, t.literal) && t.regex.Match(b)
	default:
		return false
	}
}

func (t *text) begins(b []byte) bool {
	if !t.fold {
		return bytes.HasPrefix(b, t.literal)
	}
	if len(b) < len(t.literal) {
		return false
	}
	for i, c := range t.literal {
		if c != b[i] && toLower(c) != toLower(b[i]) {
			return false
		}
	}
	return true
}
