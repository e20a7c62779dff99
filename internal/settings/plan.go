package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// A proposal is a change that somebody asks for.
type proposal struct {
	draft

	seen     string                                  // digest of what it was made of
	findings []Finding                               // about itself
	inputs   map[string]string                       // fields of a form, by fields of the document
	holds    func(after *fleet.Desired) (why string) // whether what was meant comes true; nil: it is what is written
}

// A propose makes a proposal of all documents, as they are.
type propose func(*shelf) (proposal, error)

// A plan is a proposal that has been checked, and how it is made.
type plan struct {
	Check

	proposal        proposal
	file            composed
	namespace, name string // of the document
	what            string // likewise, with its kind
}

// plan checks a proposal.
func (e *Editor) plan(s *shelf, p proposal) *plan {
	out := &plan{proposal: p, file: composed{line: 1}}
	if p.source == "" {
		out.Check = Check{
			OK: len(p.findings) == 0, Findings: append([]Finding{}, p.findings...), Effects: []string{},
			ID: p.was.ID, File: p.was.File, Line: p.was.Line, Digest: p.was.Digest,
		}
		return out
	}
	if p.source == fromFile {
		out.file = e.compose(s, &p.draft)
	}
	out.Check = Check{Changed: !p.same(), File: out.file.rel, Line: out.file.line, Effects: []string{}, Findings: p.findings}
	head := newDocument(p.text)
	if p.was != nil {
		out.ID, out.Digest = p.was.ID, p.was.Digest
	}
	if p.remove {
		head = *p.was
	} else {
		out.Findings = append(out.Findings, e.headFindings(&p, &head, out)...)
	}
	if head.Source = p.source; !p.remove && (p.was == nil || p.was.Name == "") { // one that could not be read may have a name now
		head.File = out.file.rel
		out.ID = identity(&head)
	}
	out.namespace, out.name, out.what = head.Namespace, head.Name, head.what()
	if len(out.Findings) == 0 {
		e.hold(s, out)
		if _, err := root(p.text); err != nil && !p.remove { // however little else may be right: nobody knows what it would come to
			out.OK = false
		}
	}
	if out.Findings == nil {
		out.Findings = []Finding{}
	}
	if out.Changed && !head.Hidden {
		out.Diff = out.difference()
	}
	return out
}

// headFindings are about what a document says it is.
func (e *Editor) headFindings(p *proposal, head *document, out *plan) []Finding {
	fail := func(field, format string, args ...any) []Finding {
		line := out.file.line
		if n := at(head.root, strings.Split(field, ".")...); n != nil && field != "" {
			line += n.Line - 1
		}
		return []Finding{{File: out.File, Line: line, Field: field, Message: fmt.Sprintf(format, args...), Rule: config.Invalid, Here: true}}
	}
	spans := split(p.text)
	_, err := root(p.text)
	switch {
	case unusual(p.text): // what is one document for us could be several for YAML
		return fail("", "has an end of a line that only YAML knows; write it as an escape in quotes, such as \"\\r\" or \"\\L\"")
	case len(spans) != 1:
		return fail("", "there are %d documents; send exactly one", len(spans))
	case errors.Is(err, errSeveral):
		return fail("", "%v", err)
	case head.Hidden:
		return fail("", "holds a secret, which is not sent through a page; write it into its file")
	case err != nil && out.file.data == nil:
		return fail("", "not YAML: %v", err)
	case err != nil:
		return nil // config says it better
	case head.root == nil:
		return fail("", "a document is a mapping, with apiVersion, kind and metadata")
	}
	return e.kindFindings(p, head, out, fail)
}

// kindFindings are about a document that can be read.
func (e *Editor) kindFindings(p *proposal, head *document, out *plan, fail func(field, format string, args ...any) []Finding) []Finding {
	switch renamed := p.was != nil && p.was.Name != "" && p.was.Kind != "" && head.what() != p.was.what(); {
	case !head.Writable:
		return fail("kind", "%s", head.Why)
	case p.source == fromEtcd && head.Kind != "Lifecycle":
		return fail("kind", "only Lifecycles are kept in etcd")
	case renamed:
		return fail("metadata.name", "it is %s now and was %s; to rename it create another document and delete this one", head.what(), p.was.what())
	case strings.EqualFold(filepath.Ext(out.File), ".json") && !json.Valid([]byte(*out.file.data)):
		return fail("", "the file is JSON; write JSON")
	}
	return nil
}

// difference is the unified difference of the document.
func (p *plan) difference() string {
	name := p.File
	if p.proposal.source == fromEtcd {
		name = "etcd/" + p.namespace + "/" + p.name
	}
	was, is, from, to := "", p.proposal.text, "/dev/null", name
	if d := p.proposal.was; d != nil {
		was, from = d.text, name
	}
	if p.proposal.remove {
		is, to = "", "/dev/null"
	}
	return unified(from, to, was, is, max(1, p.Line))
}

// check is what a proposal comes to.
func (e *Editor) check(ctx context.Context, propose propose, digest *string) (*plan, error) {
	s := e.shelf(ctx)
	p, err := propose(s)
	if err == nil && p.source == fromEtcd {
		err = s.away
	}
	if err != nil {
		return nil, err
	}
	if digest != nil && *digest != p.seen && !p.same() {
		return nil, &digestError{p.seen}
	}
	return e.plan(s, p), nil
}
