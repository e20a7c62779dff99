package browser

import (
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Keys that have no letter.
const (
	Tab    = kb.Tab
	Enter  = kb.Enter
	Escape = kb.Escape
	Down   = kb.ArrowDown
	Right  = kb.ArrowRight
)

// Press presses keys, one after the other, wherever the focus is.
func (p *Page) Press(keys ...string) error {
	for _, key := range keys {
		if err := chromedp.Do(p.ctx, chromedp.KeyEvent(key)); err != nil {
			return fmt.Errorf("press %q: %w", key, err)
		}
	}
	return nil
}

// mostStops is how often Tab is pressed at most: nobody finds what is further away.
const mostStops = 150

// TabTo presses Tab until what has the focus is called name, as a screen reader would say it, and fails when that does not
// come or the focus cannot be seen there.
func (p *Page) TabTo(name string) error {
	var passed []string
	for range mostStops {
		if err := p.Press(Tab); err != nil {
			return err
		}
		at, err := Ask[struct {
			Name string `json:"name"`
			Ring bool   `json:"ring"`
		}](p, focused)
		if err != nil {
			return err
		}
		if strings.Contains(strings.ToLower(at.Name), strings.ToLower(name)) {
			if !at.Ring {
				return fmt.Errorf("reach %q by keyboard: it has the focus, and nobody can see that", name)
			}
			return nil
		}
		passed = append(passed, at.Name)
	}
	return fmt.Errorf("reach %q by keyboard: it does not come within %d stops: %q", name, mostStops, passed)
}

// focused says what has the focus, and whether that can be seen: by an outline, a shadow or a border of its own.
const focused = `(() => {
  const e = document.activeElement;
  if (!e || e === document.body) return {name: '', ring: false};
  const labels = e.labels ? [...e.labels].map((l) => l.innerText).join(' ') : '';
  const by = (e.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id)?.innerText ?? '').join(' ');
  const name = [e.getAttribute('aria-label'), by, labels, e.innerText, e.getAttribute('title'), e.getAttribute('name')].find((s) => s && s.trim()) ?? '';
  const s = getComputedStyle(e);
  const ring = (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none';
  return {name: name.trim(), ring};
})()`

// Click clicks on what is called name, among buttons, links, tabs, menu items and switches; of several, on the one with the
// shortest name that has it. Where a dialog is open, nothing else can be clicked.
func (p *Page) Click(name string) error {
	find := `[...(document.querySelector('dialog[open]') ?? document).querySelectorAll('button, a[href], summary, [role=button], [role=tab], [role=menuitem], [role=option], input[type=checkbox], input[type=radio], label')]
  .filter((e) => e.checkVisibility() && !e.disabled)
  .map((e) => [e, (e.getAttribute('aria-label') ?? e.innerText ?? '').trim().toLowerCase()])
  .sort((a, b) => a[1].length - b[1].length)
  .find(([, n]) => n.includes(` + quoted(strings.ToLower(name)) + `))?.[0]`
	if err := p.Await(find); err != nil {
		return fmt.Errorf("click %q: %w", name, err)
	}
	if _, err := Ask[bool](p, "("+find+").click() ?? true"); err != nil {
		return fmt.Errorf("click %q: %w", name, err)
	}
	return nil
}

// Fill writes into the field with a label, as typing would.
func (p *Page) Fill(label, text string) error {
	find := `[...(document.querySelector('dialog[open]') ?? document).querySelectorAll('input, textarea, select')].find((e) => e.checkVisibility() &&
  ((e.getAttribute('aria-label') ?? '') + ' ' + [...(e.labels ?? [])].map((l) => l.innerText).join(' ')).toLowerCase().includes(` + quoted(strings.ToLower(label)) + `))`
	if err := p.Await(find); err != nil {
		return fmt.Errorf("fill in %q: %w", label, err)
	}
	_, err := Ask[bool](p, `((e) => { e.focus(); e.select?.(); return true })(`+find+`)`)
	if err == nil {
		_, err = chromedp.Call(p.ctx, input.InsertText, input.InsertTextParams{Text: text})
	}
	if err != nil {
		return fmt.Errorf("fill in %q: %w", label, err)
	}
	return nil
}
