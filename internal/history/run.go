package history

import (
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/series"
)

// A runKey names one run of a data plane.
type runKey struct {
	From string `json:"from"`
	Run  string `json:"run"`
}

// A run is what one run of a data plane has said: the sums that were counted already. It is kept until it is sure that
// nothing comes of it any more.
type run struct {
	began     time.Time // when it was heard first
	heard     time.Time
	restored  bool   // it has not been heard since a restart
	over      bool   // it has said its last
	quiet     bool   // what it said to be open is not counted
	place     *place // what came in from outside
	listeners map[string]*listenerRow
	services  map[string]*serviceRow
	endpoints map[endpointKey]*endpointRow
	order     []*endpointRow // as they stood in the last report: mostly, they stand in the next one so
}

// An endpointKey names one incarnation in one service.
type endpointKey struct{ service, incarnation string }

// Rows are what a run has said of one listener, service or endpoint.
type (
	listenerRow struct {
		requests, connects, rejected uint64
		active                       int64
		mesh                         bool
		ended                        ending.Sums
		codes, calls                 map[int]uint64
		latency                      series.Histogram
	}
	serviceRow struct {
		active  int64
		retries uint64
		ended   ending.Sums
		codes   map[int]uint64
		callers map[string]uint64
		latency series.Histogram
	}
	endpointRow struct {
		requests, failed, got uint64
		due                   float64
		active                int64
		share                 float64
		shared                bool // share counts
		ejected               bool
		forgotten             bool
		stale                 bool // what it knows is not news
		unknown               bool // what it knows of latency is from before a restart, and lost
		latency               series.Histogram
		key                   endpointKey
		endpoint              *endpoint
	}
)

// forgetting is how long a run is kept that has ended, since what it said may come again; and one that ended without a
// word, since it may be back.
const (
	forgetEnded  = 10 * time.Minute
	forgetSilent = 24 * time.Hour
	mostRuns     = 4096
)

// countsFirst says whether what a run says that was not heard before counts, of such a span: it may have been counted by somebody
// who forgot it, or before counting began.
func (h *History) countsFirst(span time.Duration, now time.Time) bool {
	return !now.Add(-span).Before(h.since) && span < forgetSilent
}

// report counts what a data plane's sums have grown by.
func (h *History) report(r *fleet.Report, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle(now)
	t := r.Traffic
	key := runKey{r.From, t.Run}
	known := h.runs[key]
	span := t.Span
	counts := true
	if known == nil {
		counts = h.countsFirst(span, now)
		known = newRun()
		known.began = now
		h.runs[key] = known
	} else if since := now.Sub(known.heard); since < span || known.restored { // what it said last may not have been kept
		span, known.restored = since, false
	}
	h.hear(now, span)
	known.heard = now
	if known.quiet && !known.over {
		h.loud(known)
	}
	for i := range t.Listeners {
		h.listener(known, &t.Listeners[i], counts)
	}
	for i := range t.Services {
		h.service(known, &t.Services[i], counts)
	}
	for i := range t.Endpoints {
		h.endpoint(known, known.row(h, i, &t.Endpoints[i]), &t.Endpoints[i], counts)
	}
	known.order = known.order[:min(len(known.order), len(t.Endpoints))]
	if r.Leaving && !known.over {
		known.over = true
		h.quiet(known)
	}
}

// hear notes that what was counted over a span before now is known.
func (h *History) hear(now time.Time, span time.Duration) {
	h.spread.over(now, span)
	for _, part := range h.spread.seconds {
		h.heard.requests.Put(part.at, 1)
	}
	for _, part := range h.spread.minutes {
		h.heard.minute(part.at).Requests = 1
	}
}

func newRun() *run {
	return &run{
		place: newPlace(false, false), listeners: map[string]*listenerRow{}, services: map[string]*serviceRow{},
		endpoints: map[endpointKey]*endpointRow{},
	}
}

