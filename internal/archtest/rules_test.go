package archtest

import (
	"go/ast"
	"slices"
	"testing"
)

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	all, _ := dirs(t)
	for _, d := range all {
		docs, code := 0, false
		for _, f := range d.files {
			code = code || !f.test
			if f.Doc != nil {
				docs++
			}
		}
		if docs != 1 && (code || docs > 1) {
			t.Errorf("%s has %d package comments, want 1", d.path, docs)
		}
	}
}

func TestNothingHappensBeforeMain(t *testing.T) {
	all, fset := dirs(t)
	for _, d := range all {
		for _, f := range d.files {
			for _, decl := range f.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil {
					t.Errorf("%s: no init functions", fset.Position(fn.Pos()))
				}
			}
		}
	}
}

// firstWithClock is the floor on which time begins to pass.
const firstWithClock = 3

func TestLowerFloorsReadNoClockAndStartNothing(t *testing.T) {
	house := readPlan(t)
	all, fset := dirs(t)
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"}
	for _, d := range all {
		if place, known := house.rooms[d.room()]; !known || place.floor >= firstWithClock {
			continue
		}
		for _, f := range d.files {
			if f.test {
				continue
			}
			ast.Inspect(f.File, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: %s may not start a goroutine: that is the business of floors %d and up", fset.Position(n.Pos()), d.room(), firstWithClock)
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
						t.Errorf("%s: %s may not read the clock: take now as an argument", fset.Position(n.Pos()), d.room())
					}
				}
				return true
			})
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	const most = 400
	all, fset := dirs(t)
	for _, d := range all {
		for _, f := range d.files {
			if lines := fset.Position(f.FileEnd).Line; !f.test && lines > most {
				t.Errorf("%s has %d lines, want at most %d", fset.Position(f.Pos()).Filename, lines, most)
			}
		}
	}
}
