package ending

import (
	"encoding/json"
	"testing"
)

// Sums come back as they were written, and JSON knows them as an object of those that are not 0.
func TestSumsAsJSON(t *testing.T) {
	for _, tt := range []struct {
		sums Sums
		want string
	}{
		{Sums{}, `{}`},
		{Sums{Served: 12, Cut: 1}, `{"served":12,"cut":1}`},
		{Sums{ServerError: 1<<64 - 1, CallError: 3}, `{"5xx":18446744073709551615,"grpc":3}`},
	} {
		text, err := json.Marshal(tt.sums)
		if err != nil || string(text) != tt.want {
			t.Errorf("%v: got %s, %v; want %s", tt.sums, text, err, tt.want)
		}
		var back Sums
		if err := json.Unmarshal(text, &back); err != nil || back != tt.sums {
			t.Errorf("%s: got %v, %v; want %v", text, back, err, tt.sums)
		}
	}
	var s Sums
	if err := json.Unmarshal([]byte(`{"lost": 1}`), &s); err == nil {
		t.Error("a kind that there is not was read")
	}
}
