package main

import (
	"fmt"

	"crossfade.dev/test/bench/wire"
)

// A form is what one page of the report has of its own.
type form struct {
	name    string // of its files
	title   string
	load    string // what is out at a time
	checked string // of an answer
	notes   string // on reading the figures
}

// forms are the pages there are.
func forms() []form {
	return []form{
		{
			name: "http1", title: "HTTP/1.1",
			load:    fmt.Sprintf("%d connections at a time", connections),
			checked: "status and length",
			notes:   "- Where the time of a request goes, and what was tried to make it less: [why.md](why.md).\n",
		},
		{
			name: "http2", title: "HTTP/2 and gRPC",
			load:    fmt.Sprintf("%d connections with %d requests at a time on each, where nothing else is said", sessions, streams),
			checked: "status and length, of gRPC the message's own length and the status in the trailers",
			notes: fmt.Sprintf(`- Requests that are out on one connection share its reads and writes: a proxy reads several at a time, and answers
  several in one write. How many depends on how fast it is, and so does what the kernel costs it.
- Endpoints speak HTTP/2 in plaintext with prior knowledge and allow %d streams on a connection. nginx has one request
  at a time on a connection to them, and speaks HTTP/1.1 to them where the work is not gRPC.
- Clients and endpoints compress fields as gRPC's libraries do: what was sent before on a connection is an index.
`, wire.MaxStreams),
		},
	}
}

// page is where an item is reported.
func (it item) page() string {
	if it.scene.protocol == http1 {
		return "http1"
	}
	return "http2"
}

// selection is what BENCH has to say for everything that belongs on a page.
func (f form) selection() []string {
	var names []string
	for _, it := range items() {
		if it.page() == f.name {
			names = append(names, it.name)
		}
	}
	return names
}
