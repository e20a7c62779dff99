package settings

import (
	"path/filepath"
	"slices"
	"strings"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// A Finding is a config.Finding for a page.
type Finding struct {
	Severity config.Severity `json:"severity"`
	File     string          `json:"file,omitempty"` // relative to the directory
	Line     int             `json:"line,omitempty"`
	Column   int             `json:"column,omitempty"`
	Field    string          `json:"field,omitempty"`
	Message  string          `json:"message"`
	Object   string          `json:"object,omitempty"`
	Rule     config.Rule     `json:"rule,omitempty"`
	Here     bool            `json:"here,omitempty"`  // it is about the document that is edited
	Input    string          `json:"input,omitempty"` // field of the form that it is about
}

// A Check is what a change would come to.
type Check struct {
	OK       bool      `json:"ok"`      // it would be applied
	Changed  bool      `json:"changed"` // it would change a document
	Findings []Finding `json:"findings"`
	Diff     string    `json:"diff"`    // unified; "" where nothing changes
	Effects  []string  `json:"effects"` // what will be otherwise, in sentences
	ID       string    `json:"id"`
	File     string    `json:"file"`
	Line     int       `json:"line"`
	Digest   string    `json:"digest"` // of what is there now; "" of a new one
}

// hold holds a change against all of the configuration.
func (e *Editor) hold(s *shelf, out *plan) {
	p := &out.proposal
	stored := s.stored()
	before, was := e.asItIs(s)
	var over map[string][]byte
	var about []config.Finding
	switch {
	case p.source == fromEtcd && p.remove:
		delete(stored, out.namespace+"/"+out.name)
	case p.source == fromEtcd:
		stored[out.namespace+"/"+out.name] = p.text
		_, about = config.ParseLifecycles(fromEtcd, []byte(p.text))
	default:
		over = map[string][]byte{e.path(out.file.rel): nil}
		if out.file.data != nil {
			over[e.path(out.file.rel)] = []byte(*out.file.data)
		}
	}
	after, now := e.load(over, stored)
	for _, f := range append(about, now...) {
		out.Findings = append(out.Findings, e.finding(f, out))
	}
	slices.SortStableFunc(out.Findings, func(a, b Finding) int { return rank(a) - rank(b) })
	out.OK = noWorse(was, now) && !slices.ContainsFunc(out.Findings, func(f Finding) bool { return f.Here && f.Severity == config.Error })
	switch {
	case !out.OK:
	case after == nil:
		out.Effects = []string{"Nothing comes into force yet: the configuration has other errors."}
	case before == nil:
		out.Effects = []string{"The configuration is without errors again, and comes into force as a whole."}
	default:
		out.Effects = effects(before, after, e.workloads(after))
	}
	if p.holds != nil && after != nil && out.OK {
		if why := p.holds(after); why != "" {
			out.OK = false
			out.Findings = append(out.Findings, Finding{File: out.File, Line: out.Line, Message: e.shortened(why), Rule: config.Conflict, Here: true})
		}
	}
}

// rank puts errors first, and what is about the document before what is about others.
func rank(f Finding) int {
	r := int(f.Severity) * 2
	if !f.Here {
		r++
	}
	return r
}

// asItIs is what all documents come to as they are.
func (e *Editor) asItIs(s *shelf) (*fleet.Desired, []config.Finding) {
	if !s.loaded {
		s.desired, s.findings = e.load(nil, s.stored())
		s.loaded = true
	}
	return s.desired, s.findings
}

// load reads the configuration with other files laid over it, and with the Lifecycles of the store.
func (e *Editor) load(over map[string][]byte, stored map[string]string) (*fleet.Desired, []config.Finding) {
	desired, findings := config.LoadOver(e.Dir, over, e.Options)
	if desired == nil {
		return nil, findings
	}
	files := map[string]bool{}
	for i := range desired.Lifecycles {
		files[desired.Lifecycles[i].Namespace+"/"+desired.Lifecycles[i].Name] = true
	}
	for name, text := range stored {
		parsed, _ := config.ParseLifecycles(name, []byte(text)) // control has told what is wrong with it
		for _, l := range parsed {
			key := l.Namespace + "/" + l.Name
			if key == name && !files[key] {
				l.Origin = fleet.Origin{Kind: "Lifecycle", Name: key}
				desired.Lifecycles = append(desired.Lifecycles, l)
			}
		}
	}
	slices.SortStableFunc(desired.Lifecycles, func(a, b fleet.Lifecycle) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return desired, findings
}

// noWorse says whether there are no errors now that were not there before.
func noWorse(before, now []config.Finding) bool {
	had := map[config.Finding]int{}
	of := func(f config.Finding) config.Finding { // lines move, and messages say what else there is
		f.Line, f.Column, f.Message = 0, 0, ""
		return f
	}
	for _, f := range before {
		had[of(f)]++
	}
	for _, f := range now {
		if f.Severity != config.Error {
			continue
		}
		if had[of(f)]--; had[of(f)] < 0 {
			return false
		}
	}
	return true
}

// shortened is a message with names of files relative to the directory.
func (e *Editor) shortened(message string) string {
	return strings.ReplaceAll(message, e.base()+string(filepath.Separator), "")
}

// finding is a finding as the page has it. Of files outside of the directory it says nothing but that there is one.
func (e *Editor) finding(f config.Finding, out *plan) Finding {
	if out != nil && out.proposal.source == fromEtcd && f.File == fromEtcd {
		return Finding{f.Severity, "", f.Line, f.Column, f.Field, f.Message, f.Object, f.Rule, true, out.proposal.inputs[f.Field]}
	}
	rel, inside := e.relative(f.File)
	if !inside {
		return Finding{Severity: f.Severity, Rule: f.Rule, Message: "a file outside of the configuration's directory, which a document names, has a fault; crossfade validate says which"}
	}
	page := Finding{Severity: f.Severity, File: rel, Line: f.Line, Column: f.Column, Field: f.Field, Object: f.Object, Rule: f.Rule}
	page.Message = e.shortened(f.Message)
	if out != nil && out.proposal.source == fromFile && rel == out.file.rel && f.Line >= out.file.line && f.Line < out.file.line+out.file.lines {
		page.Here, page.Input = true, out.proposal.inputs[f.Field]
	}
	return page
}
