package zookeeper

import (
	"maps"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// spring is what a Spring Cloud application writes, with a key that nobody here knows, and white space.
const spring = `{"name":"orders","id":"6f1d","address":"10.0.0.7","port":8080,"sslPort":null,` +
	`"payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"orders-1","name":"orders",` +
	`"metadata":{"instance_status":"UP","version":"v2", "slots":12}},"registrationTimeUTC":1790000000123,"serviceType":"DYNAMIC",` +
	`"uriSpec":{"parts":[{"value":"scheme","variable":true},{"value":"://","variable":false}]},"later":{"big":12345678901234567890}}`

func parsed(t *testing.T, data string) *Instance {
	t.Helper()
	i, err := ParseInstance([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func written(t *testing.T, i *Instance) string {
	t.Helper()
	data, err := i.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAnInstanceOfCurator(t *testing.T) {
	i := parsed(t, spring)
	if i.Name != "orders" || i.ID != "6f1d" || i.Address != "10.0.0.7" || i.Port != 8080 || i.SSLPort != 0 || i.Registered != 1790000000123 || i.Class != SpringClass || !i.Status() {
		t.Errorf("read %+v", i)
	}
	if want := map[string]string{"instance_status": "UP", "version": "v2", "slots": "12"}; !maps.Equal(i.Metadata, want) {
		t.Errorf("metadata %v, want %v", i.Metadata, want)
	}
	if got := written(t, i); got != spring {
		t.Errorf("nothing was changed, and it is\n%s", got)
	}
	if !i.Mark(map[string]string{"crossfade.incarnation": "orders-1-a"}, 0.5, true) {
		t.Error("there is no room for metadata")
	}
	want := strings.Replace(spring, `"metadata":{"instance_status":"UP","version":"v2", "slots":12}`,
		`"metadata":{"instance_status":"OUT_OF_SERVICE","version":"v2","slots":12,"crossfade.incarnation":"orders-1-a"}`, 1)
	if got := written(t, i); got != want {
		t.Errorf("marked, it is\n%s, want\n%s", got, want)
	}
	if parsed(t, written(t, i)).Status() {
		t.Error("consumers would take one that leaves")
	}
}

// TestPayloadsWithoutRoom: a reader in Java makes an object of the payload's class, which may not know our keys.
func TestPayloadsWithoutRoom(t *testing.T) {
	for _, payload := range []string{`null`, `"text"`, `7`, `[1]`, `{}`, `{"@class":"com.example.Details","owner":"me"}`} {
		data := `{"name":"a","address":"10.0.0.1","port":1,"payload":` + payload + `}`
		i := parsed(t, data)
		if i.Mark(map[string]string{"crossfade.incarnation": "x"}, 0.1, true) {
			t.Errorf("payload %s had room", payload)
		}
		if got := written(t, i); got != data {
			t.Errorf("payload %s was changed: %s", payload, got)
		}
	}
	i := parsed(t, `{"payload":{"@class":"`+DubboClass+`","metadata":null}}`)
	if !i.Mark(map[string]string{"a": "<&>"}, 0, false) || written(t, i) != `{"payload":{"@class":"`+DubboClass+`","metadata":{"a":"<&>"}}}` {
		t.Errorf("metadata that is null: %s", written(t, i))
	}
}

func TestRegistrationsThatAreNone(t *testing.T) {
	for data, want := range map[string]string{
		``:                               "want a JSON object",
		`[]`:                             "want a JSON object",
		`{`:                              "EOF",
		`{"a":1} x`:                      "more behind",
		`{"port":0}`:                     `port "0"`,
		`{"port":65536}`:                 `port "65536"`,
		`{"port":1.5}`:                   `port "1.5"`,
		`{"sslPort":-1}`:                 `sslPort`,
		strings.Repeat(" ", 1<<20) + "1": "at most",
	} {
		if i, err := ParseInstance([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, %v; want an error with %q", data, i, err, want)
		}
	}
	for node, want := range map[string]string{
		"":                                "want a URL",
		"%zz":                             "invalid URL escape",
		"consumer":                        "want a URL",
		"dubbo%3A%2F%2F":                  "want a URL",
		"dubbo%3A%2F%2F10.0.0.1%2Fa":      "want a URL",
		"dubbo%3A%2F%2F10.0.0.1%3A0%2Fa":  `port "0"`,
		"dubbo%3A%2F%2F10.0.0.1%3A1":      "no interface",
		"dubbo%3A%2F%2F10.0.0.1%3A1%3Fa":  "no interface",
		strings.Repeat("a", MaxPayload+1): "at most",
	} {
		if p, err := ParseProvider(node); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, %v; want an error with %q", node, p, err, want)
		}
	}
}

// node is a name as Java escapes it.
const node = `dubbo%3A%2F%2F10.0.0.7%3A20880%2Forg.example.Greeter%3Fanyhost%3Dtrue%26application%3Dgreeter%26deprecated%3Dfalse%26` +
	`interface%3Dorg.example.Greeter%26methods%3Dgreet%2C*%26side%3Dprovider%26timestamp%3D1790000000123%26weight%3D200`

func TestAProviderOfDubbo(t *testing.T) {
	p, err := ParseProvider(node)
	if err != nil {
		t.Fatal(err)
	}
	if p.Protocol != "dubbo" || p.Host != "10.0.0.7" || p.Port != 20880 || p.Interface != "org.example.Greeter" || p.Weight() != 200 {
		t.Errorf("read %+v", p)
	}
	if p.Mark(nil, 1, false); p.Node() != node {
		t.Errorf("nothing was changed, and it is\n%s", p.Node())
	}
	p.Mark(map[string]string{"crossfade.labels.a&b": "50%=?", "crossfade.weight": "1"}, 0.25, false)
	text, err := url.QueryUnescape(p.Node())
	if err != nil {
		t.Fatal(err)
	}
	want := "dubbo://10.0.0.7:20880/org.example.Greeter?anyhost=true&application=greeter&deprecated=false&interface=org.example.Greeter&" +
		"methods=greet,*&side=provider&timestamp=1790000000123&weight=50&crossfade.labels.a%26b=50%25%3D%3F&crossfade.weight=2"
	if text != want {
		t.Errorf("marked, it is\n%s, want\n%s", text, want)
	}
	again, err := ParseProvider(p.Node())
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Parameters(); got["crossfade.labels.a&b"] != "50%=?" || got["weight"] != "50" {
		t.Errorf("read again, it has %v", got)
	}
	if again.Mark(nil, 0, true); again.Weight() != 0 {
		t.Errorf("one that leaves has weight %d", again.Weight())
	}
}

func TestWeights(t *testing.T) {
	for _, tt := range []struct {
		weight int64
		share  float64
		want   int64
	}{{100, 0, 100}, {100, 1, 100}, {100, 2, 100}, {100, 0.004, 1}, {100, 0.5, 50}, {0, 0.5, 0}, {3, 0.5, 2}} {
		p := NewProvider("dubbo", "::1", 1, "a")
		p.SetWeight(tt.weight, tt.share)
		if p.Weight() != tt.want {
			t.Errorf("%v of %d is %d, want %d", tt.share, tt.weight, p.Weight(), tt.want)
		}
	}
	for weight, want := range map[int64]float64{0: 0, 1: 0.01, 100: 1, 150: 1.5} {
		if got := Steady(weight); got != want {
			t.Errorf("%d of Dubbo's is %v, want %v", weight, got, want)
		}
	}
}

// TestWhatIsWrittenIsRead, in both formats, whatever stands in it.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		metadata := rapid.MapOf(rapid.StringN(1, 10, 40), rapid.String()).Draw(t, "metadata")
		port := rapid.Uint32Range(1, 65535).Draw(t, "port")
		i, err := NewInstance(DubboClass, "orders", "1", "10.0.0.1", port, 5, metadata)
		if err != nil {
			t.Fatal(err)
		}
		data, err := i.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseInstance(data)
		if err != nil || back.Port != port || !maps.Equal(back.Metadata, metadata) {
			t.Fatalf("%v: port %d, metadata %v, want %d, %v\n%s", err, back.Port, back.Metadata, port, metadata, data)
		}
		p := NewProvider("tri", "10.0.0.1", port, "org.example.Greeter")
		delete(metadata, "interface")
		delete(metadata, "weight")
		p.Mark(metadata, 0, false)
		again, err := ParseProvider(p.Node())
		if err != nil {
			t.Fatal(err)
		}
		got := again.Parameters()
		delete(got, "interface")
		if again.Port != port || !maps.Equal(got, metadata) {
			t.Fatalf("%v, want %v\n%s", got, metadata, p.Node())
		}
	})
}

// FuzzInstance: what is read and not changed is what was there; what is changed is read again.
func FuzzInstance(f *testing.F) {
	f.Add([]byte(spring), "crossfade.a", "b")
	f.Add([]byte(`{"payload":{"metadata":{"a":{},"a":null}}}`), "a", "")
	f.Add([]byte("{\"payload\":{\"metadata\":{\"\x90\":null}}}"), "\ufffd", "0")
	f.Fuzz(func(t *testing.T, data []byte, key, value string) {
		i, err := ParseInstance(data)
		if err != nil {
			return
		}
		same, err := i.Bytes()
		if err != nil || string(same) != string(data) {
			t.Fatalf("%v: %q became %q", err, data, same)
		}
		if !utf8.ValidString(key) || !i.Mark(map[string]string{key: value}, 0.5, true) {
			return
		}
		marked, err := i.Bytes()
		if err != nil {
			return // too long
		}
		back, err := ParseInstance(marked)
		if err != nil {
			t.Fatalf("%v: %q", err, marked)
		}
		if back.Name != i.Name || back.Address != i.Address || back.Port != i.Port || len(back.Metadata) != len(i.Metadata) {
			t.Errorf("%+v became %+v", i, back)
		}
	})
}

// FuzzProvider likewise.
func FuzzProvider(f *testing.F) {
	f.Add(node, "crossfade.a", "b")
	f.Add("a%3A%2F%2F%5B%3A%3A1%5D%3A1%2Fa%3F%26%3D%26interface%3D%26a%3D%25zz", "a", "%")
	f.Fuzz(func(t *testing.T, node, key, value string) {
		p, err := ParseProvider(node)
		if err != nil {
			return
		}
		if p.Node() != node {
			t.Fatalf("%q became %q", node, p.Node())
		}
		if key == "interface" || key == "weight" || key == "crossfade.weight" {
			return
		}
		p.Mark(map[string]string{key: value}, 0.5, false)
		back, err := ParseProvider(p.Node())
		if err != nil {
			t.Fatalf("%v: %q", err, p.Node())
		}
		if got, _ := back.Get(key); got != value || back.Host != p.Host || back.Port != p.Port || back.Interface != p.Interface {
			t.Errorf("%+v became %+v", p, back)
		}
	})
}
