package console

import (
	"io/fs"
	"strings"
	"testing"
)

func TestTokensSayWhatIsWrong(t *testing.T) {
	sum := "sha256:" + hash(annaToken)
	for _, c := range []struct {
		mode fs.FileMode
		text string
		want string // in the error; "" is none
	}{
		{0o600, "anna operate " + sum, ""},
		{0o644, "\n# of all\nanna view " + sum + "\n", ""},
		{0o600, "anna operate " + annaToken, ""},
		{0o640, "anna operate " + annaToken, ":1: a token itself stands here"},
		{0o620, "anna operate " + sum, "others may write it (mode 0620)"},
		{0o600, "anna operate short", ":1: a token has 20 characters"},
		{0o600, "anna admin " + sum, `:1: role "admin": want view or operate`},
		{0o600, "#\nanna operate", ":2: want NAME ROLE sha256:HEX, there are 2 words"},
		{0o600, "anna operate sha256:beef", ":1: sha256: is followed by 64"},
		{0o600, "anna operate sha256:" + strings.Repeat("x", 64), ":1: sha256: is followed by 64"},
		{0o600, "anna view " + sum + "\nanna operate " + bertToken, `:2: "anna" has a line already`},
		{0o600, "anna view " + sum + "\nbert operate " + annaToken, `:2: "bert" has the token of "anna"`},
		{0o600, "an\x00na view " + sum, ":1: a name has 64 printable bytes"},
		{0o600, strings.Repeat("a", 65) + " view " + sum, ":1: a name has 64 printable bytes"},
		{0o600, "# nobody", "it has no token"},
	} {
		_, err := parseTokens([]byte(c.text), c.mode)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("mode %04o, %q: got %v, want %q", c.mode, c.text, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), annaToken) {
			t.Errorf("the error says a token: %v", err)
		}
	}
}

// Whatever stands in a file, nobody comes in by a token that is short or empty, and no error shows one.
func FuzzTokens(f *testing.F) {
	f.Add("anna operate sha256:"+hash(annaToken), uint32(0o600))
	f.Add("bert view "+bertToken, uint32(0o600))
	f.Add("a b c\n\n#", uint32(0o644))
	f.Fuzz(func(t *testing.T, text string, mode uint32) {
		all, err := parseTokens([]byte(text), fs.FileMode(mode))
		if err != nil && len(all) != 0 {
			t.Fatalf("%v, and there are %d", err, len(all))
		}
		for digest, e := range all {
			if len(digest) != 64 || e.hash != digest || e.name == "" || (e.role != View && e.role != Operate) {
				t.Fatalf("%q of %+v", digest, e)
			}
		}
		if all[hash("")] != nil && !strings.Contains(text, hash("")) {
			t.Fatal("nothing is a token")
		}
	})
}
