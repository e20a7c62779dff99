//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/test/bench/wire"
)

// spent makes the rounds in which a request cost so many microseconds.
func spent(costs ...float64) []wire.Result {
	all := make([]wire.Result, len(costs))
	for i, c := range costs {
		all[i] = wire.Result{Requests: 1000, Wall: time.Second, Proxy: wire.Usage{Total: time.Duration(c * 1000 * float64(time.Microsecond))}}
	}
	return all
}

// The kernel changes its regime after the third round: rounds are compared with their like, and the round in which
// it happened with none.
func TestRoundsAreComparedWithinARegime(t *testing.T) {
	o := outcome{
		item:     item{title: "work"},
		floor:    showing{peer: floorName, rounds: spent(4, 4, 4.1, 8, 8.1, 8)},
		showings: []showing{{peer: ours, rounds: spent(6, 6, 9, 16, 16)}, {peer: "nginx", rounds: spent(8, 8, 8, 16, 16)}},
	}
	all, mixed := o.regimes()
	if mixed != 1 || len(all) != 2 {
		t.Fatalf("%d regimes and %d mixed rounds, want 2 and 1: %v", len(all), mixed, all)
	}
	if !slices.Equal(all[0].rounds, []int{0, 1}) || !slices.Equal(all[1].rounds, []int{3, 4}) {
		t.Errorf("rounds %v are cheap and %v dear, want 0, 1 and 3, 4", all[0].rounds, all[1].rounds)
	}
	us, _ := o.find(ours)
	them, _ := o.find("nginx")
	for i, want := range []float64{0.75, 1} {
		if got, _, _, ok := all[i].ratio(us, them); got != want || !ok {
			t.Errorf("%s: the ratio is %v, want %v", all[i].title, got, want)
		}
	}
}

func TestOneRegimeKeepsAllRounds(t *testing.T) {
	o := outcome{floor: showing{peer: floorName, rounds: spent(4, 4.1, 3.9, 4, 4.2, 4)}}
	all, mixed := o.regimes()
	if len(all) != 1 || len(all[0].rounds) != 5 || mixed != 0 {
		t.Errorf("regimes %v with %d mixed, want one with 5 rounds", all, mixed)
	}
}

// Who was left out after some rounds is compared in those, and says why.
func TestThePageSaysWhoIsMissing(t *testing.T) {
	o := outcome{
		item:  item{title: "work", name: "work", scene: scene{members: 1, routes: 1}},
		floor: showing{peer: floorName, rounds: spent(4, 4, 4)},
		showings: []showing{
			{peer: ours, rounds: spent(6, 6)},
			{peer: "haproxy", rounds: spent(8)},
			{peer: "nginx", err: nonsenseError("it spoke nonsense")},
		},
	}
	p := page{outcomes: []outcome{o}, options: options{peers: []peer{{name: floorName}, {name: ours}, {name: "haproxy"}, {name: "nginx"}}}}
	p.summary()
	p.outcome(o)
	text := p.String()
	for _, want := range []string{"| work | 1.50 | 0.75 | – |", "nginx was left out: it spoke nonsense.", "| crossfade | 6.00 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
}

type nonsenseError string

func (e nonsenseError) Error() string { return string(e) }

func TestVersionNumbers(t *testing.T) {
	for text, want := range map[string]string{
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/":  "2.6.12-1+deb12u4",
		"nginx version: nginx/1.22.1\n":                                       "1.22.1",
		"\nenvoy  version: 9e5580933739775e8b/1.40.0/Clean/RELEASE/BoringSSL": "1.40.0",
		"v2.11.7 h1:yj0Y4fYZGPkSvibBJ1sTWE33xC0fxztVyXEW5iIdUT4=":             "2.11.7",
		"Version:      3.7.15\nCodename:     langres\n":                       "3.7.15",
		"crossfade version cc325d5-dirty":                                     "cc325d5-dirty",
		"":                                                                    "unknown",
	} {
		if got := number(text); got != want {
			t.Errorf("number(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestShareOfAWarmingEndpoint(t *testing.T) {
	if got := share([]int{100, 200, 150, 30, 60}, 2); got != 0.3 {
		t.Errorf("share = %v, want 0.3: 45 beside 150", got)
	}
}

func TestChosen(t *testing.T) {
	t.Setenv("BENCH", "b,a")
	if got, err := chosen("BENCH", []string{"a", "b", "c"}); err != nil || !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("chosen = %v, %v", got, err)
	}
	t.Setenv("BENCH", "d")
	if _, err := chosen("BENCH", []string{"a", "b"}); err == nil || !strings.Contains(err.Error(), `"d"`) {
		t.Errorf("chosen = %v, want an error that names d", err)
	}
}

func TestCounter(t *testing.T) {
	if n, err := counter("123456,,instructions:u,1000,100.00,,\n"); n != 123456 || err != nil {
		t.Errorf("counter = %d, %v, want 123456", n, err)
	}
	for _, text := range []string{"<not supported>,,instructions:u,0,100.00,,\n", ""} {
		if _, err := counter(text); err == nil {
			t.Errorf("counter(%q): no error", text)
		}
	}
}

// A page goes to the documents when everything that belongs on it was measured, whatever of the other one was.
func TestPages(t *testing.T) {
	belong := map[string][]outcome{}
	for _, it := range items() {
		belong[it.page()] = append(belong[it.page()], outcome{item: it})
	}
	for _, f := range forms() {
		all := belong[f.name]
		if len(all) < 2 || len(f.selection()) != len(all) {
			t.Fatalf("%s has %d items and selects %v", f.name, len(all), f.selection())
		}
		for _, tt := range []struct {
			p    page
			want bool
		}{
			{page{form: f, outcomes: all, options: options{full: true}}, true},
			{page{form: f, outcomes: all}, false},
			{page{form: f, outcomes: all[1:], options: options{full: true}}, false},
		} {
			if got := tt.p.whole(); got != tt.want {
				t.Errorf("%s with %d of %d items, full %v: whole is %v", f.name, len(tt.p.outcomes), len(all), tt.p.full, got)
			}
		}
		delete(belong, f.name)
	}
	if len(belong) > 0 {
		t.Errorf("no page has %v", belong)
	}
}

// What BENCH may name is unique, and so are the directories of the scenes.
func TestItems(t *testing.T) {
	names, scenes := map[string]bool{}, map[string]scene{}
	for _, it := range items() {
		if names[it.name] {
			t.Errorf("two items are called %s", it.name)
		}
		names[it.name] = true
		if other, taken := scenes[it.scene.name]; taken && other != it.scene {
			t.Errorf("two scenes are called %s: %+v and %+v", it.scene.name, other, it.scene)
		}
		scenes[it.scene.name] = it.scene
	}
}
