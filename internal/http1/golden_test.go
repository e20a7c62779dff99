package http1

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the verdicts and what is passed on to testdata anew")

// A goldenCase is one section of a file in testdata; the file's first lines say how to read it.
type goldenCase struct {
	name   string
	method string // of the request that a response answers
	minor  int    // of the client that it goes to
	in     string
	want   []string // the verdict, and what goes out
	kept   []string // the section without want
}

// readCases reads a file of golden cases. What stands before the first case is the first one's.
func readCases(t testing.TB, file string) (cases []goldenCase) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := goldenCase{method: "GET", minor: 1}
	for at, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		if mark == "#" && c.in != "" {
			cases, c = append(cases, c), goldenCase{method: "GET", minor: 1}
		}
		switch mark {
		case "#":
			c.name = rest
		case "@":
			if _, err := fmt.Sscanf(rest, "%s HTTP/1.%d", &c.method, &c.minor); err != nil {
				t.Fatalf("%s:%d: %v", file, at+1, err)
			}
		case ">":
			c.in += unprint(t, rest)
		case "=", "<":
			c.want = append(c.want, line)
			continue
		case "", "//":
		default:
			t.Fatalf("%s:%d: %s", file, at+1, line)
		}
		c.kept = append(c.kept, line)
	}
	return append(cases, c)
}

var repeated = regexp.MustCompile(`\$\((\d+) ([^)]*)\)`)

// unprint makes bytes of a line: Go's escapes, and $(3 ab) for ababab.
func unprint(t testing.TB, line string) string {
	t.Helper()
	line = repeated.ReplaceAllStringFunc(line, func(s string) string {
		part := repeated.FindStringSubmatch(s)
		n, _ := strconv.Atoi(part[1])
		return strings.Repeat(part[2], n)
	})
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return s
}

// printed shows bytes, a line for each that they have; lines that repeat are shown once.
func printed(mark string, b []byte) (all []string) {
	last, times := "", 0
	flush := func() {
		if times > 1 {
			last = fmt.Sprintf("$(%d %s)", times, last)
		}
		if times > 0 {
			all = append(all, mark+" "+last)
		}
	}
	for line := range strings.SplitAfterSeq(string(b), "\n") {
		if line == "" {
			continue
		}
		s := shown(line)
		if s == last {
			times++
			continue
		}
		flush()
		last, times = s, 1
	}
	flush()
	return all
}

// shown has every byte as itself or as its escape.
func shown(line string) string {
	var s strings.Builder
	for _, c := range []byte(line) {
		switch quoted := strconv.QuoteToASCII(string(rune(c))); {
		case c == '"':
			s.WriteByte(c)
		case c >= 0x80:
			fmt.Fprintf(&s, `\x%02x`, c)
		default:
			s.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return s.String()
}

// verdict is what came of a passage: how it ended, and what went out.
func (p *passage) verdict(accepted string) []string {
	var says string
	switch {
	case p.bad != nil && p.part:
		says = "broken in the body: " + p.bad.Reason
	case p.bad != nil:
		says = fmt.Sprintf("%d %s", p.bad.Status, p.bad.Reason)
	case p.part:
		says = "not whole"
	default:
		says = accepted
		if len(p.rest) > 0 {
			says += fmt.Sprintf("; leaves %q", p.rest)
		}
	}
	return append([]string{"= " + says}, printed("<", p.out)...)
}

// Every request in testdata has the verdict that stands there, and nothing but what stands there goes out.
func TestGoldenRequests(t *testing.T) {
	golden(t, "testdata/requests.txt", func(c *goldenCase) []string {
		var r Request
		p := passRequest([]byte(c.in), &r)
		if again := passRequest(p.out, new(Request)); p.bad == nil && !bytes.Equal(again.out, p.out) {
			t.Errorf("%s: the next gateway makes %q of %q", c.name, again.out, p.out)
		}
		says := "accepted"
		if r.Close {
			says += ", the connection is spent"
		}
		if r.Expect {
			says += ", waits for 100"
		}
		if r.Upgrade != nil {
			says += ", upgrades"
		}
		return p.verdict(says)
	})
}

// Every response in testdata has the verdict that stands there, and nothing but what stands there goes out.
func TestGoldenResponses(t *testing.T) {
	golden(t, "testdata/responses.txt", func(c *goldenCase) []string {
		var r Response
		p := passResponse([]byte(c.in), &r, c.method, c.minor)
		if again := passResponse(p.out, new(Response), c.method, c.minor); p.bad == nil && !bytes.Equal(again.out, p.out) {
			t.Errorf("%s: the next gateway makes %q of %q", c.name, again.out, p.out)
		}
		says := "accepted"
		if r.Close {
			says += ", the connection is spent"
		}
		return p.verdict(says)
	})
}

func golden(t *testing.T, file string, pass func(*goldenCase) []string) {
	t.Helper()
	cases := readCases(t, file)
	var text strings.Builder
	seen := make(map[string]bool)
	for i := range cases {
		c := &cases[i]
		t.Run(c.name, func(t *testing.T) {
			if seen[c.name] {
				t.Error("another case has the name")
			}
			seen[c.name] = true
			got := pass(c)
			c.write(&text, got)
			if diff := cmp.Diff(c.want, got); diff != "" && !*update {
				t.Errorf("%s differs (-want +got); if it is right, run go test -update:\n%s", file, diff)
			}
		})
	}
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// write writes the case with its verdict behind its last line of input.
func (c *goldenCase) write(w *strings.Builder, got []string) {
	end := len(c.kept)
	for end > 0 && c.kept[end-1] == "" {
		end--
	}
	all := append(append(append([]string(nil), c.kept[:end]...), got...), c.kept[end:]...)
	w.WriteString(strings.Join(all, "\n") + "\n")
}
