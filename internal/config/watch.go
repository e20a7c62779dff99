package config

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"crossfade.dev/internal/fleet"
)

const (
	defaultSettle = 100 * time.Millisecond
	defaultPoll   = 5 * time.Second
)

// A Watcher loads a directory again whenever something in it changes. Its fields must not change while it runs.
type Watcher struct {
	Dir     string // a directory, or one file
	Options Options
	Settle  time.Duration // for how long the files must stay as they are before they count; 0 means 100 ms
	Poll    time.Duration // how often they are looked at besides, for changes that nobody announced; 0 means 5 s
	Log     *slog.Logger  // nil is silent
}

// Run loads the directory, hands the outcome to apply, and does so again after each change, until ctx ends;
// it then returns nil. apply is called from Run's goroutine, with a nil Desired when a finding is an error: the
// caller keeps what it has. A change counts when the files were read alike twice, Settle apart, so that a
// file that is being written is not taken for a short one. One that leaves all files as they were is not handed on.
func (w *Watcher) Run(ctx context.Context, apply func(*fleet.Desired, []Finding)) error {
	log := w.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var events chan fsnotify.Event
	var faults chan error
	notifier, err := fsnotify.NewWatcher()
	if err != nil {
		log.WarnContext(ctx, "changes of configuration are seen by polling only", "err", err)
	} else {
		events, faults = notifier.Events, notifier.Errors
		defer func() {
			if err := notifier.Close(); err != nil {
				log.DebugContext(ctx, "stop watching", "dir", w.Dir, "err", err)
			}
		}()
	}
	settle := cmp.Or(w.Settle, defaultSettle)
	poll := time.NewTicker(cmp.Or(w.Poll, defaultPoll))
	defer poll.Stop()
	soon := time.NewTimer(0) // the first look is at once
	defer soon.Stop()
	l := looker{loader: newLoader(w.Options)}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
			soon.Reset(settle)
			continue
		case err := <-faults: // events were lost, so look
			log.DebugContext(ctx, "watch configuration", "dir", w.Dir, "err", err)
			soon.Reset(settle)
			continue
		case <-poll.C:
		case <-soon.C:
		}
		watchTree(notifier, w.Dir, log)
		if l.look(w.Dir) {
			apply(l.loader.build())
		} else if l.pending {
			soon.Reset(settle)
		}
	}
}

// A looker remembers what the files held when it looked.
type looker struct {
	loader  *loader
	applied string // what was seen when it was handed on; "" before the first time
	seen    string // in the latest look
	pending bool   // seen differs from applied, and was seen once
}

// look reads the files and says whether they hold something new that has settled.
func (l *looker) look(dir string) bool {
	l.loader.look(dir)
	now := l.loader.seen()
	settled := now == l.seen || l.applied == ""
	l.seen = now
	l.pending = now != l.applied && !settled
	if now == l.applied || !settled {
		return false
	}
	l.applied = now
	return true
}

// watchTree asks for news of a directory and all below it, or of the directory that a file is in: editors replace
// files, and a watch on the file itself would stay with the old one.
func watchTree(n *fsnotify.Watcher, path string, log *slog.Logger) {
	if n == nil {
		return
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		path = filepath.Dir(path)
		add(n, path, log)
		return
	}
	root := path + string(filepath.Separator) // so that a link to a directory is followed
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir // the reader names it
		case d.IsDir():
			add(n, name, log)
		}
		return nil
	})
	if err != nil {
		log.Debug("watch configuration", "dir", path, "err", err)
	}
}

func add(n *fsnotify.Watcher, dir string, log *slog.Logger) {
	if err := n.Add(dir); err != nil {
		log.Debug("watch configuration", "dir", dir, "err", fmt.Errorf("polling only: %w", err))
	}
}
