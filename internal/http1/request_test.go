package http1

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// meaning is what a request says, in a form that compares.
func meaning(r *Request) string {
	return fmt.Sprintf("%s %s host=%s 1.%d framing=%d length=%d close=%t expect=%t upgrade=%s",
		r.Method, r.Path, r.Host, r.Minor, r.Framing, r.ContentLength, r.Close, r.Expect, r.Upgrade)
}

// lines makes a message from lines.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

func TestRequestMeaning(t *testing.T) {
	const get = "GET / HTTP/1.1"
	for name, c := range map[string]struct{ in, want string }{
		"origin":            {lines("GET /a?b=c HTTP/1.1", "Host: x.y:80"), "GET /a?b=c host=x.y:80 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"empty line first":  {"\r\n" + lines(get, "Host: a"), "GET / host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"empty host":        {lines(get, "Host:"), "GET / host= 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"ipv6 host":         {lines(get, "Host: [::1]:8080"), "GET / host=[::1]:8080 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"absolute":          {lines("GET http://a:1/p?q HTTP/1.1", "Host: b"), "GET /p?q host=a:1 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"absolute, no path": {lines("GET HTTP://a HTTP/1.1", "Host: a"), "GET / host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"absolute, query":   {lines("GET http://a?q HTTP/1.1", "Host: a"), "GET /?q host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"options star":      {lines("OPTIONS * HTTP/1.1", "Host: a"), "OPTIONS * host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"options absolute":  {lines("OPTIONS http://a HTTP/1.1", "Host: a"), "OPTIONS * host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"own method":        {lines("m-search / HTTP/1.1", "Host: a"), "m-search / host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"1.0":               {lines("GET / HTTP/1.0"), "GET / host= 1.0 framing=0 length=0 close=true expect=false upgrade="},
		"1.0 keep-alive":    {lines("GET / HTTP/1.0", "Connection: Keep-Alive"), "GET / host= 1.0 framing=0 length=0 close=false expect=false upgrade="},
		"close":             {lines(get, "Host: a", "Connection: x , CLOSE"), "GET / host=a 1.1 framing=0 length=0 close=true expect=false upgrade="},
		"length":            {lines("POST / HTTP/1.1", "Host: a", "content-length:  12 "), "POST / host=a 1.1 framing=1 length=12 close=false expect=false upgrade="},
		"largest length":    {lines("POST / HTTP/1.1", "Host: a", "Content-Length: 9223372036854775807"), "POST / host=a 1.1 framing=1 length=9223372036854775807 close=false expect=false upgrade="},
		"chunked":           {lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked"), "POST / host=a 1.1 framing=2 length=0 close=false expect=false upgrade="},
		"expect":            {lines("PUT / HTTP/1.1", "Host: a", "Expect: 100-Continue", "Content-Length: 1"), "PUT / host=a 1.1 framing=1 length=1 close=false expect=true upgrade="},
		"expect, no body":   {lines("PUT / HTTP/1.1", "Host: a", "Expect: 100-continue"), "PUT / host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"expect in 1.0":     {lines("PUT / HTTP/1.0", "Expect: magic", "Content-Length: 1"), "PUT / host= 1.0 framing=1 length=1 close=true expect=false upgrade="},
		"websocket":         {lines(get, "Host: a", "Connection: keep-alive, Upgrade", "Upgrade: websocket"), "GET / host=a 1.1 framing=0 length=0 close=false expect=false upgrade=websocket"},
		"upgrade alone":     {lines(get, "Host: a", "Upgrade: websocket"), "GET / host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"h2c":               {lines(get, "Host: a", "Connection: upgrade, http2-settings", "Upgrade: h2c", "HTTP2-Settings: x"), "GET / host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"upgrade and h2c":   {lines(get, "Host: a", "Connection: upgrade", "Upgrade: websocket, h2c"), "GET / host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
		"upgrade and body":  {lines(get, "Host: a", "Connection: upgrade", "Upgrade: websocket", "Content-Length: 1"), "GET / host=a 1.1 framing=1 length=1 close=false expect=false upgrade="},
		"raw query":         {lines("GET /a?x=%zz|\" HTTP/1.1", "Host: a"), "GET /a?x=%zz|\" host=a 1.1 framing=0 length=0 close=false expect=false upgrade="},
	} {
		t.Run(name, func(t *testing.T) {
			var r Request
			n, err := r.Parse([]byte(c.in + "tail"))
			if err != nil || n != len(c.in) {
				t.Fatalf("got %d, %v, want %d bytes", n, err, len(c.in))
			}
			if diff := cmp.Diff(c.want, meaning(&r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRequestRefused(t *testing.T) {
	post := func(fields ...string) string {
		return lines(append([]string{"POST / HTTP/1.1", "Host: a"}, fields...)...)
	}
	for name, c := range map[string]struct {
		in   string
		want *Error
	}{
		"length and chunked (CL.TE)":       {post("Content-Length: 4", "Transfer-Encoding: chunked"), errLengthAndTE},
		"chunked and length (TE.CL)":       {post("Transfer-Encoding: chunked", "Content-Length: 4"), errLengthAndTE},
		"two codings (TE.TE)":              {post("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), errCoding},
		"coding with a vertical tab":       {post("Transfer-Encoding: \vchunked"), errFieldValue},
		"coding in quotes":                 {post(`Transfer-Encoding: "chunked"`), errCoding},
		"coding with a parameter":          {post("Transfer-Encoding: chunked;q=1"), errCoding},
		"coding misspelt":                  {post("Transfer-Encoding: xchunked"), errCoding},
		"coding identity":                  {post("Transfer-Encoding: identity"), errCoding},
		"coding empty":                     {post("Transfer-Encoding:"), errCoding},
		"chunked not last":                 {post("Transfer-Encoding: chunked, gzip"), errCoding},
		"chunked twice":                    {post("Transfer-Encoding: chunked, chunked"), errCoding},
		"another coding first":             {post("Transfer-Encoding: gzip, chunked"), errUnknownTE},
		"coding in HTTP/1.0":               {lines("POST / HTTP/1.0", "Transfer-Encoding: chunked"), errOldTE},
		"coding name before colon":         {post("Transfer-Encoding : chunked"), errFieldName},
		"coding name with a NUL":           {post("Transfer-Encoding\x00: chunked"), errFieldName},
		"coding folded":                    {post("Transfer-Encoding:", " chunked"), errFold},
		"differing lengths":                {post("Content-Length: 4", "Content-Length: 5"), errTwoLengths},
		"agreeing lengths":                 {post("Content-Length: 4", "Content-Length: 4"), errTwoLengths},
		"length list":                      {post("Content-Length: 4, 4"), errLength},
		"length signed plus":               {post("Content-Length: +4"), errLength},
		"length signed minus":              {post("Content-Length: -4"), errLength},
		"length hexadecimal":               {post("Content-Length: 0x4"), errLength},
		"length with an underscore":        {post("Content-Length: 1_0"), errLength},
		"length with a space":              {post("Content-Length: 1 0"), errLength},
		"length empty":                     {post("Content-Length:"), errLength},
		"length over int64":                {post("Content-Length: 9223372036854775808"), errLength},
		"length over uint64":               {post("Content-Length: 18446744073709551620"), errLength},
		"length in full width digits":      {post("Content-Length: ４"), errLength},
		"space before colon":               {post("X : y"), errFieldName},
		"tab before colon":                 {post("X\t: y"), errFieldName},
		"no colon":                         {post("X"), errFieldName},
		"no name":                          {post(": x"), errFieldName},
		"name in UTF-8":                    {post("é: x"), errFieldName},
		"folded line":                      {post("X: y", " z"), errFold},
		"folded first line":                {lines("GET / HTTP/1.1", " Host: a"), errFold},
		"bare LF after a field":            {"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", errBareLF},
		"bare LF after the request line":   {"GET / HTTP/1.1\nHost: a\r\n\r\n", errBareLF},
		"bare LF at the end":               {"GET / HTTP/1.1\r\nHost: a\r\n\n", errBareLF},
		"bare LF first":                    {"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", errBareLF},
		"bare CR in a value":               {post("X: a\rb"), errFieldValue},
		"bare CR in a name":                {post("X\rY: b"), errFieldName},
		"bare CR before the end":           {post("X: a\r"), errFieldValue},
		"bare CR first":                    {"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", errEmptyLine},
		"two empty lines first":            {"\r\n\r\n" + post(), errMethod},
		"NUL in a value":                   {post("X: a\x00b"), errFieldValue},
		"DEL in a value":                   {post("X: a\x7fb"), errFieldValue},
		"NUL in the target":                {lines("GET /\x00 HTTP/1.1", "Host: a"), errTarget},
		"tab in the target":                {lines("GET /\ta HTTP/1.1", "Host: a"), errTarget},
		"CR in the target":                 {lines("GET /\ra HTTP/1.1", "Host: a"), errTarget},
		"raw UTF-8 in the target":          {lines("GET /é HTTP/1.1", "Host: a"), errTarget},
		"fragment in the target":           {lines("GET /a#b HTTP/1.1", "Host: a"), errTarget},
		"broken escape in the path":        {lines("GET /%2 HTTP/1.1", "Host: a"), errEscape},
		"wrong escape in the path":         {lines("GET /%2x HTTP/1.1", "Host: a"), errEscape},
		"two spaces after the method":      {lines("GET  / HTTP/1.1", "Host: a"), errRequestLine},
		"two spaces after the target":      {lines("GET /  HTTP/1.1", "Host: a"), errVersionWord},
		"space first":                      {lines(" GET / HTTP/1.1", "Host: a"), errMethod},
		"tab as separator":                 {lines("GET\t/\tHTTP/1.1", "Host: a"), errMethod},
		"space after the version":          {lines("GET / HTTP/1.1 ", "Host: a"), errVersionWord},
		"HTTP/0.9":                         {"GET /\r\n\r\n", errRequestLine},
		"HTTP/1.2":                         {lines("GET / HTTP/1.2", "Host: a"), errVersion},
		"HTTP/1.01":                        {lines("GET / HTTP/1.01", "Host: a"), errVersionWord},
		"HTTP/2.0":                         {lines("GET / HTTP/2.0", "Host: a"), errVersion},
		"http/1.1 in small letters":        {lines("GET / http/1.1", "Host: a"), errVersionWord},
		"HTTP/2 preface":                   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", errVersion},
		"TLS hello":                        {"\x16\x03\x01\x02\x00\x01\x00\x01", errMethod},
		"method in brackets":               {lines("(GET) / HTTP/1.1", "Host: a"), errMethod},
		"CONNECT":                          {lines("CONNECT a:443 HTTP/1.1", "Host: a:443"), errConnect},
		"star for GET":                     {lines("GET * HTTP/1.1", "Host: a"), errTargetForm},
		"star and more":                    {lines("OPTIONS *a HTTP/1.1", "Host: a"), errTargetForm},
		"relative target":                  {lines("GET a/b HTTP/1.1", "Host: a"), errTargetForm},
		"another scheme":                   {lines("GET ftp://a/ HTTP/1.1", "Host: a"), errTargetForm},
		"absolute without authority":       {lines("GET http:///p HTTP/1.1", "Host: a"), errHost},
		"absolute with userinfo":           {lines("GET http://b@a/ HTTP/1.1", "Host: a"), errHost},
		"absolute with a backslash":        {lines(`GET http://a\b/ HTTP/1.1`, "Host: a"), errHost},
		"absolute with a bad Host besides": {lines("GET http://a/ HTTP/1.1", "Host: b@c"), errHost},
		"absolute without a Host":          {lines("GET http://a/ HTTP/1.1"), errNoHost},
		"no Host":                          {lines("GET / HTTP/1.1"), errNoHost},
		"two Hosts":                        {lines("GET / HTTP/1.1", "Host: a", "host: a"), errTwoHosts},
		"two Hosts in HTTP/1.0":            {lines("GET / HTTP/1.0", "Host: a", "Host: a"), errTwoHosts},
		"Host list":                        {lines("GET / HTTP/1.1", "Host: a, b"), errHost},
		"Host with a slash":                {lines("GET / HTTP/1.1", "Host: a/b"), errHost},
		"Host with a space":                {lines("GET / HTTP/1.1", "Host: a b"), errHost},
		"Host with userinfo":               {lines("GET / HTTP/1.1", "Host: a@b"), errHost},
		"Host with an escape":              {lines("GET / HTTP/1.1", "Host: a%2e"), errHost},
		"Host with an empty port":          {lines("GET / HTTP/1.1", "Host: a:"), errHost},
		"Host with a large port":           {lines("GET / HTTP/1.1", "Host: a:65536"), errHost},
		"Host with a long port":            {lines("GET / HTTP/1.1", "Host: a:000080"), errHost},
		"Host with a named port":           {lines("GET / HTTP/1.1", "Host: a:http"), errHost},
		"Host with two ports":              {lines("GET / HTTP/1.1", "Host: a:1:2"), errHost},
		"Host of a port only":              {lines("GET / HTTP/1.1", "Host: :80"), errHost},
		"Host not an IPv6 address":         {lines("GET / HTTP/1.1", "Host: [::g]"), errHost},
		"Host an IPv4 literal in brackets": {lines("GET / HTTP/1.1", "Host: [1.2.3.4]"), errHost},
		"Host an IPv6 with a zone":         {lines("GET / HTTP/1.1", "Host: [fe80::1%eth0]"), errHost},
		"Host an open bracket":             {lines("GET / HTTP/1.1", "Host: [::1"), errHost},
		"Host more after the bracket":      {lines("GET / HTTP/1.1", "Host: [::1]a"), errHost},
		"Connection not a token":           {post("Connection: clo se"), errConnection},
		"another expectation":              {post("Expect: 200-ok", "Content-Length: 1"), errExpect},
		"too many fields":                  {post(strings.TrimSuffix(strings.Repeat("X: y\r\n", MaxFields), "\r\n")), errManyFields},
	} {
		t.Run(name, func(t *testing.T) {
			var r Request
			n, err := r.Parse([]byte(c.in))
			if got := (*Error)(nil); !errors.As(err, &got) || got != c.want {
				t.Fatalf("got %d, %v, want %v", n, err, c.want)
			}
		})
	}
}

// Every prefix of a message needs more bytes, or has the whole message's verdict.
func TestRequestInPieces(t *testing.T) {
	whole := []byte("\r\n" + lines("POST http://a:80/p?q HTTP/1.1", "Host: b", "Content-Length: 3", "X: y"))
	var r Request
	for i := range whole {
		if n, err := r.Parse(whole[:i]); n != 0 || err != nil {
			t.Fatalf("after %d bytes: got %d, %v, want more", i, n, err)
		}
	}
	if n, err := r.Parse(whole); n != len(whole) || err != nil {
		t.Fatalf("got %d, %v, want %d", n, err, len(whole))
	}
}

// What Connection nominates is gone for those who ask, too; what the codec itself writes is nobody's to take away.
func TestNominated(t *testing.T) {
	for connection, want := range map[string]string{
		"x-mine":             "X-Yours",
		"X_Mine, X-Yours":    "",
		"close, te, upgrade": "X-Mine X-Yours",
		"host, content-type": "X-Mine X-Yours",
	} {
		var r Request
		if _, err := r.Parse([]byte(lines("GET / HTTP/1.1", "X-Mine: 1", "Connection: "+connection, "Host: a", "X-Yours: 2"))); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range []string{"X-Mine", "X-Yours"} {
			if _, ok := r.Lookup(name); ok {
				got = append(got, name)
			}
		}
		if host, ok := r.Lookup("host"); strings.Join(got, " ") != want || string(host) != "a" || !ok {
			t.Errorf("Connection: %s: found %q and Host %q, want %s", connection, got, host, want)
		}
		if got, want := r.Nominates(), connection != "close, te, upgrade"; got != want {
			t.Errorf("Connection: %s: nominates: got %t, want %t", connection, got, want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	for in, want := range map[string]int{
		"GET /aaaaaaa":                      414,
		"\r\nGET /aaaaaaa":                  414,
		"GET / HTTP/1.1\r\nX: aaaaaaaaaaaa": 431,
	} {
		if got := TooLarge([]byte(in)).Status; got != want {
			t.Errorf("%q: got %d, want %d", in, got, want)
		}
	}
}

func TestRequestParseAllocatesNothing(t *testing.T) {
	in := []byte(lines("GET http://reviews:9080/reviews/0 HTTP/1.1", "Host: reviews:9080", "User-Agent: x", "Accept: */*",
		"Connection: keep-alive, x-drop", "Content-Length: 12"))
	var r Request
	var e Edit
	e.Join = []Field{field("X-Forwarded-For", "127.0.0.1")}
	out := make([]byte, 0, 4096)
	got := testing.AllocsPerRun(100, func() {
		if n, err := r.Parse(in); n != len(in) || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
		out = AppendRequest(out[:0], &r, &e)
	})
	if got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}
