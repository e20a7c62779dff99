package config

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	tableHead  = "| field | what becomes of it | since | note |\n|---|---|---|---|\n"
	guide      = "../../docs/guides/istio.md"
	ownGuide   = "../../docs/guides/lifecycle.md" // of crossfade's own kinds
	guideBegin = "<!-- begin generated -->\n"
	guideEnd   = "<!-- end generated -->\n"
)

// TestGuide holds the tables for people against the decisions of the reader.
func TestGuide(t *testing.T) {
	var text, own strings.Builder
	text.WriteString("\n### Every kind\n\n" + tableHead)
	for _, d := range metadataTable {
		row(&text, d.Field, effectText(d), since(d), d.Note)
	}
	for _, field := range []string{"metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds", "metadata.generateName"} {
		row(&text, field, "not supported yet", "–", "")
	}
	for _, k := range Kinds() {
		if slices.Contains(k.Versions, ownVersion) {
			writeKind(&own, &k)
		} else {
			writeKind(&text, &k)
		}
	}
	generated(t, guide, text.String())
	generated(t, ownGuide, own.String())
}

// generated holds the generated part of a page against what it should be.
func generated(t *testing.T, page, text string) {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(data), guideBegin)
	_, after, ended := strings.Cut(rest, guideEnd)
	if !begun || !ended {
		t.Fatalf("%s lacks %q or %q", page, guideBegin, guideEnd)
	}
	golden(t, page, before+guideBegin+text+"\n"+guideEnd+after)
}

func writeKind(w *strings.Builder, k *Kind) {
	fmt.Fprintf(w, "\n### %s\n\n`%s`\n\n%s", k.Name, strings.Join(k.Versions, "`, `"), tableHead)
	for _, d := range k.Decisions {
		if isCommon(d) {
			continue // once, under "every kind"
		}
		note := d.Note
		if d.Values != nil {
			note = strings.Trim("only `"+strings.Join(d.Values, "`, `")+"`; "+note, "; ")
		}
		row(w, d.Field, effectText(d), since(d), note)
	}
	for _, field := range undecided(k) {
		if strings.HasPrefix(field, "metadata.") {
			continue
		}
		row(w, field, "not supported yet", "–", "")
	}
}

func row(w *strings.Builder, field, effect, since, note string) {
	fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", field, effect, since, strings.ReplaceAll(note, "|", `\|`))
}

func isCommon(d Decision) bool {
	return slices.ContainsFunc(metadataTable, func(c Decision) bool { return c.Field == d.Field && c.Note == d.Note })
}

func effectText(d Decision) string {
	return map[Effect]string{
		Applied: "applied", Inert: "inert", Unenforced: "not enforced yet", Refused: "refused",
	}[d.Effect]
}

func since(d Decision) string {
	switch {
	case d.Effect != Applied && d.Effect != Inert:
		return "–"
	case d.Since == "":
		return "0.1"
	default:
		return d.Since
	}
}

// undecided returns the fields that the schema of a kind has and that no decision is about, the topmost of each.
func undecided(k *Kind) []string {
	rules := newRules(k.Decisions)
	var list []string
	var walk func(s *shape, at spot)
	walk = func(s *shape, at spot) {
		switch s.is {
		case listShape, mapShape:
			walk(s.elem, at.item(""))
			return
		case objectShape:
		default:
			return
		}
		names := map[string]*fieldShape{}
		for _, f := range s.all() {
			names[f.name] = f
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			next := at.child(name)
			switch d, below := rules.at(next.pattern); {
			case d == nil && !below:
				list = append(list, next.pattern)
			case d == nil:
				walk(names[name].shape, next)
			}
		}
	}
	walk(k.shape(newShapes()), spot{})
	return list
}

// TestDecisionsAreAboutFields makes sure that the schema has every field that a decision names.
func TestDecisionsAreAboutFields(t *testing.T) {
	for _, k := range Kinds() {
		for _, d := range k.Decisions {
			if isCommon(d) || strings.HasPrefix(d.Field, "metadata.annotations[") {
				continue
			}
			s := k.shape(newShapes())
			for step := range strings.SplitSeq(d.Field, ".") {
				name := strings.TrimRight(step, "[]")
				f := s.field(name)
				if f == nil {
					t.Errorf("%s has no field %s", k.Name, d.Field)
					break
				}
				s = f.shape
				for range strings.Count(step, "[]") {
					if s.is != listShape && s.is != mapShape {
						t.Fatalf("%s: %s is no list or mapping", k.Name, d.Field)
					}
					s = s.elem
				}
			}
		}
	}
}
