package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	issuerPath    = "/login/oidc"
	issuerTimeout = 10 * time.Second // for each question to an issuer
	errandTime    = 10 * time.Minute // that somebody has to log in there
)

// OIDC says who tells us who people are: an issuer of OpenID Connect (https://openid.net/specs/openid-connect-core-1_0.html).
type OIDC struct {
	Issuer     string
	ClientID   string
	SecretFile string   // "" is a client without a secret
	URL        string   // of the console: people are sent back to URL/login/oidc/done
	Operate    []string // CLAIM=VALUE: whoever has one may operate; a claim may be a list
	View       []string // likewise, may look
}

// check says what is wrong with it, and returns the secret.
func (o *OIDC) check() (secret string, err error) {
	switch {
	case !trusted(o.Issuer):
		return "", fmt.Errorf("issuer %q: want https://HOST[/PATH]", o.Issuer)
	case o.ClientID == "":
		return "", errors.New("issuer: what does it know the console by? Say its client ID")
	case len(o.Operate)+len(o.View) == 0:
		return "", errors.New("issuer: nobody of its people could come in; say which claims let somebody operate or view, such as groups=release")
	}
	for _, claim := range slices.Concat(o.Operate, o.View) {
		if name, value, ok := strings.Cut(claim, "="); !ok || name == "" || value == "" {
			return "", fmt.Errorf("claim %q: want CLAIM=VALUE, such as groups=release", claim)
		}
	}
	if o.SecretFile == "" {
		return "", nil
	}
	info, err := os.Stat(o.SecretFile)
	if err != nil {
		return "", fmt.Errorf("issuer's secret: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("issuer's secret: others may read or write %s (mode %04o): chmod 600 it", o.SecretFile, info.Mode().Perm())
	}
	data, err := os.ReadFile(o.SecretFile)
	if err != nil {
		return "", fmt.Errorf("issuer's secret: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// trusted says whether what an issuer's URL is answered with is its own: over TLS, or on this machine.
func trusted(issuer string) bool {
	u, err := url.Parse(issuer)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1")
}

// role is what the claims of somebody let them do; "" is nothing. An address that its issuer has not verified is whatever somebody
// says of themselves (Core 1.0, section 5.7).
func (o *OIDC) role(claims map[string]json.RawMessage) Role {
	has := func(claim string) bool {
		name, value, _ := strings.Cut(claim, "=")
		if name == "email" && !slices.Equal(texts(claims["email_verified"]), []string{"true"}) {
			return false
		}
		return slices.Contains(texts(claims[name]), value)
	}
	switch {
	case slices.ContainsFunc(o.Operate, has):
		return Operate
	case slices.ContainsFunc(o.View, has):
		return View
	}
	return ""
}

// texts are what a claim says: one text, a list of them, or yes and no as words.
func texts(claim json.RawMessage) []string {
	var list []string
	if json.Unmarshal(claim, &list) == nil {
		return list
	}
	var one any
	if json.Unmarshal(claim, &one) != nil {
		return nil
	}
	switch one.(type) {
	case string, bool:
		return []string{fmt.Sprint(one)}
	}
	return nil
}

// An issuer is asked who people are. It is looked for when somebody first wants to log in, and again until it is found.
type issuer struct {
	OIDC

	secret string
	client *http.Client

	mu    sync.Mutex // guards the following
	found *oidc.Provider
}

func newIssuer(o OIDC) (*issuer, error) {
	secret, err := o.check()
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: issuerTimeout}
	return &issuer{OIDC: o, secret: secret, client: &http.Client{Timeout: issuerTimeout, Transport: brief{transport}}}, err
}

// brief takes no more of an answer than one of an issuer has.
type brief struct{ http.RoundTripper }

// RoundTrip is http.RoundTripper's.
func (b brief) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxBody), answer.Body}
	return answer, nil
}

// name is that of the issuer, for people.
func (i *issuer) name() string {
	u, err := url.Parse(i.Issuer)
	if err != nil {
		return i.Issuer
	}
	return u.Host
}

// provider finds the issuer.
func (i *issuer) provider(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.found == nil {
		p, err := oidc.NewProvider(ctx, i.Issuer)
		if err != nil {
			return nil, nil, err
		}
		i.found = p
	}
	return i.found, &oauth2.Config{
		ClientID: i.ClientID, ClientSecret: i.secret, Endpoint: i.found.Endpoint(), RedirectURL: i.URL + issuerPath + "/done",
		Scopes: []string{oidc.ScopeOpenID, "profile", "email", "groups"},
	}, nil
}

