package admin

import (
	"fmt"
	"strings"

	"crossfade.dev/internal/fleet"
)

// A bound is one of a pool's limits for all of its endpoints together, under Envoy's name.
type bound struct {
	envoy string
	n     int
	text  string // what there are at most n of
}

// boundsOf returns those limits of c that are set; nil has none.
func boundsOf(c *fleet.Connections) []bound {
	if c == nil {
		return nil
	}
	var list []bound
	for _, b := range []bound{
		{"max_connections", c.Max, "connections"},
		{"max_pending_requests", c.Pending, "requests that wait for one"},
		{"max_requests", c.Requests, "requests that have one"},
		{"max_retries", c.Retries, "requests that are sent another time"},
	} {
		if b.n > 0 {
			list = append(list, b)
		}
	}
	return list
}

// boundsSentence says what this program has open to a pool's endpoints at most, and what one connection carries; "" where
// nobody said.
func boundsSentence(c *fleet.Connections) string {
	var sentences []string
	if list := boundsOf(c); len(list) > 0 {
		parts := make([]string, len(list))
		for i, b := range list {
			parts[i] = fmt.Sprintf("%d %s", b.n, b.text)
		}
		sentences = append(sentences, "To all endpoints together there are at most "+strings.Join(parts, ", ")+".")
	}
	if c != nil && c.Streams > 0 {
		sentences = append(sentences, fmt.Sprintf("A connection of HTTP/2 carries at most %d requests at a time.", c.Streams))
	}
	if c != nil && c.PerConnection > 0 {
		sentences = append(sentences, fmt.Sprintf("A connection carries at most %d requests in its life.", c.PerConnection))
	}
	return strings.Join(sentences, " ")
}
