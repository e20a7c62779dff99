package settings

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkCheck checks a change of one of 500 VirtualServices, beside as many services and Deployments.
func BenchmarkCheck(b *testing.B) {
	files := map[string]string{}
	for i := range 500 {
		name := fmt.Sprintf("shop%d", i)
		files[name+".yaml"] = strings.ReplaceAll(shop+"---\n"+routing, "shop", name)
	}
	e := newEditor(b, files)
	d := e.documentOf(b, "VirtualService.default.shop7")
	next := strings.Replace(d.text, "subset: v1", "subset: v2", 1)
	for b.Loop() {
		p, err := e.check(b.Context(), e.proposeText(&documentRequest{ID: d.ID, YAML: next}), &d.Digest)
		if err != nil || !p.OK || len(p.Effects) != 1 {
			b.Fatalf("%+v, %v", p, err)
		}
	}
}
