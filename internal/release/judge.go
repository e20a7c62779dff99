package release

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/ending"
)

// How long what data planes say is waited for.
const (
	settle  = 5                // seconds after a release is over: the last reports of those that leave are tried for some
	forgive = 30 * time.Second // likewise, for a data plane that says nothing; then nothing is proven
	around  = 60               // seconds before and after that a release is compared with
	renew   = 5                // seconds between two looks at the latency of a release that runs, and at whose attempts fail
)

// judge counts what a release has come to by the end of a second, and says whether nothing more is to be found out.
func (r *Recorder) judge(o *Open, at int64, b Book, now time.Time) (finished bool) {
	rel := r.of(o)
	began := rel.Began.Unix()
	if rel.Before == (Quantiles{}) && at >= began && at < began+around && rel.Ended.IsZero() {
		rel.Before = b.Answers(rel.over(), began-around, began)
	}
	if !rel.Ended.IsZero() {
		return r.after(o, rel, at, b)
	}
	r.count(o, rel, b)
	if (at-began)%renew == 0 {
		rel.During = b.Answers(rel.over(), began, at+1)
		r.fail(o, rel, b)
	}
	if o.Over.IsZero() || at < o.Over.Unix()+settle {
		r.stall(o, rel, now)
		return false
	}
	doubts := b.Doubts(rel.Services, now)
	if (len(doubts) > 0 || r.missing()) && now.Sub(o.Over) < forgive {
		return false
	}
	rel.Doubts = append(rel.Doubts, doubts...)
	rel.Ended, rel.Counted = later(o.Over, rel.Began), time.Unix(at+1, 0).UTC()
	rel.During = b.Answers(rel.over(), began, at+1)
	r.fail(o, rel, b)
	for service := range o.Before {
		o.Before[service] = b.Ended(service)
	}
	r.close(o, rel)
	r.news[rel.ID] = true
	return false
}

// after sees what became of a release's services in the minute after it, and says whether that is over.
func (r *Recorder) after(o *Open, rel *Release, at int64, b Book) (finished bool) {
	from := rel.Counted.Unix()
	if at < from-1 { // the clock was set back: there is no minute after
		return true
	}
	if at < from+around-1 {
		return false
	}
	rel.After = b.Answers(rel.over(), from, from+around)
	for service, before := range o.Before {
		now := b.Ended(service)
		since := now.Since(&before)
		rel.LostAfter += since.Lost()
	}
	r.news[rel.ID] = true
	return true
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// over is what a release's requests passed: its services, or for a gateway everything from outside.
func (rel *Release) over() []string {
	if rel.Kind == Gateway {
		return []string{""}
	}
	return rel.Services
}

// count takes what has ended since the release began.
func (r *Recorder) count(o *Open, rel *Release, b Book) {
	was := rel.Requests
	rel.Requests, rel.Losses = ending.Sums{}, []Loss{}
	for service, before := range o.Before {
		now := b.Ended(service)
		since := now.Since(&before)
		rel.ByService[service] = since
		rel.Requests.Add(&since)
		for k, n := range since {
			if kind := ending.Kind(k); kind.Lost() && n > 0 { //nolint:gosec // there are twelve
				rel.Losses = append(rel.Losses, Loss{Kind: kind.String(), Side: kind.Side(), Service: service, N: n})
			}
		}
	}
	slices.SortFunc(rel.Losses, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Kind, b.Kind))
	})
	if was != rel.Requests {
		r.news[rel.ID] = true
	}
}

// fail sees whose attempts failed, the most first: of those that were there when the release began, and those that came.
func (r *Recorder) fail(o *Open, rel *Release, b Book) {
	list := []Failing{}
	look := func(id string) {
		before := o.Sent[id]
		attempts, failed := b.Sent(id)
		if l := r.lives[id]; l != nil && attempts >= before[0] && failed > before[1] {
			list = append(list, Failing{Episode: id, Name: l.Name, Attempts: attempts - before[0], Failed: failed - before[1]})
		}
	}
	for id := range o.Sent {
		look(id)
	}
	for _, id := range rel.Came {
		if _, known := o.Sent[id]; !known {
			look(id)
		}
	}
	slices.SortFunc(list, func(a, b Failing) int {
		return cmp.Or(cmp.Compare(b.Failed, a.Failed), cmp.Compare(a.Episode, b.Episode))
	})
	if list = list[:min(len(list), maxFailing)]; !slices.Equal(list, rel.Failing) {
		rel.Failing = list
		r.news[rel.ID] = true
	}
}

