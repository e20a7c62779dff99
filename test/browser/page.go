package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A Page is one tab. One goroutine uses it.
type Page struct {
	ctx   context.Context //nolint:containedctx // chromedp keeps the tab in it
	close context.CancelFunc
	home  string // the only place that it may ask for anything

	mu         sync.Mutex // guards the following
	complaints []Complaint
}

// A Complaint is something that a page without faults gives no reason for.
type Complaint struct {
	Kind string // "error" (of the console), "exception", "network", "security" (of its policy), "foreign" (a request to somebody else)
	Text string
}

func (c Complaint) String() string { return c.Kind + ": " + c.Text }

// Page opens a tab that shows nothing yet. home is the origin that everything on it must come from: http://127.0.0.1:15010.
func (b *Browser) Page(home string, l Look) (*Page, error) {
	ctx, closeTab := chromedp.NewContext(b.ctx)
	p := &Page{ctx: ctx, close: closeTab, home: home}
	if err := p.begin(l); err != nil {
		closeTab()
		return nil, fmt.Errorf("open a tab: %w", err)
	}
	return p, nil
}

func (p *Page) begin(l Look) error {
	if err := chromedp.Listen(p.ctx, p.hear); err != nil {
		return err
	}
	options := []chromedp.EmulateViewportOption{}
	if l.Phone {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait, chromedp.EmulateScale(2))
	}
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: map[bool]string{false: "light", true: "dark"}[l.Dark]}}
	if l.Still {
		features = append(features, &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	}
	if err := chromedp.Do(p.ctx, chromedp.EmulateViewport(l.Width, l.Height, options...)); err != nil {
		return err
	}
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	return err
}

// hear keeps what the browser complains of.
func (p *Page) hear(event any) {
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Source == "security" {
			p.complain(string(e.Entry.Source), e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		p.complain("exception", text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "assert" {
			p.complain("error", said(e.Args))
		}
	case *network.EventRequestWillBeSent:
		to, err := url.Parse(e.Request.URL)
		if err != nil || to.Scheme+"://"+to.Host != p.home && to.Scheme != "blob" && to.Scheme != "data" && to.Scheme != "about" {
			p.complain("foreign", e.Request.URL)
		}
	}
}

// said is what was handed to the console.
func said(args []*runtime.RemoteObject) string {
	var words []string
	for _, a := range args {
		if a.Description != "" {
			words = append(words, a.Description)
			continue
		}
		words = append(words, strings.Trim(string(a.Value), `"`))
	}
	return strings.Join(words, " ")
}

func (p *Page) complain(kind, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = append(p.complaints, Complaint{kind, strings.TrimSpace(text)})
}

// Complaints returns what the browser has complained of since it was last asked.
func (p *Page) Complaints() []Complaint {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.complaints
	p.complaints = nil
	return all
}

// Close closes the tab.
func (p *Page) Close() { p.close() }

// Open goes to an address below home, and waits until the page has loaded.
func (p *Page) Open(path string) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(p.home+path)); err != nil {
		return fmt.Errorf("open %s: %w", p.home+path, err)
	}
	return nil
}

// Ask evaluates an expression of JavaScript, or waits for the promise that it is, and returns its value.
func Ask[T any](p *Page, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		return v, fmt.Errorf("ask the page for %s: %w", brief(expression), err)
	}
	return v, nil
}

// Await asks for the value of an expression until it is true.
func (p *Page) Await(expression string) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		ok, err := Ask[bool](p, "Boolean("+expression+")")
		if ok {
			return nil
		}
		select {
		case <-deadline.C:
			shown, _ := Ask[string](p, "document.body.innerText")
			return errors.Join(fmt.Errorf("wait for %s: it has not come within %v; the page shows:\n%s", brief(expression), patience, shown), err)
		case <-again.C:
		}
	}
}

// AwaitText waits until the page shows a text, in the words that a reader would see.
func (p *Page) AwaitText(text string) error {
	return p.Await("document.body.innerText.toLowerCase().includes(" + quoted(strings.ToLower(text)) + ")")
}

// Text is what an element that a CSS selector finds first shows.
func (p *Page) Text(selector string) (string, error) {
	return Ask[string](p, "document.querySelector("+quoted(selector)+")?.innerText ?? ''")
}

// Shot writes a picture of what can be seen to a PNG file.
func (p *Page) Shot(path string) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		return fmt.Errorf("take a picture: %w", err)
	}
	return os.WriteFile(path, png, 0o644) //nolint:gosec // it is for everybody
}

// FirstPaint waits until the page has been painted, and is how long after it was asked for that was.
func (p *Page) FirstPaint() (time.Duration, error) {
	const entry = `performance.getEntriesByName('first-contentful-paint')[0]`
	if err := p.Await(entry); err != nil { // what is in the page already may be painted later
		return 0, err
	}
	ms, err := Ask[float64](p, entry+`.startTime`)
	return time.Duration(ms * float64(time.Millisecond)), err
}

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""` // a string can always be written
	}
	return string(text)
}

// brief is an expression as an error shows it.
func brief(expression string) string {
	const most = 160
	if len(expression) > most {
		return expression[:most] + "…"
	}
	return expression
}
