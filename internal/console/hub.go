package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"crossfade.dev/internal/history"
)

const (
	maxViewers = 256 // streams that are open at once
	maxTopics  = 256 // that are watched at once
	share      = 4   // what part of both is for one of those who log in, at most: a fourth
	backlog    = 16  // messages that may wait for a viewer; one that is further behind is cut off, and may come back
)

// Why nobody else may watch.
var (
	errViewers = fmt.Errorf("%d streams are open already; close a page that nobody looks at", maxViewers)
	errShare   = fmt.Errorf("you have more than %d streams open, or watch more than %d topics; close a page that nobody looks at", maxViewers/share, maxTopics/share)
	errTopics  = fmt.Errorf("%d topics are watched already; close a page that nobody looks at", maxTopics)
)

// A hub tells viewers what is new in topics: each topic is read and written once a second, however many watch it.
type hub struct {
	history *history.History

	mu      sync.Mutex // guards the following
	topics  map[string]*channel
	viewers map[*viewer]struct{}
}

// A channel is a topic that somebody watches.
type channel struct {
	topic   topic
	state   state
	viewers map[*viewer]struct{}
}

// A topic is something to watch. Its methods are called by one goroutine at a time.
type topic interface {
	// begin returns what a viewer is told first (nothing, without a name), who has seen what was up to since (Unix seconds; 0 is nothing), when now is what
	// the other viewers know.
	begin(ctx context.Context, now state, since int64) message
	// next returns what is now, and what viewers who know last are to be told; nothing, without a name. Nobody knows nil.
	next(ctx context.Context, last state) (state, message)
}

// A state is what the viewers of a topic know: a *frame, or up to which second they have points.
type state any

// A message is one event of a stream.
type message struct {
	name string // of the event; "" is no message
	id   int64  // 0 is none
	data json.RawMessage
}

// A viewer is one stream.
type viewer struct {
	user   string        // who has logged in; "" where nobody has to
	out    chan []byte   // closed by nobody
	behind chan struct{} // closed when it could not keep up
	cut    bool
}

func newHub(h *history.History) *hub {
	return &hub{history: h, topics: map[string]*channel{}, viewers: map[*viewer]struct{}{}}
}

// run tells viewers once a second until ctx ends.
func (h *hub) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.tick(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (h *hub) tick(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, c := range h.topics {
		var m message
		if c.state, m = c.topic.next(ctx, c.state); m.name == "" {
			continue
		}
		text := m.event(name)
		for v := range c.viewers {
			v.tell(text)
		}
	}
}

// join has a viewer of a user watch topics by name; each is a topic of [parseTopic].
func (h *hub) join(ctx context.Context, user string, topics map[string]topic, since int64) (*viewer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.viewers) >= maxViewers {
		return nil, errViewers
	}
	if h.fresh(topics)+len(h.topics) > maxTopics {
		return nil, errTopics
	}
	if user != "" && h.greedy(user, topics) {
		return nil, errShare
	}
	v := &viewer{user: user, out: make(chan []byte, backlog), behind: make(chan struct{})}
	h.viewers[v] = struct{}{}
	for name, t := range topics {
		c := h.topics[name]
		if c == nil {
			c = &channel{topic: t, viewers: map[*viewer]struct{}{}}
			c.state, _ = t.next(ctx, nil) // begin says it
			h.topics[name] = c
		}
		c.viewers[v] = struct{}{}
		if m := c.topic.begin(ctx, c.state, since); m.name != "" {
			v.tell(m.event(name))
		}
	}
	return v, nil
}

// fresh counts the topics that nobody watches yet.
func (h *hub) fresh(topics map[string]topic) (n int) {
	for name := range topics {
		if h.topics[name] == nil {
			n++
		}
	}
	return n
}

// greedy says whether a user would have more than their share with another stream.
func (h *hub) greedy(user string, more map[string]topic) bool {
	streams, watched := 1, len(more)
	for v := range h.viewers {
		if v.user == user {
			streams++
		}
	}
	for name, c := range h.topics {
		for v := range c.viewers {
			if v.user == user && more[name] == nil {
				watched++
				break
			}
		}
	}
	return streams > maxViewers/share || watched > maxTopics/share
}

// leave forgets a viewer, and every topic that nobody else watches.
func (h *hub) leave(v *viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, v)
	for name, c := range h.topics {
		delete(c.viewers, v)
		if len(c.viewers) == 0 {
			delete(h.topics, name)
		}
	}
}

// tell hands a viewer an event, unless it is too far behind already.
func (v *viewer) tell(event []byte) {
	select {
	case v.out <- event:
	default:
		if !v.cut {
			v.cut = true
			close(v.behind)
		}
	}
}

// event writes a message about a topic as server-sent events have it. JSON has no line feeds.
func (m message) event(topic string) []byte {
	var b bytes.Buffer
	b.WriteString("event: " + m.name + "\n")
	if m.id != 0 {
		b.WriteString("id: " + strconv.FormatInt(m.id, 10) + "\n")
	}
	b.WriteString(`data: {"topic":`)
	b.Write(text(topic))
	b.WriteString(`,"data":`)
	b.Write(m.data)
	b.WriteString("}\n\n")
	return b.Bytes()
}

// goneMessage says why there is nothing to show.
func goneMessage(why string) message {
	return message{name: "gone", data: written(map[string]string{"error": why})}
}

// written writes a value that can be written; null where it cannot.
func written(value any) json.RawMessage {
	data, err := json.Marshal(value)
	if err != nil {
		return json.RawMessage("null")
	}
	return data
}
