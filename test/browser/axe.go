package browser

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/chromedp/chromedp"
)

// A Violation is a rule of accessibility that a page breaks, as axe-core tells it.
type Violation struct {
	Rule   string   `json:"id"`
	Impact string   `json:"impact"`
	Help   string   `json:"help"`
	Where  []string `json:"where"` // CSS selectors, each with why
}

func (v Violation) String() string {
	return fmt.Sprintf("%s (%s): %s\n  %s", v.Rule, v.Impact, v.Help, strings.Join(v.Where, "\n  "))
}

// runAxe runs every rule that axe-core has, its best practices included.
const runAxe = `axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations.map((v) => ({
  id: v.id, impact: v.impact ?? '', help: v.help,
  where: v.nodes.slice(0, 5).map((n) => n.target.join(' ') + ': ' + (n.failureSummary ?? '').replaceAll('\n', ' '))
})))`

// Axe looks for what keeps people from using the page, with the axe-core in a file, and returns what it finds.
func (p *Page) Axe(file string) ([]Violation, error) {
	source, err := os.ReadFile(file) //nolint:gosec // a test names it
	if err != nil {
		return nil, fmt.Errorf("axe: %w", err)
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](string(source))); err != nil {
		return nil, fmt.Errorf("axe: %w", err)
	}
	return Ask[[]Violation](p, runAxe)
}
