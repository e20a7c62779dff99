package nacos

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A version of Nacos's HTTP, as an application speaks it, and a registry that knows one instance.
type version struct {
	register, beat, light, deregister request
	done, alive, gone                 string // answers: to a call that was done, to a beat, and to one of an instance that is not known
	list                              string // with %s for the instance
	plain                             string // how the registry is asked for the list
}

type request struct {
	method, path string
	form         url.Values
}

// said is a request as the registry hears it.
func (r request) said() string {
	return strings.TrimSpace(r.method + " " + r.path + " " + r.form.Encode())
}

const host = `{"ip":"10.0.0.1","port":8080,"weight":2,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","metadata":{"zone":"a"}}`

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

func versions() map[string]version {
	const (
		beat    = `{"ip":"10.0.0.1","port":8080,"weight":2,"metadata":{"zone":"a"},"cluster":"DEFAULT","serviceName":"DEFAULT_GROUP@@pay"}`
		alive   = `{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}`
		gone    = `{"clientBeatInterval":5000,"code":20404,"lightBeatEnabled":true}`
		wrapped = `{"code":0,"message":"success","data":"ok"}`
	)
	who := []string{"ip", "10.0.0.1", "port", "8080"}
	of := func(more ...string) url.Values { return form(append(slices.Clone(who), more...)...) }
	return map[string]version{
		"v1": {
			register:   request{http.MethodPost, "/nacos/v1/ns/instance", of("serviceName", "pay", "weight", "2", "metadata", `{"zone":"a"}`)},
			beat:       request{http.MethodPut, "/nacos/v1/ns/instance/beat", form("serviceName", "DEFAULT_GROUP@@pay", "beat", beat)},
			light:      request{http.MethodPut, "/nacos/v1/ns/instance/beat", of("serviceName", "DEFAULT_GROUP@@pay")},
			deregister: request{http.MethodDelete, "/nacos/v1/ns/instance?ip=10.0.0.1&port=8080&serviceName=pay", nil},
			done:       "ok", alive: alive, gone: gone, list: `{"name":"DEFAULT_GROUP@@pay","hosts":[%s]}`,
			plain: "GET /nacos/v1/ns/instance/list?groupName=DEFAULT_GROUP&healthyOnly=false&namespaceId=public&serviceName=DEFAULT_GROUP%40%40pay",
		},
		"v2": {
			register:   request{http.MethodPost, "/nacos/v2/ns/instance", of("serviceName", "pay", "weight", "2", "metadata", `{"zone":"a"}`)},
			beat:       request{http.MethodPut, "/nacos/v2/ns/instance/beat", form("serviceName", "DEFAULT_GROUP@@pay", "beat", beat)},
			light:      request{http.MethodPut, "/nacos/v2/ns/instance/beat", of("serviceName", "DEFAULT_GROUP@@pay")},
			deregister: request{http.MethodDelete, "/nacos/v2/ns/instance?ip=10.0.0.1&port=8080&serviceName=pay", nil},
			done:       wrapped, alive: alive, gone: gone, list: `{"code":0,"data":{"name":"pay","hosts":[%s]}}`,
			plain: "GET /nacos/v2/ns/instance/list?groupName=DEFAULT_GROUP&healthyOnly=false&namespaceId=public&serviceName=pay",
		},
		"v3": {
			register:   request{http.MethodPost, "/nacos/v3/client/ns/instance", of("serviceName", "pay", "weight", "2", "metadata", `{"zone":"a"}`)},
			light:      request{http.MethodPost, "/nacos/v3/client/ns/instance?heartBeat=true", of("serviceName", "pay")},
			deregister: request{http.MethodDelete, "/nacos/v3/client/ns/instance?ip=10.0.0.1&port=8080&serviceName=pay", nil},
			done:       wrapped, alive: wrapped, gone: `{"code":21003,"message":"instance not found","data":null}`, list: `{"code":0,"data":[%s]}`,
			plain: "GET /nacos/v3/client/ns/instance/list?groupName=DEFAULT_GROUP&healthyOnly=false&namespaceId=public&serviceName=pay",
		},
	}
}

// registry answers for a version as Nacos does. What it says to light beats is in unknown: whether it has forgotten.
func (v version) registry(has *bool) func(string) string {
	return func(asked string) string {
		method, path, _ := strings.Cut(asked, " ")
		switch {
		case strings.Contains(path, "/list"):
			if *has {
				return strings.Replace(v.list, "%s", host, 1)
			}
			return strings.Replace(v.list, "%s", "", 1)
		case strings.Contains(path, "/beat"), strings.Contains(path, "heartBeat=true"):
			if !*has && !strings.Contains(path, "beat=") {
				return v.gone
			}
			*has = true
			return v.alive
		case method == http.MethodPost:
			*has = true
		case method == http.MethodDelete:
			*has = false
		}
		return v.done
	}
}