// An errand is what somebody carries while they log in at the issuer, in a cookie.
type errand struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Then     string    `json:"then"`
	Until    time.Time `json:"until"`
}

// errandCookie is its name.
func (d *doors) errandCookie() string { return d.cookie() + "-errand" }

// toIssuer sends somebody to log in.
func (d *doors) toIssuer(w http.ResponseWriter, r *http.Request) {
	_, config, err := d.issuer.provider(oidc.ClientContext(r.Context(), d.issuer.client))
	if err != nil {
		d.log.ErrorContext(r.Context(), "console: the issuer does not answer", "issuer", d.issuer.Issuer, "err", err)
		d.show(w, r, http.StatusBadGateway, d.issuer.name()+" does not answer; try again")
		return
	}
	e := errand{
		State: secretText(), Nonce: secretText(), Verifier: oauth2.GenerateVerifier(),
		Then: within(r.URL.Query().Get("then")), Until: time.Now().Add(errandTime),
	}
	d.set(w, d.errandCookie(), d.sealed(purposeErrand, &e), errandTime)
	http.Redirect(w, r, config.AuthCodeURL(e.State, oidc.Nonce(e.Nonce), oauth2.S256ChallengeOption(e.Verifier)), http.StatusSeeOther)
}

// fromIssuer takes somebody in who comes back.
func (d *doors) fromIssuer(w http.ResponseWriter, r *http.Request) {
	d.set(w, d.errandCookie(), "", 0) // it is good for once
	p, then, err := d.returned(r)
	if err != nil {
		d.notLetIn(r, err)
		d.show(w, r, http.StatusForbidden, err.Error())
		return
	}
	d.log.InfoContext(r.Context(), "console: logged in", "user", p.Name, "role", p.Role, "from", r.RemoteAddr)
	d.logIn(w, p)
	http.Redirect(w, r, then, http.StatusSeeOther)
}

// returned says who has come back from the issuer, and where they wanted to go.
func (d *doors) returned(r *http.Request) (p *pass, then string, err error) {
	var e errand
	cookie, err := r.Cookie(d.errandCookie())
	if err != nil || !d.unseal(purposeErrand, cookie.Value, &e) || !time.Now().Before(e.Until) {
		return nil, "", errors.New("the login took too long, or was not begun here; begin again")
	}
	query := r.URL.Query()
	if query.Get("state") != e.State {
		return nil, "", errors.New("the login was begun elsewhere; begin again")
	}
	if query.Get("error") != "" {
		return nil, "", fmt.Errorf("%s says %q", d.issuer.name(), query.Get("error"))
	}
	ctx := oidc.ClientContext(r.Context(), d.issuer.client)
	provider, config, err := d.issuer.provider(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("%s does not answer; try again", d.issuer.name())
	}
	token, err := config.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(e.Verifier))
	if err != nil {
		why := "it does not answer"
		if said, ok := errors.AsType[*oauth2.RetrieveError](err); ok { // the rest of what it says may hold secrets
			why = fmt.Sprintf("%s %q", said.Response.Status, said.ErrorCode)
		}
		return nil, "", fmt.Errorf("%s gives no token for that login (%s); begin again", d.issuer.name(), why)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, "", fmt.Errorf("%s does not say who that is: there is no id_token", d.issuer.name())
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: d.issuer.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, "", fmt.Errorf("what %s says of somebody is not believed: %w", d.issuer.name(), err)
	}
	if id.Nonce != e.Nonce {
		return nil, "", errors.New("that login has been used before; begin again")
	}
	p, err = d.issuer.pass(id)
	return p, e.Then, err
}

// pass is for whom a verified token describes.
func (i *issuer) pass(id *oidc.IDToken) (*pass, error) {
	var claims map[string]json.RawMessage
	if err := id.Claims(&claims); err != nil {
		return nil, fmt.Errorf("what %s says of somebody cannot be read: %w", i.name(), err)
	}
	name := id.Subject
	for _, claim := range []string{"preferred_username", "email", "name"} {
		if said := texts(claims[claim]); len(said) == 1 && said[0] != "" {
			name = said[0]
			break
		}
	}
	role := i.role(claims)
	if role == "" {
		return nil, fmt.Errorf("%s is known to %s, and may not use this console", name, i.name())
	}
	return &pass{Name: name[:min(len(name), maxUser)], Role: role}, nil
}
