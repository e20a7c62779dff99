// Package browser looks at pages as people do: with a real browser, Debian's Chromium, that draws nowhere. It clicks, types
// and waits; it takes pictures; and it keeps everything that the browser complained of.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/chromedp/chromedp"
)

// Command is what must be installed.
const Command = "chromium"

// patience bounds every wait for what a page should come to show. A working one needs a tenth of it on a busy machine.
const patience = 30 * time.Second

// A Browser is a running one, with a profile of its own. Use Start.
type Browser struct {
	ctx  context.Context //nolint:containedctx // chromedp keeps the browser in it
	stop context.CancelFunc
	pid  int
}

// Start starts a browser that remembers nothing and has no sandbox: tests may run as root. It ends with ctx, or with
// Close.
func Start(ctx context.Context) (*Browser, error) {
	path, err := exec.LookPath(Command)
	if err != nil {
		return nil, fmt.Errorf("start a browser: %w", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en-GB"),
	)
	under, end := chromedp.NewExecAllocator(ctx, options...)
	tab, closeTab := chromedp.NewContext(under)
	if err := chromedp.Do(tab); err != nil {
		closeTab()
		end()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	b := &Browser{ctx: tab, stop: func() { closeTab(); end() }}
	if p := chromedp.FromContext(tab).Browser.Process(); p != nil {
		b.pid = p.Pid
	}
	return b, nil
}

// PID is that of its first process; the others are below it.
func (b *Browser) PID() int { return b.pid }

// Close ends it, with every page.
func (b *Browser) Close() error {
	err := chromedp.Cancel(b.ctx)
	b.stop()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// A Look is what a page is looked at with.
type Look struct {
	Width, Height int64 // in CSS pixels
	Dark          bool  // the system's colours
	Phone         bool  // fingers, and two dots to a pixel
	Still         bool  // its owner wants no motion
}

// Desk is a screen on a desk.
func Desk() Look { return Look{Width: 1280, Height: 900} }

// DeskDark is a screen on a desk whose owner likes it dark.
func DeskDark() Look { return Look{Width: 1280, Height: 900, Dark: true} }

// Phone is a small screen, held upright.
func Phone() Look { return Look{Width: 390, Height: 844, Phone: true} }
