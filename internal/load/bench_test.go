package load

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkClosedLoop measures a whole request, the answering net/http server in the same process included.
func BenchmarkClosedLoop(b *testing.B) {
	body := make([]byte, 200)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	for name, plan := range map[string]Plan{
		"http1": {Connections: 8},
		"http2": {Protocol: HTTP2, Connections: 2, Streams: 4},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			plan.URLs, plan.Requests = []string{server.URL}, uint64(b.N)
			report, err := Run(b.Context(), plan)
			if err != nil || report.OK != uint64(b.N) {
				b.Fatalf("got %d ok of %d, error %v", report.OK, b.N, err)
			}
		})
	}
}
