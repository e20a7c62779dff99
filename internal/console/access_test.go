package console

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	annaToken = "anna-0123456789abcdef0123456789"
	bertToken = "bert-0123456789abcdef0123456789"
)

// tokenFile writes lines into a file of a mode.
func tokenFile(t *testing.T, mode os.FileMode, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	rewrite(t, path, mode, lines...)
	return path
}

func rewrite(t *testing.T, path string, mode os.FileMode, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func twoTokens(t *testing.T) string {
	t.Helper()
	return tokenFile(t, 0o600, "# who may come in", "anna operate sha256:"+hash(annaToken), "bert view "+bertToken)
}

// in logs somebody in as the login page does, and returns the Cookie field.
func (w *world) in(token string) string {
	w.t.Helper()
	r := w.ask("POST", "/login?then=/releases", "token="+token, "Content-Type", "application/x-www-form-urlencoded")
	if r.Code != http.StatusSeeOther || r.Header().Get("Location") != "/releases" {
		w.t.Fatalf("log in: %d to %q: %s", r.Code, r.Header().Get("Location"), r.Body)
	}
	return carried(r)
}

// carried is what a browser sends after an answer: all its cookies.
func carried(r *httptest.ResponseRecorder) string {
	var pairs []string
	for _, c := range r.Result().Cookies() {
		if c.MaxAge >= 0 {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}

func TestOnlyWhoIsKnownComesIn(t *testing.T) {
	w := newWorld(t, Access{Tokens: twoTokens(t)})
	for _, target := range []string{"/api/v1/session", "/api/v1/overview", "/api/v1/stream?topic=overview", "/api/v1/documents", "/api/v1/nothing"} {
		for _, fields := range [][]string{
			nil, {"Authorization", "Bearer wrong"}, {"Authorization", "Bearer "}, {"Authorization", "Basic " + annaToken}, {"Cookie", "crossfade=x.y"}, {"Cookie", "crossfade=."},
		} {
			if got := w.ask("GET", target, "", fields...).Code; got != http.StatusUnauthorized {
				t.Errorf("GET %s with %q: got %d, want 401", target, fields, got)
			}
		}
	}
	if r := w.ask("GET", "/services/a?b=c", "", "Accept", "text/html"); r.Code != 303 || r.Header().Get("Location") != "/login?then=%2Fservices%2Fa%3Fb%3Dc" {
		t.Errorf("a view: got %d to %q, want the login", r.Code, r.Header().Get("Location"))
	}
	r := w.ask("GET", "/login?then=%2Freleases", "")
	if body := r.Body.String(); r.Code != 200 || !strings.Contains(body, `action="/login?then=%2freleases"`) || strings.Contains(body, "<script") {
		t.Errorf("the login page: got %d %s", r.Code, body)
	}
	if r := w.ask("POST", "/login", "token=wrong", "Content-Type", "application/x-www-form-urlencoded"); r.Code != 401 || len(r.Result().Cookies()) != 0 {
		t.Errorf("a wrong token: got %d %q", r.Code, r.Header())
	}
	if got := w.ask("GET", "/api/v1/session", "", "Authorization", "Bearer "+bertToken).Code; got != 200 {
		t.Errorf("a token: got %d, want 200", got)
	}
	s := decoded[Session](t, w.ask("GET", "/api/v1/session", "", "Cookie", w.in(annaToken)))
	if s.User != "anna" || s.Role != Operate || s.Loopback {
		t.Errorf("got %+v, want anna, who may operate", s)
	}
}

// Who tries tokens one after the other finds none that could be guessed, and fills no log.
func TestTokensAreNotGuessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d, err := newDoors(Access{Tokens: tokenFile(t, 0o600, "carl operate sha256:"+hash("123456"), "anna view sha256:"+hash(annaToken))}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		d.mount(mux)
		try := func(token string) int {
			return ask(mux, "POST", "/login", "token="+token, "Content-Type", "application/x-www-form-urlencoded").Code
		}
		for range 1000 {
			if got := try("123456"); got != http.StatusUnauthorized {
				t.Fatalf("a token of six digits: got %d, want 401", got)
			}
		}
		if got := try(annaToken); got != http.StatusSeeOther {
			t.Errorf("the right one, in the middle of it: got %d", got)
		}
		time.Sleep(time.Second)
		try("%0a%1b" + strings.Repeat("x", leastToken))
		lines := strings.Count(log.String(), "not let in")
		if lines != 2 || !strings.Contains(log.String(), "others=999") || strings.Contains(log.String(), annaToken) {
			t.Errorf("got %d lines, want 2: %s", lines, log.String())
		}
	})
}

// What is mounted in the console hears who may act.
func TestWhoMayAct(t *testing.T) {
	w := newWorld(t, Access{Tokens: twoTokens(t)})
	w.Settings = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		reply(rw, http.StatusOK, map[string]bool{User(r): Operates(r)})
	})
	w.handler = w.Handler()
	for token, want := range map[string]string{annaToken: `{"anna":true}`, bertToken: `{"bert":false}`} {
		if got := strings.TrimSpace(w.ask("GET", "/api/v1/documents", "", "Authorization", "Bearer "+token).Body.String()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if Operates(newRequest(t, "")) {
		t.Error("somebody whom nobody let in may act")
	}
}

func TestLookersDoNotAct(t *testing.T) {
	const act = `{"action":"restart","kind":"deployment","namespace":"default","name":"reviews"}`
	w := newWorld(t, Access{Tokens: twoTokens(t)})
	bert, anna := w.in(bertToken), w.in(annaToken)
	for name, fields := range map[string][]string{"by cookie": {"Cookie", bert}, "by token": {"Authorization", "Bearer " + bertToken}} {
		if r := w.act(act, fields...); r.Code != http.StatusForbidden {
			t.Errorf("a looker, %s: got %d %s, want 403", name, r.Code, r.Body)
		}
		if got := w.ask("GET", "/api/v1/overview", "", fields...).Code; got != 200 {
			t.Errorf("a looker, %s, looks: got %d", name, got)
		}
	}
	if r := w.ask("POST", "/api/v1/act", act, "Cookie", anna, "Content-Type", "application/json", "X-Crossfade-CSRF", w.csrf("Cookie", bert)); r.Code != 403 {
		t.Errorf("with what another session may show: got %d, want 403", r.Code)
	}
	if len(w.events("workload.restarted")) != 0 {
		t.Fatal("somebody restarted what they only may look at")
	}
	if r := w.act(act, "Cookie", anna); r.Code != 200 {
		t.Errorf("an operator: got %d %s", r.Code, r.Body)
	}
	if r := w.ask("POST", "/api/v1/act", act, "Authorization", "Bearer "+annaToken, "Content-Type", "application/json"); r.Code != 200 {
		t.Errorf("an operator's pipeline: got %d %s", r.Code, r.Body)
	}
	events := w.events("workload.restarted")
	if len(events) != 2 || events[0].By != "anna" || events[1].By != "anna" {
		t.Errorf("got %+v, want two by anna", events)
	}
	loopback := newWorld(t, Access{Role: View})
	if r := loopback.act(act); r.Code != http.StatusForbidden {
		t.Errorf("on loopback, where everybody only looks: got %d, want 403", r.Code)
	}
}

func TestCookiesAreKeptFromOthers(t *testing.T) {
	for _, secure := range []bool{false, true} {
		w := newWorld(t, Access{Tokens: twoTokens(t), Secure: secure})
		r := w.ask("POST", "/login", "token="+annaToken, "Content-Type", "application/x-www-form-urlencoded")
		for _, c := range r.Result().Cookies() {
			if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure != secure || c.Path != "/" || c.Domain != "" || strings.HasPrefix(c.Name, "__Host-") != secure {
				t.Errorf("secure %t: got %+v", secure, c)
			}
			if strings.Contains(c.Value, annaToken) {
				t.Error("the cookie has the token in it")
			}
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	path := twoTokens(t)
	w := newWorld(t, Access{Tokens: path})
	cookie := w.in(annaToken)
	code := func() int { return w.ask("GET", "/api/v1/session", "", "Cookie", cookie).Code }
	if got := code(); got != 200 {
		t.Fatalf("got %d", got)
	}
	if r := w.ask("POST", "/logout", "", "Cookie", cookie); r.Code != 303 || code() != 401 {
		t.Errorf("logged out: got %d, and the cookie is worth %d", r.Code, code())
	}
	if cookie = w.in(annaToken); code() != 200 {
		t.Fatal("who logged out cannot log in again")
	}
	rewrite(t, path, 0o600, "anna view sha256:"+hash(annaToken))
	w.doors.tokens.looked = time.Time{} // a second later
	if s := decoded[Session](t, w.ask("GET", "/api/v1/session", "", "Cookie", cookie)); s.Role != View {
		t.Errorf("a role that was taken away: got %q", s.Role)
	}
	rewrite(t, path, 0o600, "this is no token file at all")
	w.doors.tokens.looked = time.Time{}
	if code() != 200 {
		t.Error("a file that is broken for a moment throws everybody out")
	}
	rewrite(t, path, 0o600, "bert view sha256:"+hash(bertToken))
	w.doors.tokens.looked = time.Time{}
	if code() != 401 {
		t.Error("a token that was taken out of the file goes on being worth something")
	}
}

func TestSessionsAreNotMade(t *testing.T) {
	w := newWorld(t, Access{Tokens: twoTokens(t)})
	other := newWorld(t, Access{Tokens: twoTokens(t)})
	d := w.doors
	good := pass{ID: "id", Name: "anna", Role: Operate, Token: hash(annaToken), Until: time.Now().Add(time.Hour)}
	if d.resume(d.sealed(purposeSession, &good)) == nil {
		t.Fatal("what the others are made of is no session itself")
	}
	late, nobody, issued := good, good, good
	late.Until = time.Now().Add(-time.Second)
	nobody.Token = hash("nobody's")
	issued.Token = "" // by an issuer, where there is none
	text, _, _ := strings.Cut(d.sealed(purposeSession, &good), ".")
	for name, cookie := range map[string]string{
		"late": d.sealed(purposeSession, &late), "of nobody's token": d.sealed(purposeSession, &nobody), "of no issuer": d.sealed(purposeSession, &issued),
		"of another key": other.doors.sealed(purposeSession, &good), "an errand": d.sealed(purposeErrand, &good), "without a seal": text,
		"with an empty seal": text + ".", "nothing": "", "changed": "A" + d.sealed(purposeSession, &good),
	} {
		if who := d.resume(cookie); who != nil {
			t.Errorf("%s: is a session of %+v", name, who)
		}
	}
}

func TestKeysOutliveUs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "console.key")
	first, err := KeepKey(path)
	if err != nil || len(first) != keySize {
		t.Fatalf("got %d bytes, %v", len(first), err)
	}
	if again, err := KeepKey(path); err != nil || string(again) != string(first) {
		t.Errorf("another time it is another key: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; want a file for its owner alone", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err := KeepKey(path); err != nil || string(again) == string(first) {
		t.Errorf("a key that others can read is used on: %v", err)
	}
	if key, err := KeepKey(filepath.Join("/proc", "nothing", "key")); err == nil || len(key) != keySize {
		t.Errorf("where nothing can be kept: got %d bytes and %v, want a key and an error", len(key), err)
	}
}

func TestWithinLeadsNowhereElse(t *testing.T) {
	for then, want := range map[string]string{
		"/releases": "/releases", "/services/a:1?x=y": "/services/a:1?x=y", "": "/", "//evil.example": "/", "https://evil.example": "/", "evil.example": "/",
		`/\evil.example`: "/", "/\t/evil.example": "/", "javascript:alert(1)": "/", "/a\r\nSet-Cookie: x": "/", "/%0d%0aSet-Cookie:x": "/%0d%0aSet-Cookie:x",
		"/" + strings.Repeat("a", 2*maxName): "/",
	} {
		if got := within(then); got != want {
			t.Errorf("within(%q) = %q, want %q", then, got, want)
		}
	}
}
