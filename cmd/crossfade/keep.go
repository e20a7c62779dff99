package main

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/pace"
	"crossfade.dev/internal/store/file"
)

const (
	saveFree    = 20 * time.Millisecond // a small snapshot on a slow disk
	saveSlowest = 10 * time.Second
)

// keepLatest keeps every snapshot on disk until ctx ends, and then the newest. Where that is dear, those that follow one
// another closely are kept at most every saveSlowest, so that it takes a hundredth of a processor; but what people asked
// for is kept at once, whatever it costs: a control that is killed must not forget it.
func keepLatest(ctx context.Context, c *control.Control, path string, log *slog.Logger) error {
	saves := pace.Pace{Factor: 100, Most: saveSlowest, Free: saveFree}
	var kept *fleet.Snapshot
	save := func(v fleet.View) {
		began := time.Now()
		if err := file.Save(path, v, began); err != nil {
			log.ErrorContext(ctx, "the snapshot is not kept", "err", err)
			return
		}
		kept = v.Snapshot
		saves.Spent(began, time.Now())
	}
	views, over := make(chan fleet.View), make(chan error, 1)
	go func() {
		over <- c.Watch(ctx, func(v fleet.View) {
			select {
			case views <- v:
			case <-ctx.Done():
			}
		})
	}()
	due := time.NewTimer(0)
	defer due.Stop()
	var newest fleet.View
	for {
		select {
		case newest = <-views:
			if wait := saves.Wait(time.Now()); wait > 0 && sameOrders(kept, newest.Snapshot) {
				due.Reset(wait)
				continue
			}
			save(newest)
		case <-due.C:
			if newest.Snapshot != kept {
				save(newest)
			}
		case err := <-over:
			if v := c.View(); v.Config != "" && v.Snapshot != kept {
				save(v)
			}
			return err
		}
	}
}

// An order is what somebody asked for of one endpoint.
type order struct {
	factor float64
	moved  time.Duration
	paused bool
}

// sameOrders says whether people asked for the same in two snapshots.
func sameOrders(a, b *fleet.Snapshot) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.DeepEqual(a.Workloads, b.Workloads) && reflect.DeepEqual(a.Groups, b.Groups) && maps.Equal(orders(a), orders(b))
}

func orders(s *fleet.Snapshot) map[string]order {
	all := map[string]order{}
	for i := range s.Services {
		service := &s.Services[i]
		for j := range service.Endpoints {
			if e := &service.Endpoints[j]; e.Factor != nil {
				o := all[e.Incarnation]
				o.factor = *e.Factor + 1 // 0 is nothing asked for
				all[e.Incarnation] = o
			}
		}
		for j := range service.Pools {
			for _, m := range service.Pools[j].Members {
				if m.Moved > 0 || m.Paused {
					id := service.Endpoints[m.Endpoint].Incarnation
					o := all[id]
					o.moved, o.paused = max(o.moved, m.Moved), o.paused || m.Paused
					all[id] = o
				}
			}
		}
	}
	return all
}
