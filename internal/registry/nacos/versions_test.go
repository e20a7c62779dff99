package nacos

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// A translator speaks v2 and v3 of HTTP, as Nacos's own controllers do, before r-nacos, which knows v1 only.
type translator struct{ server *nacosServer }

func (tr translator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, code, err := tr.translate(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/beat") {
		_, _ = w.Write(data) // its reader is gone otherwise
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "message": "as Nacos has it", "data": data}) // likewise
}

func (tr translator) translate(r *http.Request) (data json.RawMessage, code int, err error) {
	call, err := wire.ParseHTTP(r.Method, r.URL.Path, r.Form)
	if err != nil {
		return nil, 400, nil //nolint:nilerr // Nacos answers so
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/v2/ns/service/list"):
		body, err := tr.v1(http.MethodGet, "/v1/ns/service/list", r.Form)
		return json.RawMessage(strings.Replace(string(body), `"doms"`, `"services"`, 1)), 0, err
	case call.Op == wire.List:
		r.Form.Set("serviceName", call.Service.Grouped())
		body, err := tr.v1(http.MethodGet, "/v1/ns/instance/list", r.Form)
		if call.API == wire.V3 && err == nil {
			var info struct {
				Hosts json.RawMessage `json:"hosts"`
			}
			err = json.Unmarshal(body, &info)
			body = info.Hosts
		}
		return body, 0, err
	case call.Op == wire.Beat && call.API == wire.V3:
		body, err := tr.v1(http.MethodGet, "/v1/ns/instance/list", url.Values{"serviceName": {call.Service.Grouped()}, "namespaceId": {call.Service.Namespace}, "healthyOnly": {"false"}})
		if err != nil {
			return nil, 0, err
		}
		if !strings.Contains(string(body), fmt.Sprintf(`"ip":%q,"port":%d`, call.Instance.IP, call.Instance.Port)) {
			return nil, wire.CodeNoInstance, nil
		}
		_, err = tr.v1(http.MethodPut, "/v1/ns/instance/beat", call.Service.BeatForm(call.Instance))
		return json.RawMessage(`"ok"`), 0, err
	}
	method, path := wire.HTTPPath(wire.V1, call.Op)
	if path == "" {
		return nil, 404, nil
	}
	body, err := tr.v1(method, path, r.Form)
	if call.Op != wire.Beat {
		body = json.RawMessage(`"ok"`)
	}
	return body, 0, err
}

// v1 calls r-nacos.
func (tr translator) v1(method, path string, values url.Values) ([]byte, error) {
	r, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d/nacos%s?%s", tr.server.port, path, values.Encode()), nil)
	if err != nil {
		return nil, err
	}
	answer, err := tr.server.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, body)
	}
	return body, err
}

// TestALife over gRPC, and over those versions of HTTP that the suite does not run over: an instance is published, kept,
// put again, ramped and taken away.
func TestALife(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{"grpc": "", "v2": "", "v3": "&service=reviews"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			at := s.url("ttl=2s&api=" + name + query)
			if name != "grpc" {
				front := httptest.NewServer(translator{s})
				t.Cleanup(front.Close)
				at = strings.Replace(at, fmt.Sprintf("127.0.0.1:%d", s.port), strings.TrimPrefix(front.URL, "http://"), 1) + "&grpc-offset=1"
			}
			lives(t, s, at)
		})
	}
}

