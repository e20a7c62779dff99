package main

import (
	"net/http"
	"strconv"
)

// maxRedirects bounds a chain of them.
const maxRedirects = 20

func redirects(mux *http.ServeMux) {
	mux.HandleFunc("GET /redirect/{n}", redirect("", "/redirect/"))
	mux.HandleFunc("GET /relative-redirect/{n}", redirect("", "/relative-redirect/"))
	mux.HandleFunc("GET /absolute-redirect/{n}", func(w http.ResponseWriter, r *http.Request) {
		redirect("http://"+r.Host, "/absolute-redirect/")(w, r)
	})
	mux.HandleFunc("/redirect-to", redirectTo)
}

// redirect leads on to the rest of the chain, whose end is /get.
func redirect(origin, chain string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, err := number(r.PathValue("n"), 0, maxRedirects)
		if err != nil || n == 0 {
			refuse(w, "redirect %q: want a number from 1 to %d", r.PathValue("n"), maxRedirects)
			return
		}
		next := "/get"
		if n > 1 {
			next = chain + strconv.Itoa(n-1)
		}
		w.Header().Set("Location", origin+next)
		w.WriteHeader(http.StatusFound)
	}
}

// redirectTo leads to ?url=, with &status_code= where 302 is not meant.
func redirectTo(w http.ResponseWriter, r *http.Request) {
	code, err := number(r.FormValue("status_code"), http.StatusFound, 399)
	if err != nil || code < 300 || r.FormValue("url") == "" {
		refuse(w, "want ?url=, and a status_code from 300 to 399")
		return
	}
	w.Header().Set("Location", r.FormValue("url"))
	w.WriteHeader(code)
}

func cookies(mux *http.ServeMux) {
	mux.HandleFunc("GET /cookies", func(w http.ResponseWriter, r *http.Request) {
		had := map[string]string{}
		for _, c := range r.Cookies() {
			had[c.Name] = c.Value
		}
		reply(w, http.StatusOK, map[string]any{"cookies": had})
	})
	mux.HandleFunc("GET /cookies/set", func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.URL.Query() {
			http.SetCookie(w, &http.Cookie{Name: name, Value: values[0], Path: "/"})
		}
		http.Redirect(w, r, "/cookies", http.StatusFound)
	})
	mux.HandleFunc("GET /cookies/set/{name}/{value}", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: r.PathValue("name"), Value: r.PathValue("value"), Path: "/"})
		http.Redirect(w, r, "/cookies", http.StatusFound)
	})
	mux.HandleFunc("GET /cookies/delete", func(w http.ResponseWriter, r *http.Request) {
		for name := range r.URL.Query() {
			http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1})
		}
		http.Redirect(w, r, "/cookies", http.StatusFound)
	})
}
