package main

import (
	"compress/gzip"
	"compress/zlib"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	random "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a path may ask for.
const (
	maxDelay = 10 * time.Second
	maxBytes = 100 << 10
)

func responses(mux *http.ServeMux) {
	mux.HandleFunc("/status/{codes}", status)
	mux.HandleFunc("/delay/{seconds}", delay)
	mux.HandleFunc("GET /bytes/{n}", someBytes)
	mux.HandleFunc("GET /gzip", compressed("gzip", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }))
	mux.HandleFunc("GET /deflate", compressed("deflate", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }))
	mux.HandleFunc("GET /basic-auth/{user}/{password}", basicAuth)
	mux.HandleFunc("GET /bearer", bearer)
	mux.HandleFunc("GET /response-headers", responseHeaders)
	mux.HandleFunc("GET /base64/{text}", decoded)
	mux.HandleFunc("GET /uuid", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"uuid": uuid()})
	})
	mux.HandleFunc("GET /json", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"releases": []map[string]any{{"lost": 0, "of": "a gateway"}}})
	})
	mux.HandleFunc("GET /robots.txt", text("User-agent: *\nDisallow: /deny\n"))
	mux.HandleFunc("GET /deny", text("You were told not to come here.\n"))
}

func text(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, text)
	}
}

// status answers with one of the codes, by chance: 200, or 200,503, or 200:0.9,503:0.1.
func status(w http.ResponseWriter, r *http.Request) {
	code, err := choose(r.PathValue("codes"))
	if err != nil {
		refuse(w, "%v", err)
		return
	}
	switch code {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		w.Header().Set("Location", "/redirect/1")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="httpbin"`)
	}
	w.WriteHeader(code)
}

// choose draws one of the codes by their weights; a code without one has 1.
func choose(codes string) (int, error) {
	var chosen int
	var total float64
	for pair := range strings.SplitSeq(codes, ",") {
		code, weight, weighted := strings.Cut(pair, ":")
		n, err := strconv.Atoi(code)
		if err != nil || n < 200 || n > 599 {
			return 0, fmt.Errorf("status %q: want a number from 200 to 599", code)
		}
		part := 1.0
		if weighted {
			if part, err = strconv.ParseFloat(weight, 64); err != nil || !(part >= 0) {
				return 0, fmt.Errorf("weight %q of status %d: want a number that is at least 0", weight, n)
			}
		}
		if total += part; part > 0 && random.Float64()*total < part {
			chosen = n
		}
	}
	if chosen == 0 {
		return 0, errors.New("every weight is 0")
	}
	return chosen, nil
}

// delay answers late.
func delay(w http.ResponseWriter, r *http.Request) {
	d, err := period(r.PathValue("seconds"), 0, maxDelay)
	if err != nil {
		refuse(w, "delay %v", err)
		return
	}
	if pause(r, d) {
		replyWhole(w, r, inspect(r))
	}
}

// someBytes answers with random bytes, the same ones for the same seed.
func someBytes(w http.ResponseWriter, r *http.Request) {
	n, err := number(r.PathValue("n"), 0, maxBytes)
	if err != nil {
		refuse(w, "bytes %v", err)
		return
	}
	seed := random.Uint64()
	if text := r.FormValue("seed"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			refuse(w, "seed %q: want a number that is at least 0", text)
			return
		}
	}
	source := random.New(random.NewPCG(seed, 0))
	body := make([]byte, n)
	for i := range body {
		body[i] = byte(source.Uint32())
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	_, _ = w.Write(body)
}

// compressed answers with what it saw, compressed, whatever the client accepts.
func compressed(encoding string, by func(io.Writer) io.WriteCloser) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i := inspect(r)
		body, err := json.Marshal(map[string]any{
			encoding: true, "headers": i.Headers, "method": r.Method, "origin": i.Origin,
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", encoding)
		out := by(w)
		_, _ = out.Write(body)
		_ = out.Close()
	}
}

func basicAuth(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	right := subtle.ConstantTimeCompare([]byte(user), []byte(r.PathValue("user")))&
		subtle.ConstantTimeCompare([]byte(password), []byte(r.PathValue("password"))) == 1
	if !right {
		w.Header().Set("WWW-Authenticate", `Basic realm="httpbin"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	reply(w, http.StatusOK, map[string]any{"authenticated": true, "user": user})
}

func bearer(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	reply(w, http.StatusOK, map[string]any{"authenticated": true, "token": token})
}

// responseHeaders answers with the headers that the query names.
func responseHeaders(w http.ResponseWriter, r *http.Request) {
	for name, values := range r.URL.Query() {
		for _, value := range values {
			w.Header().Add(name, value)
		}
	}
	reply(w, http.StatusOK, lists(url.Values(w.Header())))
}

func decoded(w http.ResponseWriter, r *http.Request) {
	body, err := base64.URLEncoding.DecodeString(r.PathValue("text"))
	if err != nil {
		refuse(w, "base64: %v", err)
		return
	}
	text(string(body))(w, r)
}

// uuid returns a random one (RFC 9562 section 5.4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
