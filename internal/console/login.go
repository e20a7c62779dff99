package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// mount adds the paths by which people come in and go.
func (d *doors) mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		if d.who(r) != nil {
			http.Redirect(w, r, within(r.URL.Query().Get("then")), http.StatusSeeOther)
			return
		}
		d.show(w, r, http.StatusOK, "")
	})
	mux.HandleFunc("POST /login", d.tokenLogin)
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		d.logOut(w, r)
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	})
	if d.issuer != nil {
		mux.HandleFunc("GET "+issuerPath, d.toIssuer)
		mux.HandleFunc("GET "+issuerPath+"/done", d.fromIssuer)
	}
}

// entrance leads those to the login who are to see a view of the page and have not logged in. Its files are no secret.
func (d *doors) entrance(page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := strings.Contains(r.Header.Get("Accept"), "text/html") || r.URL.Path == "/" || r.URL.Path == index
		if r.Method == http.MethodGet && shown && d.who(r) == nil {
			http.Redirect(w, r, "/login?"+url.Values{"then": {within(r.URL.RequestURI())}}.Encode(), http.StatusSeeOther)
			return
		}
		page.ServeHTTP(w, r)
	})
}

// within returns a path of ours; anything that could lead elsewhere becomes "/".
func within(then string) string {
	u, err := url.Parse(then)
	rooted := len(then) > 0 && then[0] == '/' && !strings.HasPrefix(then, "//")
	if err != nil || !rooted || u.Host != "" || u.Scheme != "" || strings.ContainsAny(then, "\\\r\n\t") || len(then) > 2*maxName {
		return "/"
	}
	return then
}

// tokenLogin begins a session for who has a token.
func (d *doors) tokenLogin(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<14)
	if err := r.ParseForm(); err != nil {
		d.show(w, r, http.StatusBadRequest, "that could not be read")
		return
	}
	token := strings.TrimSpace(r.PostForm.Get("token"))
	entry := d.tokens.find(token)
	if entry == nil {
		wrong := "nobody has that token"
		if len(token) < leastToken {
			wrong = fmt.Sprintf("a token has %d characters or more", leastToken)
		}
		d.notLetIn(r, errors.New(wrong))
		d.show(w, r, http.StatusUnauthorized, wrong)
		return
	}
	d.log.InfoContext(r.Context(), "console: logged in", "user", entry.name, "role", entry.role, "from", r.RemoteAddr)
	d.logIn(w, &pass{Name: entry.name, Role: entry.role, Token: entry.hash})
	http.Redirect(w, r, within(r.URL.Query().Get("then")), http.StatusSeeOther)
}

// notLetIn logs that somebody was not let in; once a second, however often they try.
func (d *doors) notLetIn(r *http.Request, why error) {
	if others, due := d.refused.count(time.Now()); due {
		d.log.WarnContext(r.Context(), "console: somebody was not let in", "from", r.RemoteAddr, "err", why, "others", others)
	}
}

// refusals counts those that were not logged.
type refusals struct {
	mu     sync.Mutex // guards the following
	logged time.Time
	others int
}

// count takes one more. It is due to be logged when a second has passed since the one before, with how many others there were since.
func (c *refusals) count(now time.Time) (others int, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.logged) < time.Second {
		c.others++
		return 0, false
	}
	others, c.logged, c.others = c.others, now, 0
	return others, true
}

// loginStyle is all that the login page looks like.
const loginStyle = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;padding:0 1rem}` +
	`h1{font-size:1.5rem}input,button,a.button{display:block;box-sizing:border-box;width:100%;font:inherit;padding:.6rem .8rem;margin:.5rem 0;` +
	`border:1px solid GrayText;border-radius:.4rem;text-align:center}input{text-align:start}[role=alert]{border-inline-start:.3rem solid #c62828;padding-inline-start:.6rem}`

// loginPage asks who somebody is. It runs no script, so that it works where the page itself does not.
func loginPage() (*template.Template, error) {
	return template.New("login").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>crossfade: log in</title>
<style>{{.Style}}</style></head><body><main><h1>crossfade</h1>
{{with .Wrong}}<p role="alert">{{.}}</p>{{end}}
{{if .Tokens}}<form method="post" action="/login?then={{.Then}}"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus><button>Log in</button></form>{{end}}
{{if .Issuer}}<a class="button" href="{{.Path}}?then={{.Then}}">Log in with {{.Issuer}}</a>{{end}}
{{if .Open}}<p>Nobody has to log in here. <a href="/">To the console</a></p>{{end}}
</main></body></html>
`)
}

// show shows the login page, with what was wrong.
func (d *doors) show(w http.ResponseWriter, r *http.Request, status int, wrong string) {
	t, err := loginPage()
	if err != nil {
		refuse(w, http.StatusInternalServerError, errors.New("the login page is broken"))
		return
	}
	issuer := ""
	if d.issuer != nil {
		issuer = d.issuer.name()
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Style": template.CSS(loginStyle), "Wrong": wrong, "Tokens": d.tokens != nil, "Issuer": issuer, "Path": issuerPath,
		"Then": within(r.URL.Query().Get("then")), "Open": d.open(),
	})
	if err != nil {
		refuse(w, http.StatusInternalServerError, errors.New("the login page is broken"))
		return
	}
	sum := sha256.Sum256([]byte(loginStyle))
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	w.Header().Set("Referrer-Policy", "same-origin") // without one, a form's Origin would be "null"
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client left: there is nobody to tell
}
