package settings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"crossfade.dev/internal/config"
)

// A digestError is an ErrDigest with what is there now.
type digestError struct{ now string }

func (*digestError) Error() string { return ErrDigest.Error() }

func (*digestError) Unwrap() error { return ErrDigest }

// A refusal is a change that would bring errors in.
type refusal struct {
	why      string // "" is the first error
	findings []Finding
}

func (r *refusal) Error() string {
	if r.why != "" {
		return r.why
	}
	for _, f := range r.findings {
		if f.Severity == config.Error {
			return "the change is refused: " + strings.TrimPrefix(f.Field+": ", ": ") + f.Message
		}
	}
	return "the change is refused"
}

// An Applied is a change that was made.
type Applied struct {
	Applied bool   `json:"applied"`
	Changed bool   `json:"changed"` // something was written: false where all of it stood there already
	ID      string `json:"id"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Digest  string `json:"digest"` // of the document as it is now; "" of one that has gone
}

// apply makes a change, or says with a *refusal, an ErrDigest or an ErrReadOnly why not. One that is made already is made.
func (e *Editor) apply(ctx context.Context, by string, propose propose, digest *string) (*Applied, error) {
	e.writing.Lock()
	defer e.writing.Unlock()
	p, err := e.check(ctx, propose, digest)
	if err != nil {
		return nil, err
	}
	done := &Applied{Applied: true, Changed: p.Changed, ID: p.ID, File: p.File, Line: p.Line, Digest: p.Digest}
	switch why := e.whyNot(&p.proposal.draft); {
	case p.Changed && why != "":
		return nil, fmt.Errorf("%w: %s", ErrReadOnly, why)
	case !p.OK:
		return nil, &refusal{findings: p.Findings}
	case !p.Changed:
		return done, nil
	}
	if err := e.carryOut(ctx, p); err != nil {
		return nil, err
	}
	c := Change{By: by, What: p.what, Action: p.proposal.action(), File: p.File, Line: p.Line}
	if done.Digest = textDigest(p.proposal.text); p.proposal.remove {
		done.Line, done.Digest = 0, ""
	}
	e.log().InfoContext(ctx, "configuration is edited", "by", by, "what", c.What, "action", c.Action, "file", c.File)
	if e.Changed != nil {
		e.Changed(ctx, c)
	}
	return done, nil
}

// whyNot says why a draft may not be written; "" is that it may.
func (e *Editor) whyNot(d *draft) string {
	if e.ReadOnly == "" && d.was != nil && !d.was.Writable {
		return d.was.Why
	}
	return e.ReadOnly
}

func (d *draft) action() string {
	switch {
	case d.remove:
		return "deleted"
	case d.was == nil:
		return "created"
	}
	return "changed"
}

// carryOut writes what was planned.
func (e *Editor) carryOut(ctx context.Context, p *plan) error {
	if p.proposal.source != fromEtcd {
		return e.write(ctx, p.file.fileChange)
	}
	var was, next *string
	if d := p.proposal.was; d != nil {
		was = &d.text
	}
	if !p.proposal.remove {
		next = &p.proposal.text
	}
	done, err := e.Store.SwapLifecycle(ctx, p.namespace, p.name, was, next)
	if err == nil && !done {
		err = ErrDigest
	}
	return err
}

func (e *Editor) log() *slog.Logger {
	if e.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return e.Log
}

// A documentRequest is what somebody wants a document to be.
type documentRequest struct {
	ID     string  `json:"id"`
	YAML   string  `json:"yaml"`
	Digest *string `json:"digest"`
	File   string  `json:"file"`
	Source string  `json:"source"`
}

// proposeText makes a proposal of a request for a document's text.
func (e *Editor) proposeText(r *documentRequest) propose {
	return func(s *shelf) (proposal, error) {
		if r.ID == "" {
			return e.proposeNew(s, r)
		}
		d, err := s.find(r.ID)
		switch {
		case err != nil:
			return proposal{}, err
		case d.fixed: // a difference would show what is hidden of it
			return proposal{}, fmt.Errorf("%w: %s", ErrReadOnly, d.Why)
		case r.File != "" && r.File != d.File || r.Source != "" && r.Source != d.Source:
			return proposal{}, fmt.Errorf("%s: %w: a document stays where it is; create another and delete this one", d.ID, ErrRequest)
		}
		p := proposal{draft: draft{was: d, text: normal(r.YAML, s.files[d.File]), source: d.Source}, seen: d.Digest}
		if p.text == normal(d.text, s.files[d.File]) {
			p.text = d.text // but for the end of its last line
		}
		return p, nil
	}
}

// proposeNew is about a document that is not there yet; one that is there as it is asked for stays.
func (e *Editor) proposeNew(s *shelf, r *documentRequest) (proposal, error) {
	head := newDocument(normal(r.YAML, ""))
	p := proposal{draft: draft{file: r.File, source: cmp.Or(r.Source, fromFile)}}
	if p.source == fromFile {
		p.file = cmp.Or(p.file, e.fileFor(head.Kind, head.Name))
	}
	if err := e.placeOf(&p.draft); err != nil {
		return p, err
	}
	p.text = normal(r.YAML, s.files[p.file])
	head.Source = p.source
	d, err := s.find(identity(&head))
	switch {
	case errors.Is(err, ErrUnknown):
		return p, nil
	case err != nil:
		return p, err
	case d.text == p.text:
		p.was, p.seen = d, d.Digest
	case p.source == fromEtcd: // of files config says it
		p.findings = []Finding{{Field: "metadata.name", Message: head.what() + " is in etcd already; edit it, or choose another name", Rule: config.Conflict, Here: true}}
	}
	return p, nil
}

// placeOf checks where a new document is to stand.
func (e *Editor) placeOf(d *draft) error {
	switch {
	case d.source == fromFile:
		return e.destination(d.file)
	case d.source != fromEtcd:
		return fmt.Errorf("source %q: %w: it is file or etcd", d.source, ErrRequest)
	case e.Store == nil:
		return fmt.Errorf("source: %w: there is no etcd that keeps Lifecycles; write a file", ErrRequest)
	case d.file != "":
		return fmt.Errorf("file: %w: what is kept in etcd has none", ErrRequest)
	}
	return nil
}

// proposeDelete is about a document that is to go.
func proposeDelete(id string) propose {
	return func(s *shelf) (proposal, error) {
		d, err := s.find(id)
		if err != nil {
			return proposal{}, err
		}
		if d.fixed {
			return proposal{}, fmt.Errorf("%w: %s", ErrReadOnly, d.Why)
		}
		return proposal{draft: draft{was: d, remove: true, source: d.Source}, seen: d.Digest}, nil
	}
}

// fileFor is where a new document is written when nobody says where.
func (e *Editor) fileFor(kind, name string) string {
	if e.oneFile() {
		return filepath.Base(e.Dir)
	}
	file := strings.ToLower(kind) + "-" + name + ".yaml"
	if kind == "" || name == "" || e.destination(file) != nil {
		return "document.yaml" // config says what is wrong with its name
	}
	return file
}
