package console

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// sessionTime is how long somebody stays logged in.
const sessionTime = 12 * time.Hour

// A pass is a session as its cookie carries it, signed: control may be started anew, and nobody has to log in again.
type pass struct {
	ID    string    `json:"id"`
	Name  string    `json:"name"`
	Role  Role      `json:"role"`
	Token string    `json:"token,omitempty"` // digest of the token that it was made for: with that it ends
	Until time.Time `json:"until"`
}

// cookie is the name of the session's cookie. With the prefix, browsers take it from this very host over TLS only.
func (d *doors) cookie() string {
	if d.Secure {
		return "__Host-crossfade"
	}
	return "crossfade"
}

// logIn begins a session.
func (d *doors) logIn(w http.ResponseWriter, p *pass) {
	p.ID, p.Until = secretText(), time.Now().Add(sessionTime)
	d.set(w, d.cookie(), d.sealed(purposeSession, p), sessionTime)
}

// secretText is one that nobody guesses.
func secretText() string { return rand.Text() }

// What is signed is good for one purpose: an errand is no session.
const (
	purposeSession = "session:"
	purposeErrand  = "errand:"
	purposeCSRF    = "csrf:"
)

// sealed writes a value and signs it for a purpose.
func (d *doors) sealed(purpose string, value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	text := base64.RawURLEncoding.EncodeToString(data)
	return text + "." + d.seal(purpose+text)
}

// unseal reads what sealed wrote for that purpose, and nothing else.
func (d *doors) unseal(purpose, sealed string, into any) bool {
	text, seal, ok := strings.Cut(sealed, ".")
	if !ok || !hmac.Equal([]byte(seal), []byte(d.seal(purpose+text))) {
		return false
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && json.Unmarshal(data, into) == nil
}

// set sets a cookie that no script can read; an empty one is taken away.
func (d *doors) set(w http.ResponseWriter, name, value string, age time.Duration) {
	seconds := int(age / time.Second)
	if value == "" {
		seconds = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, Secure: d.Secure, SameSite: http.SameSiteLaxMode,
	})
}

// resume returns whose session a cookie is; nil where it is over.
func (d *doors) resume(cookie string) *who {
	var p pass
	if !d.unseal(purposeSession, cookie, &p) || p.ID == "" || !time.Now().Before(p.Until) || d.out.has(p.ID) {
		return nil
	}
	w := &who{Name: p.Name, Role: p.Role, session: p.ID}
	if p.Token != "" {
		entry := d.tokens.digest(p.Token)
		if entry == nil { // it was taken out of the file
			return nil
		}
		w.Name, w.Role = entry.name, entry.role
	} else if d.issuer == nil {
		return nil
	}
	return w
}

// logOut ends the session of a request.
func (d *doors) logOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(d.cookie()); err == nil {
		if who := d.resume(cookie.Value); who != nil {
			d.out.add(who.session, time.Now())
		}
	}
	d.set(w, d.cookie(), "", 0)
}

// expiring is the sessions that were ended before their time, for as long as their cookies would hold.
type expiring struct {
	mu  sync.Mutex // guards the following
	ids map[string]time.Time
}

func (e *expiring) add(id string, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ids == nil {
		e.ids = map[string]time.Time{}
	}
	for old, at := range e.ids {
		if now.Sub(at) > sessionTime {
			delete(e.ids, old)
		}
	}
	e.ids[id] = now
}

func (e *expiring) has(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, is := e.ids[id]
	return is
}