func TestEveryVersion(t *testing.T) {
	for name, v := range versions() {
		t.Run(name, func(t *testing.T) {
			var has bool
			s := newScript(t, v.registry(&has))
			st := behind(t, s.address)
			st.gate.Annotate = false // byte for byte
			does := func(r request, want string) {
				t.Helper()
				if got := st.do(r.method, r.path, r.form); got != want {
					t.Errorf("%s says %s, want %s", r.said(), got, want)
				}
			}

			// Nobody is known yet: who sends a beat without a body registers then.
			does(v.light, v.gone)
			s.wants()
			does(v.register, v.done)
			does(v.light, v.alive)
			if v.beat.path != "" {
				does(v.beat, v.alive)
			}
			s.wants()

			// Released: as the application sent it, then read back. Its beats are its own again.
			st.put(instance())
			s.wants(v.register.said(), v.plain)
			does(v.light, v.alive)
			s.wants(v.light.said())
			if v.beat.path != "" {
				does(v.beat, v.alive)
				s.wants(v.beat.said())
			}

			// The registry has forgotten: that is mended before the application hears of it.
			has = false
			does(v.light, v.alive)
			s.wants(v.light.said(), v.register.said())

			// The application takes it back, and registers again.
			does(v.deregister, v.done)
			s.wants(v.deregister.said())
			does(v.light, v.gone)
			does(v.register, v.done)
			s.wants(v.register.said())

			// It leaves, and whatever comes is swallowed.
			st.remove()
			if has {
				t.Error("it is there after it was withdrawn")
			}
			s.mu.Lock()
			s.asked = nil
			s.mu.Unlock()
			for range 3 {
				does(v.register, v.done)
				does(v.light, v.alive)
				if v.beat.path != "" {
					does(v.beat, v.alive)
				}
			}
			if n, want := st.gate.Count().Swallowed, uint64(6+3*len(v.beat.path)/max(1, len(v.beat.path))); n != want {
				t.Errorf("%d are swallowed, want %d", n, want)
			}
			does(v.deregister, v.done)
			does(v.register, v.done)
			s.wants()
		})
	}
}

// Nothing of what the application sent is written anew, nor put in another order, unless there is a mark.
func TestBytes(t *testing.T) {
	var has bool
	s := newScript(t, versions()["v1"].registry(&has))
	st := behind(t, s.address)
	st.gate.Annotate = false
	const query, form = "serviceName=pay&&app=%7e", "weight=2&port=8080&ip=10.0.0.1&metadata={%22zone%22:+%22a%22}&odd"
	for _, later := range []bool{false, true} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+st.proxy.Addr()+"/nacos/v1/ns/instance?"+query, strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
		answer, err := new(http.Client).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if !later {
			st.put(instance())
		}
		s.mu.Lock()
		if want := "POST /nacos/v1/ns/instance?" + query + " " + form; len(s.asked) == 0 || s.asked[0] != want {
			t.Errorf("the registry was asked %q, want %q", s.asked, want)
		}
		s.asked = nil
		s.mu.Unlock()
	}
}

// A beat with a body registers an instance that nobody has registered: it is held like any other.
func TestABeatRegisters(t *testing.T) {
	v := versions()["v1"]
	var has bool
	s := newScript(t, v.registry(&has))
	st := behind(t, s.address)
	st.gate.Annotate = false
	st.do(v.beat.method, v.beat.path, v.beat.form)
	s.wants()
	st.put(instance())
	if !has {
		t.Error("it is not there after its release")
	}
	s.mu.Lock()
	registered := s.asked[0]
	s.mu.Unlock()
	for _, part := range []string{"POST /nacos/v1/ns/instance?", "ip=10.0.0.1", "port=8080", "weight=2.0", "serviceName=pay", "groupName=DEFAULT_GROUP", url.QueryEscape(`{"zone":"a"}`)} {
		if !strings.Contains(registered, part) {
			t.Errorf("it was registered by %s, want %s", registered, part)
		}
	}
}