// row returns what r has said before of the endpoint that stands at i in a report.
func (r *run) row(h *History, i int, row *fleet.EndpointTraffic) *endpointRow {
	if i < len(r.order) {
		if was := r.order[i]; was.key.incarnation == row.Incarnation && was.key.service == row.Service && !was.forgotten {
			return was
		}
	}
	key := endpointKey{row.Service, row.Incarnation}
	was := r.endpoints[key]
	if was == nil {
		_, there := h.lives[row.Incarnation]
		was = &endpointRow{key: key, endpoint: h.endpointOf(key), stale: !there && h.spread.now.Sub(r.began) > keepEndpoint}
		r.endpoints[key] = was
	}
	for len(r.order) <= i {
		r.order = append(r.order, was)
	}
	r.order[i] = was
	return was
}

// grow sets a sum to what it is now, and returns by how much it has grown. One that is smaller than it was is from an
// older report, and says nothing.
func grow(sum *uint64, now uint64) uint64 {
	if now <= *sum {
		return 0
	}
	by := now - *sum
	*sum = now
	return by
}

// growSums is grow for the ways in which requests end.
func growSums(sums, now *ending.Sums) (by ending.Sums) {
	for k := range sums {
		by[k] = grow(&sums[k], now[k])
	}
	return by
}

// growCodes is grow for answers by status. It adds what has grown to all, if that is given.
func growCodes(codes *map[int]uint64, now []fleet.Code, all *map[int]uint64) {
	for _, c := range now {
		if *codes == nil {
			*codes = map[int]uint64{}
		}
		sum := (*codes)[c.Status]
		by := grow(&sum, c.N)
		(*codes)[c.Status] = sum
		if all == nil || by == 0 {
			continue
		}
		if *all == nil {
			*all = map[int]uint64{}
		}
		(*all)[c.Status] += by
	}
}

// growBuckets is grow for a histogram; what has grown replaces what is in delta.
func growBuckets(sums *series.Histogram, now fleet.Buckets, delta *series.Histogram) {
	*delta = (*delta)[:0]
	i := 0
	for _, b := range now {
		index, n := int16(b[0]), uint64(max(0, b[1]))
		for i < len(*sums) && (*sums)[i].Index < index {
			i++
		}
		if i < len(*sums) && (*sums)[i].Index == index {
			delta.Add(int(index), grow(&(*sums)[i].N, n))
			continue
		}
		sums.Add(int(index), n)
		delta.Add(int(index), n)
	}
}

// quiet takes what a run says to be open, and its shares, out of all sums.
func (h *History) quiet(r *run) {
	if !r.quiet {
		r.quiet = true
		h.gauge(r, -1)
	}
}

// loud takes that back.
func (h *History) loud(r *run) {
	r.quiet = false
	h.gauge(r, 1)
}

func (h *History) gauge(r *run, sign int64) {
	for name, row := range r.listeners {
		h.gates[name].active += sign * row.active
		if !row.mesh {
			h.outside.opens(h.at, sign*row.active)
			r.place.opens(h.at, sign*row.active)
		}
	}
	for name, row := range r.services {
		if s := h.services[name]; s != nil {
			s.place.opens(h.at, sign*row.active)
		}
	}
	for _, row := range r.endpoints {
		e := row.endpoint
		e.opens(h.at, sign*row.active)
		if row.shared {
			e.shares += int(sign)
			e.shareSum += float64(sign) * row.share
			e.mark(h.at)
		}
		if row.ejected {
			e.ejected += int(sign)
		}
	}
}

// forgetRuns forgets runs of which nothing can come any more.
func (h *History) forgetRuns(now time.Time) {
	newest := map[string]*run{}
	for key, r := range h.runs {
		if last := newest[key.From]; last == nil || r.heard.After(last.heard) {
			newest[key.From] = r
		}
	}
	for key, r := range h.runs {
		silent := now.Sub(r.heard)
		if silent > forgetSilent || silent > forgetEnded && (r.over || newest[key.From] != r) {
			h.quiet(r)
			delete(h.runs, key)
		}
	}
	for len(h.runs) > mostRuns {
		var oldest runKey
		for key, r := range h.runs {
			if at := h.runs[oldest]; at == nil || r.heard.Before(at.heard) {
				oldest = key
			}
		}
		h.quiet(h.runs[oldest])
		delete(h.runs, oldest)
	}
}
