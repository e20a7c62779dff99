package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// The headers that say who answered.
const (
	instanceHeader = "X-Bookinfo-Instance"
	versionHeader  = "X-Bookinfo-Version"
	reviewsHeader  = "X-Bookinfo-Reviews" // on productpage's answers: the instance of reviews behind it
)

// newHandler makes one service's whole handler.
func newHandler(o *options) (http.Handler, error) {
	mux := http.NewServeMux()
	switch o.service {
	case "productpage":
		if err := o.productpage(mux); err != nil {
			return nil, err
		}
	case "details":
		mux.HandleFunc("GET /details/{id}", o.details)
	case "reviews":
		if o.version != "v1" && o.version != "v2" && o.version != "v3" {
			return nil, fmt.Errorf("%w: reviews has no version %q", errUsage, o.version)
		}
		mux.HandleFunc("GET /reviews/{id}", o.reviews)
	case "ratings":
		mux.HandleFunc("GET /ratings/{id}", o.ratings)
	default:
		return nil, fmt.Errorf("%w: no service %q\n%s", errUsage, o.service, usage)
	}
	whole := http.NewServeMux()
	whole.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": o.service + " is ready"})
	})
	whole.Handle("/", slow(o.cold, mux)) // probes neither warm an instance up nor wait
	return o.signed(starting(time.Now().Add(o.cold.start), whole)), nil
}

// signed names the instance in every answer.
func (o *options) signed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(instanceHeader, o.instance)
		w.Header().Set(versionHeader, o.version)
		next.ServeHTTP(w, r)
	})
}

// reply writes a value as JSON.
func reply(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that has gone needs no answer
}

// fail writes an error as JSON.
func fail(w http.ResponseWriter, status int, text string) {
	reply(w, status, map[string]string{"error": text})
}

// A Details is what the details service knows of a product.
type Details struct {
	ID        int    `json:"id"`
	Author    string `json:"author"`
	Year      int    `json:"year"`
	Type      string `json:"type"`
	Pages     int    `json:"pages"`
	Publisher string `json:"publisher"`
	Language  string `json:"language"`
	ISBN10    string `json:"ISBN-10"`
	ISBN13    string `json:"ISBN-13"`
}

// A Reviews is what the reviews service says, and which instance of it said so.
type Reviews struct {
	ID       int      `json:"id"`
	Instance string   `json:"instance"`
	Version  string   `json:"version"`
	Reviews  []Review `json:"reviews"`
	Error    string   `json:"error,omitempty"` // ratings that could not be had, when the caller is lenient
}

// A Review is one reader's opinion.
type Review struct {
	Reviewer string  `json:"reviewer"`
	Text     string  `json:"text"`
	Rating   *Rating `json:"rating,omitempty"`
}

// A Rating is a number of stars out of five, in a colour.
type Rating struct {
	Stars int    `json:"stars"`
	Color string `json:"color"`
}

// Ratings holds stars by reviewer.
type Ratings struct {
	ID      int            `json:"id"`
	Ratings map[string]int `json:"ratings"`
}

// known answers 404 for every product but the one there is.
func known(w http.ResponseWriter, r *http.Request) bool {
	if r.PathValue("id") == "0" {
		return true
	}
	fail(w, http.StatusNotFound, "no product "+r.PathValue("id"))
	return false
}

func (o *options) details(w http.ResponseWriter, r *http.Request) {
	if !known(w, r) {
		return
	}
	reply(w, http.StatusOK, Details{
		Author: "William Shakespeare", Year: 1595, Type: "paperback", Pages: 200, Publisher: "Loopback Press",
		Language: "English", ISBN10: "1234567890", ISBN13: "123-1234567890",
	})
}

func (o *options) ratings(w http.ResponseWriter, r *http.Request) {
	if known(w, r) {
		reply(w, http.StatusOK, Ratings{Ratings: map[string]int{"Viola": 5, "Feste": 4}})
	}
}

func (o *options) reviews(w http.ResponseWriter, r *http.Request) {
	if !known(w, r) {
		return
	}
	found := Reviews{Instance: o.instance, Version: o.version, Reviews: []Review{
		{Reviewer: "Viola", Text: "Two pairs of twins, one afternoon, and nobody thinks to ask. I have lived this and can confirm it."},
		{Reviewer: "Feste", Text: "Short, loud and exact. The best of it is how little would be left if anyone listened."},
	}}
	color := map[string]string{"v2": "black", "v3": "red"}[o.version]
	if color == "" {
		reply(w, http.StatusOK, found)
		return
	}
	var stars Ratings
	if _, err := o.calls.get(r, o.calls.ratings+"/ratings/0", &stars); err != nil {
		if !lenient(r) {
			fail(w, http.StatusBadGateway, "ratings: "+err.Error())
			return
		}
		found.Error = "ratings: " + err.Error()
	}
	for i := range found.Reviews {
		if n, ok := stars.Ratings[found.Reviews[i].Reviewer]; ok {
			found.Reviews[i].Rating = &Rating{Stars: n, Color: color}
		}
	}
	reply(w, http.StatusOK, found)
}