// close gives the verdict.
func (r *Recorder) close(o *Open, rel *Release) {
	lost, unmet := rel.Requests.Lost(), r.unmet(o, rel)
	o.Near, o.Moved = 0, time.Time{}
	if cut := rel.Drains.Cut; cut > 0 && lost == 0 {
		rel.Doubts = append(rel.Doubts, requests(cut)+" cut in a leave, and in no other count: by those who call an instance past the gateways")
	}
	switch {
	case lost > 0:
		rel.Verdict, rel.Why = Lossy, fmt.Sprintf("%s of %s lost: %s%s%s", number(lost), rel.passed(), lostText(rel.Losses), failingText(rel.Failing), rel.killed())
	case unmet != "":
		rel.Verdict, rel.Why = Unproven, unmet+"; "+rel.passed()+", none lost"
	case rel.Requests[ending.Served] == 0:
		rel.Verdict, rel.Why = Unproven, rel.idle()
	case len(rel.Doubts) > 0:
		rel.Verdict, rel.Why = Unproven, fmt.Sprintf("%s, none lost that was counted; but %s", rel.passed(), strings.Join(rel.Doubts, "; "))
	default:
		rel.Verdict, rel.Why = Lossless, rel.none()
	}
	if lost > 0 && unmet != "" {
		rel.Why += "; " + unmet
	}
	if lost > 0 && len(rel.Doubts) > 0 {
		rel.Why += "; there may be more: " + strings.Join(rel.Doubts, "; ")
	}
}

// passed says how many requests have ended: of a gateway, which of them services sent.
func (rel *Release) passed() string {
	text := requests(rel.Requests.Ended())
	outside, mesh := rel.ByService[""], rel.ByService[Mesh]
	if n := mesh.Ended(); n > 0 {
		text += fmt.Sprintf(" (%s from outside, %s between services)", number(outside.Ended()), number(n))
	}
	return text
}

// none says that nothing was lost.
func (rel *Release) none() string {
	text := rel.passed() + ", none lost"
	if n := rel.Requests[ending.Aborted]; n > 0 {
		text += "; " + number(n) + " given up by their clients"
	}
	var failed uint64
	for _, f := range rel.Failing {
		failed += f.Failed
	}
	if failed > 0 {
		text += "; " + number(failed) + " attempts failed on the way"
	}
	return text + rel.killed()
}

// killed says how many of those that went ended without a leave.
func (rel *Release) killed() string {
	switch n := rel.Drains.Killed; {
	case n == 0:
		return ""
	case rel.Kind == Gateway:
		return "; " + strings.Replace(counted(n), "replica", "gateway", 1) + " ended without a leave"
	default:
		return fmt.Sprintf("; %s ended without a leave", instances(n))
	}
}

// idle says that nothing passed, so that nothing is known.
func (rel *Release) idle() string {
	switch n := rel.Requests[ending.Aborted]; {
	case n > 0:
		return "nothing was served while it ran: " + requests(n) + " given up by their clients"
	case rel.Kind == Gateway:
		return "no request came in while it ran"
	case len(rel.Services) == 0:
		return "it is in no service: nothing that passes it is counted"
	}
	return "no request went to " + strings.Join(rel.Services, ", ") + " while it ran"
}

// soFar says how a release goes that runs.
func (rel *Release) soFar() string {
	if lost := rel.Requests.Lost(); lost > 0 {
		return fmt.Sprintf("it is not over; %s of %s lost so far: %s", number(lost), requests(rel.Requests.Ended()), lostText(rel.Losses))
	}
	return fmt.Sprintf("it is not over; %s so far, none lost", requests(rel.Requests.Ended()))
}

// lostText says how requests were lost, the most first.
func lostText(losses []Loss) string {
	var parts []string
	for _, l := range losses {
		where := string(l.Side)
		if l.Service != "" {
			where = l.Service + ", " + where
		}
		parts = append(parts, fmt.Sprintf("%s × %s (%s)", number(l.N), l.Kind, where))
	}
	if more := len(parts) - 4; more > 0 {
		parts = append(parts[:4], fmt.Sprintf("and %d more ways", more))
	}
	return strings.Join(parts, ", ")
}

// failingText says whose attempts failed.
func failingText(failing []Failing) string {
	var parts []string
	for _, f := range failing[:min(len(failing), 3)] {
		parts = append(parts, fmt.Sprintf("%s %s (%s sent)", f.Name, number(f.Failed), number(f.Attempts)))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; attempts that failed: " + strings.Join(parts, ", ")
}

func requests(n uint64) string {
	if n == 1 {
		return "1 request"
	}
	return number(n) + " requests"
}

// number writes 4211 as 4,211.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
