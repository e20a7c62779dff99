package main

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

//go:embed page.html static
var files embed.FS

// A product is one of the books.
type product struct {
	ID          int    `json:"id"`
	Title       string `json:"title"`
	Description string `json:"description"`
}

func products() []product {
	return []product{{Title: "The Comedy of Errors", Description: "Two masters, two servants, two faces: everybody reaches the wrong one, and every message arrives."}}
}

// productpage adds the front's routes to mux.
func (o *options) productpage(mux *http.ServeMux) error {
	page, err := template.New("page.html").Funcs(template.FuncMap{"repeat": strings.Repeat, "rest": func(n int) int { return max(0, 5-n) }}).ParseFS(files, "page.html")
	if err != nil {
		return err
	}
	static, err := fs.Sub(files, "static")
	if err != nil {
		return err
	}
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static)))
	mux.Handle("GET /{$}", http.RedirectHandler("/productpage", http.StatusFound))
	mux.HandleFunc("GET /productpage", func(w http.ResponseWriter, r *http.Request) { o.page(w, r, page) })
	mux.HandleFunc("POST /login", login)
	mux.HandleFunc("GET /logout", logout)
	mux.HandleFunc("GET /api/v1/products", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, products()) })
	mux.HandleFunc("GET /api/v1/products/{id}", func(w http.ResponseWriter, r *http.Request) {
		passOn(o, w, r, "details", o.calls.details+"/details/0", &Details{})
	})
	mux.HandleFunc("GET /api/v1/products/{id}/reviews", func(w http.ResponseWriter, r *http.Request) {
		passOn(o, w, r, "reviews", o.calls.reviews+"/reviews/0", &Reviews{})
	})
	mux.HandleFunc("GET /api/v1/products/{id}/ratings", func(w http.ResponseWriter, r *http.Request) {
		passOn(o, w, r, "ratings", o.calls.ratings+"/ratings/0", &Ratings{})
	})
	return nil
}

// passOn answers with another service's answer, and with 502 when there is none.
func passOn(o *options, w http.ResponseWriter, r *http.Request, name, address string, value any) {
	if !known(w, r) {
		return
	}
	instance, err := o.calls.get(signedIn(r), address, value)
	if name == "reviews" && instance != "" {
		w.Header().Set(reviewsHeader, instance)
	}
	var said *callError
	switch {
	case errors.As(err, &said):
		fail(w, said.status, name+" "+err.Error())
	case err != nil:
		fail(w, http.StatusBadGateway, name+": "+err.Error())
	default:
		reply(w, http.StatusOK, value)
	}
}

// A view is what the page shows.
type view struct {
	Product       product
	User          string
	Instance      string
	Details       Details
	DetailsBy     string
	DetailsFailed string
	Reviews       Reviews
	ReviewsBy     string
	ReviewsFailed string
}

// page renders the product page. When a part cannot be had it says which and why, with status 502, so that who
// counts losses counts it; with ?lenient=1 the status is 200, as from Istio's Bookinfo.
func (o *options) page(w http.ResponseWriter, r *http.Request, page *template.Template) {
	v := view{Product: products()[0], Instance: o.instance, User: user(r)}
	asked := signedIn(r)
	var calling sync.WaitGroup
	calling.Go(func() {
		var err error
		if v.DetailsBy, err = o.calls.get(asked, o.calls.details+"/details/0", &v.Details); err != nil {
			v.DetailsFailed = err.Error()
		}
	})
	calling.Go(func() {
		var err error
		if v.ReviewsBy, err = o.calls.get(asked, o.calls.reviews+"/reviews/0", &v.Reviews); err != nil {
			v.ReviewsFailed = err.Error()
		}
	})
	calling.Wait()
	var body bytes.Buffer
	if err := page.Execute(&body, v); err != nil {
		fail(w, http.StatusInternalServerError, "page: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	if v.ReviewsBy != "" {
		w.Header().Set(reviewsHeader, v.ReviewsBy)
	}
	if (v.DetailsFailed != "" || v.ReviewsFailed != "") && !lenient(r) {
		w.WriteHeader(http.StatusBadGateway)
	}
	_, _ = body.WriteTo(w) // a client that has gone needs no answer
}

// userCookie holds the name that somebody signed in with, escaped. There is no password: it is an example.
const userCookie = "bookinfo-user"

func user(r *http.Request) string {
	cookie, err := r.Cookie(userCookie)
	if err != nil {
		return ""
	}
	name, err := url.QueryUnescape(cookie.Value)
	if err != nil {
		return ""
	}
	return name
}

// signedIn returns the request as the services behind see it: with the user's name in End-User, and in no
// other way.
func signedIn(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("End-User")
	if name := user(r); name != "" {
		r.Header.Set("End-User", url.QueryEscape(name))
	}
	return r
}

func login(w http.ResponseWriter, r *http.Request) {
	const longest = 100
	name := strings.TrimSpace(r.PostFormValue("username"))
	if name == "" || len(name) > longest {
		fail(w, http.StatusBadRequest, "a user name has 1 to 100 bytes")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: userCookie, Value: url.QueryEscape(name), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/productpage", http.StatusSeeOther)
}

func logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: userCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/productpage", http.StatusSeeOther)
}
