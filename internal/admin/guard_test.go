package admin

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// askAs sends one request with a Host and further fields.
func askAs(h http.Handler, method, target, host string, fields map[string]string) *http.Response {
	r := httptest.NewRequest(method, target, http.NoBody)
	r.Host = host
	for name, value := range fields {
		r.Header.Set(name, value)
	}
	at := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 15000}
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(at)))
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder.Result()
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func TestGuardKnowsItsOwnNames(t *testing.T) {
	h := Guard(http.HandlerFunc(ok), "gateway.internal")
	for host, want := range map[string]int{
		"localhost":                   200,
		"LOCALHOST:15000":             200,
		"127.0.0.1:15000":             200,
		"127.1.0.5:15000":             200,
		"[::1]:15000":                 200,
		"::1":                         200,
		"[::ffff:127.0.0.1]:15000":    200,
		"10.0.0.7:15000":              200, // where the connection came in
		"10.0.0.7":                    200,
		"gateway.internal:15000":      200,
		"10.0.0.8:15000":              403,
		"evil.example":                403, // resolves to 127.0.0.1 at its owner's will
		"localhost.evil.example":      403,
		"127.0.0.1.evil.example:1500": 403,
		"0.0.0.0:15000":               403,
		"":                            403,
		"[":                           403,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if got := askAs(h, method, "/", host, nil).StatusCode; got != want {
				t.Errorf("%s with Host %q: got %d, want %d", method, host, got, want)
			}
		}
	}
}

func TestGuardRefusesForeignPages(t *testing.T) {
	h := Guard(http.HandlerFunc(ok))
	for _, c := range []struct {
		method string
		fields map[string]string
		want   int
	}{
		{http.MethodPost, nil, 200}, // curl
		{http.MethodPost, map[string]string{"Origin": "http://localhost:15000"}, 200},
		{http.MethodPost, map[string]string{"Origin": "https://evil.example"}, 403},
		{http.MethodPost, map[string]string{"Origin": "http://localhost:15010"}, 403},
		{http.MethodPost, map[string]string{"Origin": "null"}, 403},
		{http.MethodPost, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{http.MethodPost, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{http.MethodPost, map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		{http.MethodDelete, map[string]string{"Origin": "https://evil.example"}, 403},
		{http.MethodGet, map[string]string{"Origin": "https://evil.example"}, 200}, // changes nothing, and no CORS field lets the page read it
	} {
		resp := askAs(h, c.method, "/", "localhost:15000", c.fields)
		if resp.StatusCode != c.want {
			t.Errorf("%s with %v: got %d, want %d", c.method, c.fields, resp.StatusCode, c.want)
		}
		if allow := resp.Header.Get("Access-Control-Allow-Origin"); allow != "" {
			t.Errorf("%s with %v lets %q read the answer", c.method, c.fields, allow)
		}
	}
}
