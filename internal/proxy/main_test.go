package proxy

import (
	"flag"
	"os"
	"testing"
)

// onlyPlain has every world serve plaintext as TLS is served; see Options.Plain.
var onlyPlain bool

// Every test runs twice: what holds for connections that park must hold for those that do not.
func TestMain(m *testing.M) {
	code := m.Run()
	if once := flag.Lookup("test.bench").Value.String() + flag.Lookup("test.fuzz").Value.String(); code == 0 && once == "" {
		onlyPlain = true
		code = m.Run()
	}
	os.Exit(code)
}
