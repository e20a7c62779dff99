package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// An idp is an issuer as companies have one: it signs whatever the test says.
type idp struct {
	*httptest.Server

	t      *testing.T
	key    *ecdsa.PrivateKey
	signer jose.Signer
	claims map[string]any // beside those that every token has, or in place of them; nil leaves one out
	nonce  string         // of the latest login
	asked  url.Values     // by the exchange of a code
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &idp{t: t, key: key, claims: map[string]any{}}
	i.sign(key)
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(value); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		i.asked = r.PostForm
		if user, secret, _ := r.BasicAuth(); user != "console" || secret != "its-secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		answer(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": i.token()})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *idp) sign(by *ecdsa.PrivateKey) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: by}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		i.t.Fatal(err)
	}
	i.signer = signer
}

func (i *idp) token() string {
	claims := map[string]any{
		"iss": i.URL, "aud": "console", "sub": "0815", "nonce": i.nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		"preferred_username": "carla", "groups": []string{"staff", "release"},
	}
	maps.Copy(claims, i.claims)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, err := jwt.Signed(i.signer).Claims(claims).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

func (i *idp) access(t *testing.T) Access {
	t.Helper()
	return Access{OIDC: &OIDC{
		Issuer: i.URL, ClientID: "console", SecretFile: tokenFile(t, 0o600, "its-secret"), URL: "https://console.example",
		Operate: []string{"groups=release"}, View: []string{"groups=staff", "department=ops", "guest=true", "email=carla@example.com"},
	}}
}

// begun begins a login: the issuer knows its nonce, and the browser carries what it was given.
func (i *idp) begun(w *world) (state, cookie string) {
	i.t.Helper()
	r := w.ask("GET", "/login/oidc?then=/releases", "")
	to, err := url.Parse(r.Header().Get("Location"))
	if r.Code != http.StatusSeeOther || err != nil || !strings.HasPrefix(to.String(), i.URL+"/authorize?") {
		i.t.Fatalf("got %d to %q: %s", r.Code, to, r.Body)
	}
	query := to.Query()
	if query.Get("redirect_uri") != "https://console.example/login/oidc/done" || query.Get("code_challenge_method") != "S256" || query.Get("code_challenge") == "" {
		i.t.Errorf("it is asked with %q", query)
	}
	i.nonce = query.Get("nonce")
	return query.Get("state"), carried(r)
}

func TestIssuerSaysWhoSomebodyIs(t *testing.T) {
	for name, c := range map[string]struct {
		claims map[string]any
		role   Role
		user   string
	}{
		"a list":                       {nil, Operate, "carla"},
		"another group":                {map[string]any{"groups": []string{"staff"}}, View, "carla"},
		"one word":                     {map[string]any{"groups": "release"}, Operate, "carla"},
		"another claim":                {map[string]any{"groups": nil, "department": "ops", "preferred_username": nil}, View, "0815"},
		"yes":                          {map[string]any{"groups": nil, "guest": true}, View, "carla"},
		"nobody of ours":               {map[string]any{"groups": []string{"else"}}, "", ""},
		"a group like it":              {map[string]any{"groups": []string{"release2", "releas"}}, "", ""},
		"no groups":                    {map[string]any{"groups": nil}, "", ""},
		"an address":                   {map[string]any{"groups": nil, "email": "carla@example.com", "email_verified": true}, View, "carla"},
		"one that they say themselves": {map[string]any{"groups": nil, "email": "carla@example.com"}, "", ""},
		"one that is not theirs":       {map[string]any{"groups": nil, "email": "carla@example.com", "email_verified": false}, "", ""},
		"of another kind":              {map[string]any{"groups": map[string]any{"release": true}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t)
			w := newWorld(t, i.access(t))
			i.claims = c.claims
			if i.claims == nil {
				i.claims = map[string]any{}
			}
			state, cookie := i.begun(w)
			r := w.ask("GET", "/login/oidc/done?code=x&state="+state, "", "Cookie", cookie)
			if c.role == "" {
				if r.Code != http.StatusForbidden || carried(r) != "" {
					t.Errorf("got %d with %q, want 403", r.Code, carried(r))
				}
				return
			}
			if r.Code != http.StatusSeeOther || r.Header().Get("Location") != "/releases" {
				t.Fatalf("got %d to %q: %s", r.Code, r.Header().Get("Location"), r.Body)
			}
			if i.asked.Get("code_verifier") == "" {
				t.Error("the code was exchanged by who need not have begun the login")
			}
			if s := decoded[Session](t, w.ask("GET", "/api/v1/session", "", "Cookie", carried(r))); s.User != c.user || s.Role != c.role {
				t.Errorf("got %+v, want %s, who may %s", s, c.user, c.role)
			}
		})
	}
}

