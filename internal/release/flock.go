package release

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// lull is how long nobody may have come or gone before a release that nobody asked for is over: what replaces one instance
// after another does not say how many there will be.
const lull = 30 * time.Second

// flock sees who has come and who goes, and gives them to their releases. Instances that nobody was asked for, because agents
// were started by hand or by somebody else's scheduler, or because they registered themselves, make releases of their own:
// those of one workload, or of one service, that come and go together are one.
func (r *Recorder) flock(news *tidings, b Book, now time.Time) {
	for _, l := range r.order {
		came, went := l.Running && !l.joined, !l.parted && !l.stays()
		if !came && !went || !r.belongs(l) {
			continue
		}
		o := r.current(l.object)
		if o == nil && strings.HasPrefix(l.object, flocks) && (went || l.born) {
			o = r.gather(l, now)
		}
		l.joined, l.parted = true, l.parted || went
		if o != nil { // else nobody asked for that: it is no release, and an episode all the same
			r.recall(r.of(o), l, news)
			r.take(o, l, came && l.born, went, b, now)
		}
	}
}

// take gives an instance that came, or goes, to its release.
func (r *Recorder) take(o *Open, l *life, came, went bool, b Book, now time.Time) {
	rel := r.of(o)
	for _, service := range l.Services {
		r.serve(o, service, b)
	}
	if came {
		rel.Came = r.member(rel.Came, l)
	}
	if went {
		rel.Went = r.member(rel.Went, l)
	}
	o.Changed = now
	if strings.HasPrefix(o.Object, flocks) {
		r.call(rel, o)
	}
	r.news[rel.ID] = true
}

// member adds l to those that came, or went, with a release: instances that die and are started again for ever are not to fill it.
func (r *Recorder) member(list []string, l *life) []string {
	if len(list) >= maxMembers {
		gone := slices.IndexFunc(list, func(id string) bool { other := r.lives[id]; return other == nil || !other.Running })
		if gone >= 0 {
			list = slices.Delete(list, gone, gone+1)
		}
	}
	return append(list, l.ID)
}

// belongs says whether it can be told what l is an instance of. One that nobody was asked for is one of its workload as it calls
// that, or of its service.
func (r *Recorder) belongs(l *life) bool {
	switch {
	case l.object != "" || !l.reported:
	case l.Workload != "":
		r.join(l, flocks+l.Namespace+"/"+l.Workload)
	case len(l.Services) > 0:
		r.join(l, flocks+l.Namespace+"/"+l.Services[0])
	}
	return l.object != ""
}

// current returns the release of an object that takes in who comes and goes, or nil.
func (r *Recorder) current(object string) *Open {
	for _, o := range r.open {
		if o.Object == object && !o.Superseded && r.of(o).Ended.IsZero() {
			return o
		}
	}
	return nil
}

// gather begins the release of l's object. Those that were there before are known from earlier views.
func (r *Recorder) gather(l *life, now time.Time) *Open {
	namespace, name, _ := strings.Cut(strings.TrimPrefix(l.object, flocks), "/")
	o := r.begin(&Release{Kind: Scale, Namespace: namespace, Name: name}, l.object, now)
	for _, other := range r.members[l.object] {
		if other.joined && !other.parted {
			o.Had++
			o.Was = append(o.Was, other.kind())
		}
	}
	slices.Sort(o.Was)
	o.Was = slices.Compact(o.Was)
	return o
}

// kind is what tells instances of one release from those of another.
func (l *life) kind() string { return cmp.Or(l.Version, short(l.Revision)) }

// call says what kind of release it is that nobody asked for, by who has come and gone.
func (r *Recorder) call(rel *Release, o *Open) {
	var are []string
	now := o.Had - len(rel.Went) + len(rel.Came)
	for _, id := range rel.Came {
		if l := r.lives[id]; l != nil && !slices.Contains(are, l.kind()) {
			are = append(are, l.kind())
		}
	}
	slices.Sort(are)
	news := without(are, o.Was)
	rel.Kind, rel.What = Scale, fmt.Sprintf("%s → %d", instances(o.Had), now)
	switch {
	case len(news) > 0 && o.Had > 0:
		rel.Kind, rel.What = Rollout, fmt.Sprintf("version %s → %s, %s", named(o.Was), named(news), instances(len(rel.Came)))
	case len(rel.Came) > 0 && len(rel.Went) > 0:
		rel.Kind, rel.What = Rollout, instances(min(len(rel.Came), len(rel.Went)))+" replaced"
	}
}

func named(kinds []string) string {
	if all := strings.Join(kinds, ", "); all != "" {
		return all
	}
	return "unnamed"
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}
