package proxy

import (
	"slices"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

// An edit is what configuration changes in a head, ready to be written. nil changes nothing.
type edit struct {
	remove   [][]byte
	set, add []http1.Field
	ours     [ownFields]bool // those of our own fields that it leaves nothing to say about
}

// An ownField is a field that we write ourselves unless configuration decides about it.
type ownField uint8

const (
	ownForwardedFor ownField = iota
	ownForwardedProto
	ownVia
	ownRequestID
	ownReveal
	ownCookie
	ownServer
	ownFields
)

var ownNamesTable = map[string]ownField{
	"x-forwarded-for":      ownForwardedFor,
	"x-forwarded-proto":    ownForwardedProto,
	"via":                  ownVia,
	"x-request-id":         ownRequestID,
	"x-crossfade-endpoint": ownReveal,
	"set-cookie":           ownCookie,
	"server":               ownServer,
}

// untouchableTable names the fields that configuration does not edit: they belong to one connection, to the message's
// framing or to our own programs. The authority is edited, too, but not as a field; see authorityOf.
var untouchableTable = []string{
	FieldGateway, FieldDrain, FieldRefused,
	"host", "connection", "content-length", "expect", "http2-settings", "keep-alive", "proxy-authenticate",
	"proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

func touchable(name string) bool {
	return name != "" && name[0] != ':' && !slices.Contains(untouchableTable, name)
}

// newEdit makes one edit of two that are applied one after the other, as Envoy does: first the destination's, the
// more specific one, then the route's. Each removes, then sets, then adds. nil when nothing changes.
func newEdit(destination, route fleet.HeaderEdit) *edit {
	e := &edit{}
	decided := map[string]bool{} // by the route: nothing of the destination's is left
	for _, name := range route.Remove {
		decided[name] = true
	}
	for _, h := range route.Set {
		decided[h.Name] = true
	}
	for _, name := range slices.Concat(destination.Remove, route.Remove) {
		if touchable(name) {
			e.remove = append(e.remove, []byte(name))
			e.own(name)
		}
	}
	keep := func(list []http1.Field, headers []fleet.Header, all bool) []http1.Field {
		for _, h := range headers {
			if touchable(h.Name) && (all || !decided[h.Name]) {
				list = append(list, http1.NewField(h.Name, h.Value))
			}
		}
		return list
	}
	e.set = keep(keep(nil, destination.Set, false), route.Set, true)
	e.add = keep(keep(nil, destination.Add, false), route.Add, true)
	for i := range e.set {
		e.own(string(e.set[i].Name))
	}
	if len(e.remove)+len(e.set)+len(e.add) == 0 {
		return nil
	}
	return e
}

func (e *edit) own(name string) {
	if f, ok := ownNamesTable[name]; ok {
		e.ours[f] = true
	}
}

// owns says whether configuration decides about one of our own fields.
func (e *edit) owns(f ownField) bool { return e != nil && e.ours[f] }

// join adds e to what r changes.
func (e *edit) join(r *http1.Edit) {
	if e != nil {
		r.Remove = append(r.Remove, e.remove...)
		r.Set = append(r.Set, e.set...)
		r.Add = append(r.Add, e.add...)
	}
}
