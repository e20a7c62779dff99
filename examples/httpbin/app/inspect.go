package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxBody bounds the bodies that are given back, in bytes. Longer ones are counted.
const maxBody = 1 << 20

// An Inspection is what a request was. Values that came once are a string, others a list.
type Inspection struct {
	Args    map[string]any  `json:"args"`
	Data    *string         `json:"data,omitempty"` // the body, when it is no form
	Files   map[string]any  `json:"files,omitempty"`
	Form    map[string]any  `json:"form,omitempty"`
	Headers map[string]any  `json:"headers"`
	JSON    json.RawMessage `json:"json,omitempty"`
	Length  *int64          `json:"length,omitempty"` // of the body, in bytes
	Method  string          `json:"method,omitempty"`
	Origin  string          `json:"origin"`
	URL     string          `json:"url"`
}

func inspections(mux *http.ServeMux) {
	mux.HandleFunc("GET /get", func(w http.ResponseWriter, r *http.Request) { reply(w, http.StatusOK, inspect(r)) })
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		mux.HandleFunc(method+" /"+strings.ToLower(method), func(w http.ResponseWriter, r *http.Request) { replyWhole(w, r, inspect(r)) })
	}
	handlePrefixes(mux, "/anything", func(w http.ResponseWriter, r *http.Request) {
		i := inspect(r)
		i.Method = r.Method
		replyWhole(w, r, i)
	})
	mux.HandleFunc("GET /headers", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, map[string]any{"headers": inspect(r).Headers})
	})
	mux.HandleFunc("GET /ip", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, map[string]string{"origin": origin(r)})
	})
	mux.HandleFunc("GET /user-agent", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, map[string]string{"user-agent": r.UserAgent()})
	})
}

// inspect looks at everything but the body.
func inspect(r *http.Request) *Inspection {
	headers := lists(url.Values(r.Header))
	headers["Host"] = r.Host
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return &Inspection{
		Args: lists(r.URL.Query()), Headers: headers, Origin: origin(r), URL: scheme + "://" + r.Host + r.URL.RequestURI(),
	}
}

// origin is the address the request came from, as far as it is known.
func origin(r *http.Request) string {
	if first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ","); first != "" {
		return strings.TrimSpace(first)
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return address
}

// lists shows a value that came once as itself.
func lists(values url.Values) map[string]any {
	shown := map[string]any{}
	for name, all := range values {
		if shown[name] = all; len(all) == 1 {
			shown[name] = all[0]
		}
	}
	return shown
}

// replyWhole reads the body to its end, and replies with it. A body that does not come whole gets no answer that
// looks as if it had.
func replyWhole(w http.ResponseWriter, r *http.Request, i *Inspection) {
	if err := i.read(r); err != nil {
		refuse(w, "body: %v", err)
		return
	}
	reply(w, http.StatusOK, i)
}

func (i *Inspection) read(r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = "" // none, or one that makes no sense: the body is data
	}
	if kind == "multipart/form-data" {
		return i.readForm(r)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return err
	}
	more, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return err
	}
	length := int64(len(body)) + more
	i.Length = &length
	if kind == "application/x-www-form-urlencoded" && more == 0 {
		values, err := url.ParseQuery(string(body))
		i.Form = lists(values)
		return err
	}
	data := string(body)
	if !utf8.Valid(body) {
		data = "data:application/octet-stream;base64," + base64.StdEncoding.EncodeToString(body)
	}
	i.Data = &data
	if json.Valid(body) {
		i.JSON = body
	}
	return nil
}

// readForm reads a form with files, which are given back as text.
func (i *Inspection) readForm(r *http.Request) error {
	parts, err := r.MultipartReader()
	if err != nil {
		return err
	}
	form, files, room := url.Values{}, url.Values{}, int64(maxBody)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			i.Form, i.Files = lists(form), lists(files)
			return nil
		}
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(part, room))
		if err != nil {
			return err
		}
		if room -= int64(len(text)); room == 0 {
			return errors.New("a form of 1 MiB or more")
		}
		into := form
		if part.FileName() != "" {
			into = files
		}
		maps.Copy(into, url.Values{part.FormName(): append(into[part.FormName()], string(text))})
	}
}
