package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

//go:embed page.html
var page []byte

// newHandler makes the whole of it.
func newHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // a client that has gone needs no answer, here and below
	})
	inspections(mux)
	responses(mux)
	redirects(mux)
	cookies(mux)
	streams(mux)
	mux.HandleFunc("GET /websocket/echo", webSocketEcho)
	return mux
}

// handlePrefixes serves one handler at a path and at everything below it.
func handlePrefixes(mux *http.ServeMux, path string, handler http.HandlerFunc) {
	mux.HandleFunc(path, handler)
	mux.HandleFunc(path+"/{rest...}", handler)
}

// reply writes a value as JSON, indented for people.
func reply(w http.ResponseWriter, status int, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// refuse says what is wrong with a request.
func refuse(w http.ResponseWriter, format string, args ...any) {
	reply(w, http.StatusBadRequest, map[string]string{"error": fmt.Sprintf(format, args...)})
}

// number reads a whole number, at most so large, from the path or the query; absent is otherwise.
func number(text string, otherwise, most int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%q: want a number from 0 to %d", text, most)
	}
	return n, nil
}

// period reads seconds ("1.5") or a duration ("1500ms"), at most so long; absent is otherwise.
func period(text string, otherwise, most time.Duration) (time.Duration, error) {
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil || d < 0 || d > most {
		return 0, fmt.Errorf("%q: want seconds, or a duration, from 0 to %s", text, most)
	}
	return d, nil
}

// pause waits, and says whether the client is still there.
func pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return r.Context().Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
