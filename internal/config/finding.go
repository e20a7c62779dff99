package config

import (
	"cmp"
	"fmt"
	"slices"
)

// A Severity says whether a finding keeps the configuration from being applied.
type Severity uint8

// The severities.
const (
	Error   Severity = iota // nothing of the configuration is applied
	Warning                 // it is applied; somebody should look
)

func (s Severity) String() string {
	if s == Error {
		return "error"
	}
	return "warning"
}

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a severity's name.
func (s *Severity) UnmarshalText(b []byte) error {
	for _, severity := range []Severity{Error, Warning} {
		if severity.String() == string(b) {
			*s = severity
			return nil
		}
	}
	return fmt.Errorf("unknown severity %q", b)
}

// A Finding is one thing about the configuration that somebody should know, with the place it is about.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"`   // from 1; 0 when the finding is about the whole file
	Column   int      `json:"column,omitempty"` // from 1
	Severity Severity `json:"severity"`
	Rule     Rule     `json:"rule"`             // what kind of finding it is: stable, for tools
	Object   string   `json:"object,omitempty"` // "DestinationRule default/reviews"
	Field    string   `json:"field,omitempty"`  // "spec.subsets[0].name"
	Message  string   `json:"message"`          // what is wrong and what to do
}

// A Rule is a kind of finding.
type Rule string

// The rules.
const (
	Syntax       Rule = "syntax"        // not YAML, or not one object a document
	UnknownField Rule = "unknown-field" // no such field
	UnknownKind  Rule = "unknown-kind"  // no such kind or apiVersion
	Unsupported  Rule = "unsupported"   // valid, but crossfade does not apply it yet
	NotEnforced  Rule = "not-enforced"  // valid, but crossfade does not do it yet; a warning under Options.Lenient
	WrongType    Rule = "wrong-type"    // a string where a number belongs
	Invalid      Rule = "invalid"       // the value breaks a rule of its field
	Missing      Rule = "missing"       // a field that must be there is not
	Reference    Rule = "reference"     // names something that does not exist
	Conflict     Rule = "conflict"      // says something that another place contradicts
	Unused       Rule = "unused"        // applied, but nothing comes of it
	Shadowed     Rule = "shadowed"      // never reached, since something before it takes all of its requests
	Costly       Rule = "costly"        // would cost every request too much
	Doubtful     Rule = "doubtful"      // applied, but hardly what was meant
	Deprecated   Rule = "deprecated"    // applied, but there is a newer way to say it
	Certificate  Rule = "certificate"   // a certificate, key or authority that cannot be served with, or not for long
	Unreadable   Rule = "unreadable"    // the file cannot be read
)

// String writes the finding on one line: file:line:column: severity: field: message.
func (f Finding) String() string {
	place := f.File
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
	}
	if f.Field == "" {
		return fmt.Sprintf("%s: %s: %s", place, f.Severity, f.Message)
	}
	return fmt.Sprintf("%s: %s: %s: %s", place, f.Severity, f.Field, f.Message)
}

// HasErrors says whether any of the findings is an error.
func HasErrors(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Error })
}

// tidy puts findings in the order of files and lines, each once.
func tidy(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Field, b.Field),
			cmp.Compare(a.Message, b.Message),
		)
	})
	return slices.Compact(findings)
}