func TestIssuersAreNotBelievedBlindly(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(i *idp, query url.Values, cookie *string)
		want   string // in the answer
	}{
		"another audience":   {func(i *idp, _ url.Values, _ *string) { i.claims["aud"] = "somebody else" }, "is not believed"},
		"another issuer":     {func(i *idp, _ url.Values, _ *string) { i.claims["iss"] = "https://evil.example" }, "is not believed"},
		"too late":           {func(i *idp, _ url.Values, _ *string) { i.claims["exp"] = time.Now().Add(-time.Hour).Unix() }, "is not believed"},
		"another signature":  {func(i *idp, _ url.Values, _ *string) { i.sign(stranger) }, "is not believed"},
		"of another login":   {func(i *idp, _ url.Values, _ *string) { i.nonce = "another" }, "has been used before"},
		"another state":      {func(_ *idp, q url.Values, _ *string) { q.Set("state", "another") }, "begun elsewhere"},
		"no state":           {func(_ *idp, q url.Values, _ *string) { q.Del("state") }, "begun elsewhere"},
		"begun by somebody":  {func(_ *idp, _ url.Values, cookie *string) { *cookie = "" }, "not begun here"},
		"a made up errand":   {func(_ *idp, _ url.Values, cookie *string) { *cookie = "crossfade-errand=e30.x" }, "not begun here"},
		"an error of theirs": {func(_ *idp, q url.Values, _ *string) { q.Set("error", evil) }, "says"},
	} {
		i := newIDP(t)
		w := newWorld(t, i.access(t))
		state, cookie := i.begun(w)
		query := url.Values{"state": {state}, "code": {"x"}}
		c.change(i, query, &cookie)
		r := w.ask("GET", "/login/oidc/done?"+query.Encode(), "", "Cookie", cookie)
		if r.Code != http.StatusForbidden || carried(r) != "" {
			t.Errorf("%s: got %d with %q, want 403", name, r.Code, carried(r))
		}
		if body := r.Body.String(); strings.Contains(body, "<img") || strings.Contains(body, "its-secret") || !strings.Contains(body, c.want) {
			t.Errorf("%s: it says %s, and is to say %q", name, body, c.want)
		}
	}
}

// The seal of a login is good once, and for ten minutes.
func TestErrandsAreNoSessions(t *testing.T) {
	i := newIDP(t)
	w := newWorld(t, i.access(t))
	_, cookie := i.begun(w)
	if got := w.ask("GET", "/api/v1/session", "", "Cookie", strings.Replace(cookie, "crossfade-errand=", "crossfade=", 1)).Code; got != 401 {
		t.Errorf("an errand as a session: got %d, want 401", got)
	}
	late := errand{State: "s", Until: time.Now().Add(-time.Second)}
	if got := w.ask("GET", "/login/oidc/done?code=x&state=s", "", "Cookie", "crossfade-errand="+w.doors.sealed(purposeErrand, &late)).Code; got != 403 {
		t.Errorf("a login that took too long: got %d, want 403", got)
	}
}

func TestIssuersMayBeAway(t *testing.T) {
	i := newIDP(t)
	a := i.access(t)
	i.Close()
	w := newWorld(t, a) // control does not wait for them
	if r := w.ask("GET", "/login/oidc", ""); r.Code != http.StatusBadGateway || !strings.Contains(r.Body.String(), "does not answer; try again") {
		t.Errorf("got %d %s", r.Code, r.Body)
	}
}

// An issuer that says too much is not listened to for long.
func TestIssuersAreBrief(t *testing.T) {
	var said atomic.Int64
	i := newIDP(t)
	i.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for line := []byte(strings.Repeat(" ", 1<<20)); said.Load() < 64<<20; {
			n, err := w.Write(line)
			said.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	w := newWorld(t, i.access(t))
	if r := w.ask("GET", "/login/oidc", ""); r.Code != http.StatusBadGateway {
		t.Errorf("got %d %s", r.Code, r.Body)
	}
	i.Close() // which waits for what it says
	if got := said.Load(); got >= 64<<20 {
		t.Errorf("all %d bytes of it were taken", got)
	}
}

func TestIssuersAreCheckedFirst(t *testing.T) {
	good := OIDC{Issuer: "https://issuer.example", ClientID: "console", Operate: []string{"groups=release"}}
	for want, change := range map[string]func(*OIDC){
		"":                         func(*OIDC) {},
		"want https://HOST":        func(o *OIDC) { o.Issuer = "http://issuer.example" },
		"Say its client ID":        func(o *OIDC) { o.ClientID = "" },
		"nobody of its people":     func(o *OIDC) { o.Operate = nil },
		`claim "groups": want`:     func(o *OIDC) { o.View = []string{"groups"} },
		"no such file":             func(o *OIDC) { o.SecretFile = "/nowhere" },
		"others may read or write": func(o *OIDC) { o.SecretFile = tokenFile(t, 0o644, "secret") },
	} {
		o := good
		change(&o)
		if err := (&Access{OIDC: &o}).Check(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
