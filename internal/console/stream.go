package console

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	beat        = 10 * time.Second // a stream on which nothing happens says so
	slow        = 10 * time.Second // a client that takes nothing for so long is cut off; it may come back
	topicsAtOne = 8                // that one stream may carry
)

// stream answers with server-sent events until the client leaves, falls behind or may look no longer.
func (c *Console) stream(w http.ResponseWriter, r *http.Request) {
	topics, since, err := c.wanted(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	user := ""
	if who := whoOf(r); who.session != "" {
		user = who.Name
	}
	v, err := c.hub.join(r.Context(), user, topics, since)
	if err != nil {
		w.Header().Set("Retry-After", "5")
		status := http.StatusServiceUnavailable
		if errors.Is(err, errShare) {
			status = http.StatusTooManyRequests
		}
		refuse(w, status, err)
		return
	}
	defer c.hub.leave(v)
	s := events{w: w, control: http.NewResponseController(w)}
	// A stream outlives the deadlines of an ordinary answer: reading ends when the client leaves.
	if err := s.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that gathers would hold every event back
	if s.send([]byte("retry: 1000\n\n")) != nil {
		return
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		var event []byte
		select {
		case event = <-v.out:
		case <-ticker.C:
			if c.doors.who(r) == nil { // logged out, or the session is over
				_ = s.control.SetWriteDeadline(time.Now().Add(slow)) // for the end; a client without one just finds it cut
				return
			}
			event = []byte(": here\n\n")
		case <-v.behind:
			return
		case <-r.Context().Done():
			return
		}
		if s.send(event) != nil {
			return
		}
	}
}

// events writes to a client that keeps up.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *events) send(event []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(slow)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write(event); err != nil {
		return err
	}
	return s.control.Flush()
}

// wanted reads what a client wants to watch, and what it has seen.
func (c *Console) wanted(r *http.Request) (map[string]topic, int64, error) {
	query := r.URL.Query()
	if err := known(query, "topic", "since"); err != nil {
		return nil, 0, err
	}
	names := query["topic"]
	if len(names) == 0 || len(names) > topicsAtOne {
		return nil, 0, fmt.Errorf("%d topics: want 1 to %d of %s", len(names), topicsAtOne, topicHelp)
	}
	topics := make(map[string]topic, len(names))
	for _, name := range names {
		if len(name) > maxName {
			return nil, 0, fmt.Errorf("a topic has %d bytes at most", maxName)
		}
		t, err := c.parseTopic(name)
		if err != nil {
			return nil, 0, err
		}
		topics[name] = t
	}
	since, err := unix(query, "since", 0)
	if last, wrong := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); wrong == nil && last > 0 {
		since = min(last, latest) // the browser has seen more since it asked first
	}
	return topics, since, err
}
