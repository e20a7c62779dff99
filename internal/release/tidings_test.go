package release

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// No event is missed that is about a release, and they stay in order.
func TestLikelyAreAllThatAreAbout(t *testing.T) {
	id := rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
	ids := rapid.SliceOfN(id, 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		rel := &Release{
			Kind: rapid.SampledFrom([]Kind{Rollout, Scale, Gateway}).Draw(t, "kind"), Namespace: "default", Name: "a",
			Came: ids.Draw(t, "came"), Went: ids.Draw(t, "went"),
		}
		o := &Open{Object: rapid.SampledFrom([]string{loose, "default/a", gateways + "default/a"}).Draw(t, "object")}
		var news, want []fleet.Event
		for i := range rapid.IntRange(0, 12).Draw(t, "news") {
			e := fleet.Event{
				Kind:     rapid.SampledFrom([]string{"gateway.joined", "follower.left", "scaled"}).Draw(t, "kind"),
				Endpoint: rapid.SampledFrom([]string{"", "a", "a-1", "default/a"}).Draw(t, "endpoint"), Incarnation: id.Draw(t, "incarnation"),
				From: id.Draw(t, "from"), Reason: fmt.Sprint(id.Draw(t, "reason"), " ", i),
			}
			news = append(news, e)
			if about(rel, o, &e) {
				want = append(want, e)
			}
		}
		var got []fleet.Event
		for _, e := range tidingsOf(news).likely(rel) {
			if about(rel, o, &e) {
				got = append(got, e)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
