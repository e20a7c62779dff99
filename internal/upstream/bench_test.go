package upstream

import (
	"testing"
	"time"

	"crossfade.dev/internal/evidence"
)

func BenchmarkReuse(b *testing.B) {
	e, now := listen(b), time.Now()
	p := New(e.addr, Options{}, new(evidence.Traffic))
	defer p.Close()
	ctx := b.Context()
	p.Put(get(b, p, now), now)
	b.ReportAllocs()
	for b.Loop() {
		c, err := p.Get(ctx, now, time.Time{}, false)
		if err != nil {
			b.Fatal(err)
		}
		p.Put(c, now)
	}
}

func BenchmarkReuseContended(b *testing.B) {
	e, now := listen(b), time.Now()
	p := New(e.addr, Options{}, new(evidence.Traffic))
	defer p.Close()
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := p.Get(ctx, now, time.Time{}, false)
			if err != nil {
				b.Error(err)
				return
			}
			p.Put(c, now)
		}
	})
}

func BenchmarkConnect(b *testing.B) {
	e, now := listen(b), time.Now()
	p := New(e.addr, Options{}, new(evidence.Traffic))
	defer p.Close()
	go func() {
		for c := range e.conns {
			_ = c.Close()
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		c, err := p.Get(b.Context(), now, time.Time{}, true)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
