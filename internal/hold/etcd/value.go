package etcd

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/wire/object"
)

// marked is what etcd gets as the value of a registration. There is no one way to write these; a JSON object may have
// room for metadata, and a weight: "Metadata" of etcd's own naming, "metadata" of Kratos, "tags" of Kitex and Hertz; a
// number "weight" of Kitex and Hertz, or that of the metadata. Everything else stays, and in its order. What is no JSON
// object stays as it is.
func marked(value []byte, m hold.Mark) []byte {
	if len(m.Metadata) == 0 && m.Share == 1 {
		return value
	}
	o, err := object.Parse(value)
	if err != nil {
		return value
	}
	changed := scale(o, m.Share)
	if f := memberOf(o, "metadata", "tags"); f != nil {
		changed = annotate(f, m) || changed
	}
	if !changed {
		return value
	}
	return o.Bytes()
}

// memberOf returns the first member with one of these names, in whichever case.
func memberOf(o object.Object, names ...string) *object.Member {
	for _, name := range names {
		if i := slices.IndexFunc(o, func(m object.Member) bool { return strings.EqualFold(m.Name, name) }); i >= 0 {
			return &o[i]
		}
	}
	return nil
}

// scale multiplies the weight of an object, if it has one, and says whether it has.
func scale(o object.Object, share float64) bool {
	f := memberOf(o, "weight")
	if f == nil || share == 1 {
		return false
	}
	text, quotes := strings.CutPrefix(string(f.Value), `"`)
	text = strings.TrimSuffix(text, `"`)
	weight, err := strconv.ParseFloat(text, 64)
	if err != nil || weight <= 0 {
		return false
	}
	scaled := weight * share
	if weight == math.Trunc(weight) { // it may have to be a whole number
		scaled = max(1, math.Round(scaled))
	}
	text = strconv.FormatFloat(scaled, 'f', -1, 64)
	if quotes {
		text = `"` + text + `"`
	}
	f.Value = json.RawMessage(text)
	return true
}

// annotate adds a mark to metadata, where that has room for it, and says whether it has. A key that is there is
// replaced.
func annotate(f *object.Member, m hold.Mark) bool {
	var o object.Object
	if string(f.Value) != "null" {
		var err error
		if o, err = object.Parse(f.Value); err != nil {
			return false
		}
	}
	changed := scale(o, m.Share)
	if len(m.Metadata) > 0 {
		o = o.WithStrings(m.Metadata)
		changed = true
	}
	if changed {
		f.Value = o.Bytes()
	}
	return changed
}
