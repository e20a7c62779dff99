package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Bounds of answers that take their time.
const (
	maxLines    = 100
	maxDrip     = 10 << 20
	maxEvents   = 100_000
	maxDuration = 10 * time.Minute
)

func streams(mux *http.ServeMux) {
	mux.HandleFunc("GET /stream/{n}", stream)
	mux.HandleFunc("GET /drip", drip)
	mux.HandleFunc("GET /sse", events)
}

// stream answers with n lines of JSON, each sent as it is made.
func stream(w http.ResponseWriter, r *http.Request) {
	n, err := number(r.PathValue("n"), 0, maxLines)
	if err != nil {
		refuse(w, "stream %v", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	lines, out := json.NewEncoder(w), http.NewResponseController(w)
	for id := range n {
		line := struct {
			*Inspection
			ID int `json:"id"`
		}{inspect(r), id}
		if lines.Encode(line) != nil || out.Flush() != nil {
			return // the client has gone
		}
	}
}

// drip answers with ?numbytes= bytes over ?duration=, the first of them after ?delay=.
func drip(w http.ResponseWriter, r *http.Request) {
	n, err := number(r.FormValue("numbytes"), 10, maxDrip)
	duration, err2 := period(r.FormValue("duration"), 2*time.Second, maxDuration)
	delay, err3 := period(r.FormValue("delay"), 0, maxDelay)
	code, err4 := number(r.FormValue("code"), http.StatusOK, 599)
	for _, err := range []error{err, err2, err3, err4} {
		if err != nil {
			refuse(w, "drip %v", err)
			return
		}
	}
	if n == 0 || code < 200 {
		refuse(w, "drip: want at least one byte, and a code from 200 to 599")
		return
	}
	if !pause(r, delay) {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	w.WriteHeader(code)
	inTime(w, r, n, duration, func(int) error {
		_, err := w.Write([]byte{'*'})
		return err
	})
}

// events answers with ?count= server-sent events over ?duration=.
func events(w http.ResponseWriter, r *http.Request) {
	n, err := number(r.FormValue("count"), 10, maxEvents)
	duration, err2 := period(r.FormValue("duration"), 5*time.Second, maxDuration)
	for _, err := range []error{err, err2} {
		if err != nil {
			refuse(w, "sse %v", err)
			return
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	inTime(w, r, n, duration, func(id int) error {
		_, err := fmt.Fprintf(w, "event: ping\ndata: {\"id\":%d,\"timestamp\":%d}\n\n", id, time.Now().UnixMilli())
		return err
	})
}

// inTime does something n times, evenly over duration, and sends what each has written.
func inTime(w http.ResponseWriter, r *http.Request, n int, duration time.Duration, write func(i int) error) {
	out := http.NewResponseController(w)
	began := time.Now()
	for i := range n {
		due := began.Add(duration * time.Duration(i) / time.Duration(n))
		if !pause(r, time.Until(due)) || write(i) != nil || out.Flush() != nil {
			return // the client has gone
		}
	}
}
