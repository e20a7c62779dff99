package load

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkClosedLoop measures a whole request, the answering net/http server in the same process included.
func BenchmarkClosedLoop(b *testing.B) {
	body := make([]byte, 200)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	defer server.Close()
	b.ReportAllocs()
	b.ResetTimer()
	report, err := Run(b.Context(), Plan{URLs: []string{server.URL}, Connections: 8, Requests: uint64(b.N)})
	b.StopTimer()
	if err != nil || report.OK != uint64(b.N) {
		b.Fatalf("got %d ok of %d, error %v", report.OK, b.N, err)
	}
}
