package registry

import "bytes"

// A Reader makes lists of entries as a registry has them. It reads an entry only when it has changed. The zero value has
// listed nothing; its method is for one goroutine.
type Reader struct {
	known map[string]known // by key; nil before the first list
}

// known is an entry as it was read last.
type known struct {
	data []byte
	Reading
}

// List returns what these entries, by key, say: see MakeList. Neither the entries nor the list may be written to afterwards.
func (r *Reader) List(entries map[string][]byte) List {
	read := make(map[string]known, len(entries))
	readings := make(map[string]Reading, len(entries))
	for key, data := range entries {
		k, again := r.known[key]
		if !again || !bytes.Equal(k.data, data) {
			k.data = data
			k.Instance, k.Err = Decode(data)
		}
		read[key], readings[key] = k, k.Reading
	}
	l := MakeList(readings, r.known == nil)
	r.known = read
	return l
}