// lives has an instance go through everything that can become of it at a URL.
func lives(t *testing.T, s *nacosServer, at string) {
	t.Helper()
	publisher, consumer := dial(t, at), follow(t, dial(t, at))
	run(t, publisher)
	in := someInstance("a-1", 1)
	for i, ramp := range []float64{0.1, 0.5, 1} {
		in.Weight, in.Ramp = 10, ramp
		put(t, publisher, in)
		if got, want := s.weight(t, in), []float64{1, 5, 10}[i]; got != want {
			t.Errorf("Nacos has the weight %v, want %v", got, want)
		}
	}
	in.Weight, in.Ramp = 1, 0
	put(t, publisher, in)
	consumer.until(t, "it has the weight 1", func(l registry.List) bool { return len(l.Instances) == 1 && l.Instances[0].Weight == 1 })
	other := dial(t, at) // which nobody runs
	put(t, other, someInstance("b-1", 2))
	consumer.until(t, "both are listed", lists("a-1", "b-1"))
	consumer.until(t, "who is not kept is gone", lists("a-1"))
	s.do(t, http.MethodDelete, reviews.Form(wire.Instance{IP: in.Address.String(), Port: 9080, Ephemeral: true}).Encode())
	consumer.until(t, "it is put again, as it was", func(l registry.List) bool {
		return lists("a-1")(l) && l.Instances[0].Weight == 1 && s.weight(t, in) == 1
	})
	in.Leaving = true
	put(t, publisher, in)
	consumer.until(t, "it leaves", func(l registry.List) bool { return lists("a-1")(l) && l.Instances[0].Leaving })
	if got := s.weight(t, in); got != 0 {
		t.Errorf("who leaves has the weight %v", got)
	}
	if err := patiently(func() error { return publisher.Remove(t.Context(), "a-1") }); err != nil {
		t.Fatal(err)
	}
	consumer.until(t, "it is gone", lists())
	before := consumer.count()
	put(t, other, someInstance("b-1", 2)) // a clock
	consumer.until(t, "b-1 is listed", lists("b-1"))
	consumer.until(t, "its time is over", lists())
	for _, l := range consumer.since(before) {
		for _, in := range l.Instances {
			if in.Incarnation == "a-1" {
				t.Fatal("who was removed is back")
			}
		}
	}
}

// TestAnAPIThatIsNotThere: a server that does not know it, as r-nacos does not know v3's, says 404 without a word.
func TestAnAPIThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }))
	defer s.Close()
	c := dial(t, "nacos://"+s.Listener.Addr().String()+"?api=v3")
	err := c.Put(t.Context(), someInstance("a-1", 1))
	if err == nil || !strings.Contains(err.Error(), "Nacos says 404: it has no /nacos/v3/client/ns/instance: another api= or path= may be right") {
		t.Errorf("got %v", err)
	}
}

// TestABadRegistration is told by its address, and harms nobody, whether it is pushed or asked for.
func TestABadRegistration(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	put(t, dial(t, s.url("ttl=1h")), someInstance("a-1", 1))
	consumers := []*follower{follow(t, dial(t, s.url(""))), follow(t, dial(t, s.url("api=v1")))}
	s.do(t, http.MethodPost, "serviceName=reviews&ip=10.0.0.1&port=99999")
	s.do(t, http.MethodPost, "serviceName=reviews&ip=reviews.internal&port=80")
	for _, c := range consumers {
		c.until(t, "both are told", func(l registry.List) bool {
			return len(l.Instances) == 1 && len(l.Unread) == 2 && l.Unread[0].Key == "public/DEFAULT_GROUP/reviews/10.0.0.1:99999" &&
				l.Unread[1].Key == "public/DEFAULT_GROUP/reviews/DEFAULT/reviews.internal:80"
		})
	}
}

// TestAnAddressThatSomebodyHadBefore: r-nacos shows the metadata of who was there first, until it is told otherwise.
func TestAnAddressThatSomebodyHadBefore(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	first, second := dial(t, s.url("")), dial(t, s.url(""))
	put(t, first, someInstance("a-1", 1))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	consumer := follow(t, dial(t, s.url("")))
	put(t, second, someInstance("a-2", 1))
	consumer.until(t, "the second is listed", lists("a-2"))
	put(t, second, someInstance("a-3", 1)) // the same process, started anew
	if err := patiently(func() error { return second.Remove(t.Context(), "a-2") }); err != nil {
		t.Error(err)
	}
	consumer.until(t, "the third is listed", lists("a-3"))
	moved := someInstance("a-3", 2)
	put(t, second, moved)
	consumer.until(t, "it is listed where it is now, and nowhere else", func(l registry.List) bool {
		return lists("a-3")(l) && l.Instances[0].Address == moved.Address && len(l.Unread) == 0
	})
}
