package upstream

import (
	"testing"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http2"
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

// The same, where everything that can be limited is.
func BenchmarkReuseLimited(b *testing.B) {
	e, now := listen(b), time.Now()
	p := New(e.addr, Options{Limits: NewLimits(Bounds{Conns: 9, Pending: 9, Requests: 9, Retries: 9})}, new(evidence.Traffic))
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

// A stream is opened and given back at once: what it costs beside its frames is in BenchmarkPlace.
func BenchmarkOpen(b *testing.B) {
	s, now := listening(b, http2.Options{MaxStreams: 1 << 20}, patient), time.Now()
	p := New(s.addr, Options{}, new(evidence.Traffic))
	defer p.Close()
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		c, err := p.Open(ctx, now, time.Time{}, posted, true)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Stream.ReadHead(); err != nil {
			b.Fatal(err)
		}
		p.Put(c, now)
	}
}

// What the pool does for a stream.
func BenchmarkPlace(b *testing.B) {
	s, now := listening(b, http2.Options{}, patient), time.Now()
	p := New(s.addr, Options{}, new(evidence.Traffic))
	defer p.Close()
	ctx := b.Context()
	c, err := p.Open(ctx, now, time.Time{}, posted, true)
	if err != nil {
		b.Fatal(err)
	}
	p.Put(c, now)
	place := func() {
		c, _, err := p.enter(ctx, now)
		if err != nil {
			b.Error(err)
		}
		p.Put(c, now)
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			place()
		}
	})
	b.Run("contended", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				place()
			}
		})
	})
}

// patient answers without a body.
func patient(s *http2.Stream) { _ = s.WriteHead(answered, true) }
