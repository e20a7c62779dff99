package release_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
)

// page is the report of a rollout in which something was lost.
func page(t *testing.T, change func(*release.Release, []release.Episode)) string {
	t.Helper()
	h := bookinfo(t)
	h.workload("reviews-v1").Revision = "r2"
	h.steps(8)
	h.losing = ending.Cut
	h.steps(2)
	h.losing = ending.Served
	h.steps(120)
	r := h.rec.State().Releases[0]
	lives := h.rec.State().Episodes
	if change != nil {
		change(&r, lives)
	}
	var b bytes.Buffer
	if err := release.HTML(&b, r, lives); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReportSaysWhatTheReleaseSays(t *testing.T) {
	text := page(t, nil)
	if out := os.Getenv("CROSSFADE_REPORT"); out != "" { // to look at it
		if err := os.WriteFile(out, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{
		"<b>lossy</b>: 2 of ", "lost: cut<td>endpoint, reviews:9080<td class=\"n\">2", "the minute before<td class=\"n\">60", "revision r1 → r2, 2 replicas",
		"2 drained, 0 ended without a leave", "warmup.started", "deregistered", "reviews-v1-4: start", "reviews-v1-1: shutdown",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the report does not say %q", part)
		}
	}
	if n := strings.Count(text, "<svg"); n != 4 {
		t.Errorf("got %d charts, want one for each that came and that went: 4", n)
	}
}

func TestReportNeedsNothingElse(t *testing.T) {
	text := page(t, nil)
	for _, bad := range []string{"<script", "http://", "https://", "url(", "@import", "<img", "<link", " on", "ZgotmplZ"} {
		if bad == " on" {
			if m := regexp.MustCompile(`\son[a-z]+=`).FindString(text); m != "" {
				t.Errorf("the report has a handler: %q", m)
			}
			continue
		}
		if strings.Contains(text, bad) {
			t.Errorf("the report has %q in it", bad)
		}
	}
}

func TestReportShowsMarkupAsText(t *testing.T) {
	const evil = `<script>alert("x")</script><img src=x onerror=alert(1)>`
	text := page(t, func(r *release.Release, lives []release.Episode) {
		r.Name, r.What, r.Why, r.Namespace = evil, evil, evil, evil
		r.Services, r.Doubts = []string{evil}, []string{evil}
		r.Losses = []release.Loss{{Kind: evil, Service: evil, N: 1}}
		r.Failing = []release.Failing{{Name: evil, Failed: 1}}
		r.Warm[0].Name = evil
		r.Events = []fleet.Event{{Kind: evil, Endpoint: evil, Reason: evil}}
		for i := range lives {
			lives[i].Name = evil
			lives[i].Marks[0].Text = evil
		}
	})
	if strings.Contains(text, "<script") || strings.Contains(text, "<img") {
		t.Error("markup in names came out as markup")
	}
	if n := strings.Count(text, "&lt;script&gt;"); n < 12 {
		t.Errorf("it came out as text %d times, want 12 or more", n)
	}
}

// TestReportIsWellFormed reads the drawings as XML: a browser would forgive what is not.
func TestReportIsWellFormed(t *testing.T) {
	text := page(t, nil)
	for i, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(text, -1) {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("drawing %d: %v\n%s", i, err, svg)
			}
		}
		if !regexp.MustCompile(`class="got" d="M[\d.]+ [\d.]+L`).MatchString(svg) {
			t.Errorf("drawing %d has no curve:\n%s", i, svg)
		}
	}
}

func TestReportOfOneThatRunsAndOfOneWithNothing(t *testing.T) {
	var b bytes.Buffer
	if err := release.HTML(&b, release.Release{ID: "x", Kind: release.Gateway, Verdict: release.Running}, nil); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); !strings.Contains(text, "Nobody.") || !strings.Contains(text, "Requests to the gateways, from outside or from services, that ended") {
		t.Errorf("got %s", text)
	}
}
