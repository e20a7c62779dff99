package archtest

import (
	"go/token"
	"slices"
	"strings"
	"testing"
)

// beside is the number of what stands beside the house, not in it.
const beside = 8

func TestEveryRoomIsOnThePlan(t *testing.T) {
	house := readPlan(t)
	all, _ := dirs(t)
	built := map[string]bool{}
	for _, d := range all {
		room := d.room()
		if room == "" {
			continue
		}
		built[room] = true
		switch place, known := house.rooms[room]; {
		case !known:
			t.Errorf("%s is on no floor: add it to the table of rooms in docs/architecture.md", room)
		case place.planned:
			t.Errorf("%s stands now: write it upright in docs/architecture.md, as `%s`", room, room)
		}
	}
	for room, place := range house.rooms {
		if !place.planned && !built[room] {
			t.Errorf("docs/architecture.md says that %s stands, but there is no internal/%s: write it as _%s_, or take it out", room, room, room)
		}
	}
}

// Tests are held to the floors too: a test that must look up to say what it means belongs to the floor above.
// Only what stands beside the house is there for every test.
func TestRoomsImportOnlyLowerRows(t *testing.T) {
	house := readPlan(t)
	all, fset := dirs(t)
	for _, d := range all {
		here, known := house.rooms[d.room()]
		if !known {
			continue // TestEveryRoomIsOnThePlan says so
		}
		eachImport(d, fset, func(where token.Position, path string, test bool) {
			below, ours := strings.CutPrefix(path, indoors)
			if !ours || below == d.room() {
				return
			}
			there, known := house.rooms[below]
			if known && there.row >= here.row && (!test || there.floor != beside) {
				t.Errorf("%s: %s (floor %d) may not import %s (floor %d)", where, d.room(), here.floor, below, there.floor)
			}
		})
	}
}

func TestGuestsComeOnlyWhereTheyAreInvited(t *testing.T) {
	house := readPlan(t)
	all, fset := dirs(t)
	came := map[string]bool{}
	for _, d := range all {
		name := d.room()
		if name == "" {
			name = d.path
		}
		eachImport(d, fset, func(where token.Position, path string, test bool) {
			if strings.HasPrefix(path, module) || !strings.Contains(path, ".") {
				return
			}
			switch guest := guestOf(path, house.guests[name]); {
			case guest != "":
				came[name+" "+guest] = true
			case test && guestOf(path, house.testGuests) != "":
			default:
				t.Errorf("%s: %s may not bring in %s: see the table of guests in docs/architecture.md", where, name, path)
			}
		})
	}
	for room, guests := range house.guests {
		for _, guest := range guests {
			if !came[room+" "+guest] {
				t.Errorf("docs/architecture.md invites %s to %s, which does not use it: take the row out", guest, room)
			}
		}
	}
}

// guestOf returns the one of the guests that path belongs to, "" for none.
func guestOf(path string, guests []string) string {
	for _, guest := range guests {
		if path == guest || strings.HasPrefix(path, guest+"/") {
			return guest
		}
	}
	return ""
}

func TestWhatStandsOutsideUsesOnlyTheDoor(t *testing.T) {
	all, fset := dirs(t)
	for _, d := range all {
		if !strings.HasPrefix(d.path, "examples/") && !strings.HasPrefix(d.path, "test/") {
			continue
		}
		eachImport(d, fset, func(where token.Position, path string, _ bool) {
			if strings.HasPrefix(path, indoors) {
				t.Errorf("%s: %s may not import %s: it stands for somebody who has only the binary", where, d.path, path)
			}
		})
	}
}

func TestGroundFloorTouchesNothing(t *testing.T) {
	house := readPlan(t)
	all, fset := dirs(t)
	outside := []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall", "log/slog"}
	for _, d := range all {
		if place, known := house.rooms[d.room()]; !known || place.floor > 0 {
			continue
		}
		eachImport(d, fset, func(where token.Position, path string, test bool) {
			room, ours := strings.CutPrefix(path, indoors)
			below, known := house.rooms[room]
			if !test && (slices.Contains(outside, path) || ours && (!known || below.floor > 0)) {
				t.Errorf("%s: %s (ground floor) may not import %s: bytes and numbers in, bytes and numbers out", where, d.room(), path)
			}
		})
	}
}

func eachImport(d dir, fset *token.FileSet, visit func(where token.Position, path string, test bool)) {
	for _, f := range d.files {
		for _, spec := range f.Imports {
			visit(fset.Position(spec.Pos()), strings.Trim(spec.Path.Value, `"`), f.test)
		}
	}
}