// Beats say what their instance was registered with, so that a registry that takes them for a registration has it right.
func TestBeatsAreMarked(t *testing.T) {
	v := versions()["v1"]
	var has bool
	s := newScript(t, v.registry(&has))
	st := behind(t, s.address)
	st.do(v.register.method, v.register.path, v.register.form)
	in := instance()
	in.Ramp = 0.25
	go st.gate.Put(t.Context(), in) // the registry shows another weight: we are not interested in when that is settled
	until(t, "it is registered", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return has })
	until(t, "it is released", func() bool { return st.gate.Count().Released == 1 })
	for _, beat := range []request{v.beat, v.light} {
		s.mu.Lock()
		s.asked = nil
		s.mu.Unlock()
		st.do(beat.method, beat.path, beat.form)
		s.mu.Lock()
		heard, _ := url.QueryUnescape(s.asked[0])
		s.mu.Unlock()
		for _, part := range []string{`"weight":1`, `"crossfade.incarnation":"a-1"`, `"zone":"a"`, `"crossfade.weight":"2"`} {
			if !strings.Contains(heard, part) {
				t.Errorf("the beat says %s, want %s", heard, part)
			}
		}
	}
}

func TestUpdates(t *testing.T) {
	v := versions()["v1"]
	var has bool
	s := newScript(t, v.registry(&has))
	st := behind(t, s.address)
	st.gate.Annotate = false

	// Somebody else's instance is none of ours: it is looked for, and then changed by whoever asks for it.
	has = true
	change := request{http.MethodPut, "/nacos/v1/ns/instance", form("serviceName", "pay", "ip", "10.0.0.1", "port", "8080", "weight", "5")}
	st.do(change.method, change.path, change.form)
	s.wants(v.plain, change.said())
	has = false

	st.do(v.register.method, v.register.path, v.register.form)
	st.do(change.method, change.path, change.form)
	patch := request{http.MethodPatch, "/nacos/v1/ns/instance", form("serviceName", "pay", "ip", "10.0.0.1", "port", "8080", "metadata", `{"zone":"b"}`)}
	st.do(patch.method, patch.path, patch.form)
	s.wants()
	go st.gate.Put(t.Context(), instance()) // the registry shows another weight
	until(t, "it is released", func() bool { return st.gate.Count().Released == 1 })
	s.mu.Lock()
	registered, _ := url.QueryUnescape(s.asked[0])
	s.asked = nil
	s.mu.Unlock()
	for _, part := range []string{"weight=5", `{"zone":"b"}`} {
		if !strings.Contains(registered, part) {
			t.Errorf("it was registered by %s, want %s", registered, part)
		}
	}
	st.do(patch.method, patch.path, patch.form)
	s.wants(patch.said())
	st.remove()
	s.mu.Lock()
	s.asked = nil
	s.mu.Unlock()
	st.do(patch.method, patch.path, patch.form)
	s.wants()
}

// What is no registration is passed on as it is, and what may be one and cannot be read is refused, and told.
func TestPassedAndRefused(t *testing.T) {
	s := newScript(t, func(asked string) string { return "said: " + asked })
	st := behind(t, s.address)
	for _, other := range []request{
		{http.MethodPost, "/nacos/v1/auth/users/login?x=1&&y=%zz", form("username", "nacos", "password", "p")},
		{http.MethodGet, "/nacos/v1/cs/configs?dataId=a&group=b", nil},
		{http.MethodPost, "/nacos/v1/cs/configs/listener", form("Listening-Configs", "a\x02b\x02\x01")},
		{http.MethodGet, "/nacos/v1/ns/service/list?pageNo=1&pageSize=10", nil},
		{http.MethodGet, "/nacos/v1/ns/instance?serviceName=pay&ip=1.2.3.4&port=1", nil},
		{http.MethodPut, "/nacos/v2/ns/instance/metadata/batch", form("serviceName", "pay")},
	} {
		if got, want := st.do(other.method, other.path, other.form), "said: "+other.said(); got != want {
			t.Errorf("%s was answered %q", other.said(), got)
		}
	}
	s.mu.Lock()
	s.asked = nil
	s.mu.Unlock()
	for _, bad := range []request{
		{http.MethodPost, "/nacos/v1/ns/instance", form("serviceName", "pay", "ip", "1.2.3.4")},
		{http.MethodPost, "/nacos/v1/ns/instance;x=1/", form("serviceName", "pay", "ip", "1.2.3.4", "port", "many")},
		{http.MethodPost, "//nacos//v1/ns/./instance", form("ip", "1.2.3.4", "port", "1")},
		{http.MethodPost, "/v1/ns/%69nstance", form("ip", "1.2.3.4", "port", "1")},
		{http.MethodPut, "/nacos/v1/ns/instance/beat", form("serviceName", "pay", "beat", "{")},
		{http.MethodPost, "/nacos/v3/client/ns/instance", form("serviceName", "pay")},
	} {
		if _, err := call(t.Context(), new(http.Client), bad.method, "http://"+st.proxy.Addr()+bad.path, bad.form); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("%s: %v, want 400", bad.said(), err)
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+st.proxy.Addr()+"/nacos/v1/ns/instance", strings.NewReader(`{"ip":"1.2.3.4"}`))
	r.Header.Set("Content-Type", "application/json")
	if answer, err := new(http.Client).Do(r); err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a body of JSON: %v, %v", answer, err)
	}
	s.wants()
	told := st.told()
	if len(told) != 7 || !strings.HasPrefix(told[0], "hold.unread: POST /nacos/v1/ns/instance in nacos "+s.address+"; refused: ") {
		t.Errorf("told %q", told)
	}
}

