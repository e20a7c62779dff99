package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIstioSamples loads files of the same shapes as Istio's samples bookinfo/networking and httpbin, each with the
// services and subsets around it that it takes for granted. The golden files say what becomes of them: they load,
// or the findings name what is not supported.
func TestIstioSamples(t *testing.T) {
	for _, file := range glob(t, "testdata/istio/*.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			sample := readSample(t, file)
			files := []File{sample}
			for name, has := range map[string]string{
				"services": "", "subsets": "kind: DestinationRule", "httpbin": "metadata: {name: httpbin, labels",
			} {
				if has == "" || !bytes.Contains(sample.Data, []byte(has)) {
					files = append(files, readSample(t, "testdata/istio/around/"+name+".yaml"))
				}
			}
			d, findings := Parse(files, options())
			var lines strings.Builder
			lines.WriteString(map[bool]string{true: "loads\n", false: "does not load\n"}[d != nil])
			for _, f := range findings {
				if f.File == sample.Name {
					lines.WriteString(f.String() + "\n")
				} else if f.Severity == Error {
					t.Errorf("what stands around the sample is wrong: %s", f)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", lines.String())
		})
	}
}

func readSample(t *testing.T, file string) File {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return File{Name: filepath.Base(file), Data: data}
}
