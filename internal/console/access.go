package console

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"strings"
)

// A Role is what somebody may do.
type Role string

// The roles.
const (
	View    Role = "view"    // look at everything
	Operate Role = "operate" // and act, and change settings
)

// ParseRole reads a role.
func ParseRole(text string) (Role, error) {
	switch r := Role(text); r {
	case View, Operate:
		return r, nil
	}
	return "", fmt.Errorf("role %q: want %s or %s", text, View, Operate)
}

// Access says who may look and act.
type Access struct {
	Role   Role     // of everybody, where nobody has to log in: where there are neither tokens nor an issuer
	Tokens string   // file of tokens; "" is none
	OIDC   *OIDC    // nil is none
	Hosts  []string // names that the console is asked by, besides loopback and its own addresses
	Secure bool     // it is reached over TLS only
	Key    []byte   // that sessions are signed with, 32 bytes; nil is one that dies with us
}

// open says whether nobody has to log in.
func (a *Access) open() bool { return a.Tokens == "" && a.OIDC == nil }

// Who is somebody who asks.
type who struct {
	Name    string
	Role    Role
	session string // "" where nobody has to log in
	bearer  bool   // they show a token with each request: no other page can make a browser do that
}

// doors let people in.
type doors struct {
	Access

	log    *slog.Logger
	tokens *tokens // nil is none
	issuer *issuer // nil is none
	out    *expiring

	refused refusals
}

func newDoors(a Access, log *slog.Logger) (*doors, error) {
	d := &doors{Access: a, log: log, out: &expiring{}}
	if len(d.Key) < keySize {
		d.Key = newKey()
	}
	if d.Role == "" {
		d.Role = Operate
	}
	if a.Tokens != "" {
		t, err := openTokens(a.Tokens, log)
		if err != nil {
			return nil, err
		}
		d.tokens = t
	}
	if a.OIDC != nil {
		i, err := newIssuer(*a.OIDC)
		if err != nil {
			return nil, err
		}
		d.issuer = i
	}
	return d, nil
}

// Check says what is wrong with whom a console is to let in, before there is one.
func (a *Access) Check() error {
	if _, err := newDoors(*a, slog.New(slog.DiscardHandler)); err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}

// maxBody bounds what a request that changes something may hold.
const maxBody = 1 << 20

type whoKey struct{}

// whoOf is who asks; doors have let them in.
func whoOf(r *http.Request) *who {
	w, ok := r.Context().Value(whoKey{}).(*who)
	if !ok {
		return &who{Role: View}
	}
	return w
}

// User names who asks, in a request that the console has let through.
func User(r *http.Request) string { return whoOf(r).Name }

// Operates says whether who asks may act, in a request that the console has let through.
func Operates(r *http.Request) bool { return whoOf(r).Role == Operate }

// admit lets those through who may do what they ask for.
func (d *doors) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := d.who(r)
		if who == nil {
			w.Header().Set("Www-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, errors.New("log in at /login, or send a token as Authorization: Bearer TOKEN"))
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if status, err := d.mayChange(who, r); err != nil {
				refuse(w, status, err)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), whoKey{}, who)))
	})
}

// mayChange says why somebody may not send a request that changes something.
func (d *doors) mayChange(who *who, r *http.Request) (int, error) {
	if who.Role != Operate {
		return http.StatusForbidden, fmt.Errorf("%s may look, and not act: the role is %q, not %q", who.Name, who.Role, Operate)
	}
	if shown := r.Header.Get("X-Crossfade-Csrf"); !who.bearer && !hmac.Equal([]byte(shown), []byte(d.token(who))) {
		return http.StatusForbidden, errors.New("refused: the X-Crossfade-CSRF field is not what GET /api/v1/session says; load the page again")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, errors.New("refused: Content-Type is not application/json")
	}
	if r.ContentLength > maxBody {
		return http.StatusRequestEntityTooLarge, fmt.Errorf("refused: the body has %d bytes; at most %d are taken", r.ContentLength, maxBody)
	}
	return 0, nil
}

// token is what requests must show that change something: only a page of ours can have read it.
func (d *doors) token(w *who) string { return d.seal(purposeCSRF + w.session) }

// seal signs a text.
func (d *doors) seal(text string) string {
	h := hmac.New(sha256.New, d.Key)
	h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// who returns who asks; nil is nobody whom we know.
func (d *doors) who(r *http.Request) *who {
	if d.open() {
		return &who{Name: "console", Role: d.Role}
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		if d.tokens == nil {
			return nil
		}
		entry := d.tokens.find(token)
		if entry == nil {
			return nil
		}
		return &who{Name: entry.name, Role: entry.role, session: "bearer", bearer: true}
	}
	cookie, err := r.Cookie(d.cookie())
	if err != nil {
		return nil
	}
	return d.resume(cookie.Value)
}
