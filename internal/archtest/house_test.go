package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root    = "../.."
	module  = "crossfade.dev/"
	indoors = module + "internal/"
)

// A plan is what docs/architecture.md says about the house.
type plan struct {
	rooms      map[string]place
	guests     map[string][]string // by room: the modules that it may bring in
	testGuests []string            // the modules that every test may bring in
}

// A place is where a room stands. Rows count from the ground up; several may make one floor.
type place struct {
	floor, row int
	planned    bool
}

var (
	roomName = regexp.MustCompile("(`|_)([a-z0-9/]+)[`_]")
	quoted   = regexp.MustCompile("^`([^`]+)`$")
)

// readPlan reads the tables of the architecture page by their header lines.
func readPlan(t *testing.T) plan {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	p := plan{rooms: map[string]place{}, guests: map[string][]string{}}
	for row, cells := range table(t, string(page), "floor", "rooms", "what the floor is") {
		floor := int(cells[0][0] - '0')
		for _, m := range roomName.FindAllStringSubmatch(cells[1], -1) {
			p.rooms[m[2]] = place{floor: floor, row: row, planned: m[1] == "_"}
		}
	}
	for _, cells := range table(t, string(page), "room", "guest", "why") {
		room := unquote(t, cells[0])
		p.guests[room] = append(p.guests[room], unquote(t, cells[1]))
	}
	for _, cells := range table(t, string(page), "guest of tests", "why") {
		p.testGuests = append(p.testGuests, unquote(t, cells[0]))
	}
	return p
}

// table returns the rows of the page's table that has these headers. No cell is empty.
func table(t *testing.T, page string, headers ...string) [][]string {
	t.Helper()
	_, after, found := strings.Cut(page, "| "+strings.Join(headers, " | ")+" |\n")
	if !found {
		t.Fatalf("docs/architecture.md has no table with the headers %q", headers)
	}
	var rows [][]string
	for line := range strings.Lines(after) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "|--") {
			continue
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != len(headers) || slices.Contains(cells, "") {
			t.Fatalf("docs/architecture.md: want %d cells, none of them empty, in the row %q", len(headers), line)
		}
		rows = append(rows, cells)
	}
	if len(rows) == 0 {
		t.Fatalf("docs/architecture.md: the table with the headers %q is empty", headers)
	}
	return rows
}

func unquote(t *testing.T, cell string) string {
	t.Helper()
	m := quoted.FindStringSubmatch(cell)
	if m == nil {
		t.Fatalf("docs/architecture.md: want one name in backquotes, got %q", cell)
	}
	return m[1]
}

// A dir is one directory of Go files.
type dir struct {
	path  string // from the root of the module: "internal/curve"
	files []file
}

// room is the directory's name within the house, "" for one that stands outside.
func (d dir) room() string {
	room, _ := strings.CutPrefix(d.path, "internal/")
	if room == d.path {
		return ""
	}
	return room
}

// A file is one parsed Go file.
type file struct {
	*ast.File
	test bool
}

// dirs parses every Go file of the module, and leaves out what is not built: testdata and other modules.
func dirs(t *testing.T) ([]dir, *token.FileSet) {
	t.Helper()
	fset := token.NewFileSet()
	byPath := map[string][]file{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || hasModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		rel = filepath.ToSlash(rel)
		byPath[rel] = append(byPath[rel], file{parsed, strings.HasSuffix(path, "_test.go")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []dir
	for path, files := range byPath {
		all = append(all, dir{path, files})
	}
	slices.SortFunc(all, func(a, b dir) int { return strings.Compare(a.path, b.path) })
	return all, fset
}

func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