// What would lead around the proxy does not: it says that it is the only server there is.
func TestNoWayAround(t *testing.T) {
	s := newScript(t, func(string) string { return `{"servers":[{"ip":"10.9.9.9","port":8848}]}` })
	st := behind(t, s.address)
	got := st.do(http.MethodGet, "/nacos/v1/ns/operator/servers?healthy=true", nil)
	if _, port, _ := strings.Cut(st.proxy.Addr(), ":"); strings.Contains(got, "10.9.9.9") || !strings.Contains(got, `"ip":"127.0.0.1","servePort":`+port) {
		t.Errorf("servers are %s", got)
	}
}

// A registry that is not there is not there for the application either: its connection ends.
func TestAwayOverHTTP(t *testing.T) {
	p := freePair(t)
	st := behind(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
	for _, path := range []string{"/nacos/v1/ns/service/list", "/nacos/v1/ns/instance/list?serviceName=pay"} {
		if _, err := call(t.Context(), new(http.Client), http.MethodGet, "http://"+st.proxy.Addr()+path, nil); err == nil || !strings.Contains(err.Error(), "EOF") {
			t.Errorf("%s: %v, want the connection's end", path, err)
		}
	}
	// What is held is answered all the same.
	v := versions()["v1"]
	if got := st.do(v.register.method, v.register.path, v.register.form); got != "ok" {
		t.Errorf("it says %q", got)
	}
}

// A registry that refuses is heard by the application, and a refused registration is none.
func TestRefusals(t *testing.T) {
	v := versions()["v1"]
	s := newScript(t, func(string) string { return "" })
	st := behind(t, s.address)
	st.do(v.register.method, v.register.path, v.register.form)
	err := st.gate.Put(t.Context(), instance())
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("Put: %v", err)
	}
	if n := st.gate.Count(); n.Released != 0 {
		t.Errorf("counted %+v", n)
	}
	if _, err := call(t.Context(), new(http.Client), v.register.method, "http://"+st.proxy.Addr()+v.register.path, v.register.form); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("the application was told %v", err)
	}

	// What the registry did not take it is not told by beats either.
	st.do(v.beat.method, v.beat.path, v.beat.form)
	s.mu.Lock()
	if all := strings.Join(s.asked, "\n"); strings.Contains(all, "/beat") {
		t.Errorf("a beat is passed on:\n%s", all)
	}
	s.mu.Unlock()

	// One that is refused at once is not known: its beats are answered so, and bring nothing.
	other := v.register
	other.form = form("serviceName", "bills", "ip", "10.0.0.1", "port", "8080")
	if _, err := call(t.Context(), new(http.Client), other.method, "http://"+st.proxy.Addr()+other.path, other.form); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("the application was told %v", err)
	}
	light := form("serviceName", "bills", "ip", "10.0.0.1", "port", "8080")
	if got := st.do(v.light.method, v.light.path, light); got != v.gone {
		t.Errorf("its beat is answered %s", got)
	}
}

// The newest token goes with what we say in the application's name, wherever it shows it.
func TestNewestTokenOverHTTP(t *testing.T) {
	v := versions()["v1"]
	var has bool
	var heard []string
	plain := v.registry(&has)
	s := newScript(t, plain)
	st := behind(t, s.address)
	st.gate.Annotate = false
	does := func(r request, token string) {
		t.Helper()
		path, sep := r.path, "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		out, err := http.NewRequestWithContext(t.Context(), r.method, "http://"+st.proxy.Addr()+path+sep+"accessToken="+token, body(r.form))
		if err != nil {
			t.Fatal(err)
		}
		out.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		out.Header.Set("Authorization", "Bearer "+token)
		answer, err := new(http.Client).Do(out)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	s.headers = func(h http.Header) { heard = append(heard, h.Get("Authorization")) }
	does(v.register, "old")
	does(v.light, "new")
	st.put(instance())
	does(v.light, "newer")
	st.remove()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, want := range []string{"new", "new", "newer", "newer", "newer"} {
		if i >= len(heard) || heard[i] != "Bearer "+want || !strings.Contains(s.asked[i], "accessToken="+want) {
			t.Fatalf("asked %q with %q", s.asked, heard)
		}
	}
}
