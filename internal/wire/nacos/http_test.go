package nacos

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseHTTP(t *testing.T) {
	usual := NewInstance()
	usual.IP, usual.Port = "10.0.0.1", 8080
	full := usual
	full.Weight, full.Enabled, full.Healthy, full.Ephemeral, full.Cluster, full.Metadata = 0.5, false, false, false, "sh", map[string]string{"version": "v1"}
	beat := usual
	beat.Weight, beat.Cluster, beat.Metadata = 2, "sh", map[string]string{"a": "b"}
	reviews := Service{DefaultNamespace, DefaultGroup, "reviews"}
	for call, want := range map[string]HTTPCall{
		"POST /nacos/v1/ns/instance?serviceName=reviews&ip=10.0.0.1&port=8080": {API: V1, Op: Register, Service: reviews, Instance: usual},
		"POST /nacos/v1/ns/instance?serviceName=G@@reviews&groupName=DEFAULT_GROUP&namespaceId=n&ip=10.0.0.1&port=8080&weight=0.5&enable=false&healthy=FALSE&ephemeral=false&clusterName=sh&metadata=%7B%22version%22:%22v1%22%7D": {API: V1, Op: Register, Service: Service{"n", "G", "reviews"}, Instance: full},
		"POST /v2/ns/instance/?serviceName=reviews&ip=10.0.0.1&port=8080&weight=0.5&enabled=false&healthy=false&ephemeral=false&cluster=sh&metadata=version=v1":                                                                    {API: V2, Op: Register, Service: reviews, Instance: full},
		"DELETE /nacos/v2/ns/instance?serviceName=reviews&ip=10.0.0.1&port=8080": {API: V2, Op: Deregister, Service: reviews, Instance: usual},
		"PUT /nacos/v1/ns/instance/beat?serviceName=reviews&beat=%7B%22ip%22:%2210.0.0.1%22,%22port%22:%228080%22,%22weight%22:2,%22cluster%22:%22sh%22,%22metadata%22:%7B%22a%22:%22b%22%7D%7D": {API: V1, Op: Beat, Service: reviews, Instance: beat},
		"PUT /nacos/v1/ns/instance/beat?beat=%7B%22ip%22:%2210.0.0.1%22,%22port%22:8080,%22serviceName%22:%22DEFAULT_GROUP@@reviews%22%7D":                                                       {API: V1, Op: Beat, Service: reviews, Instance: usual},
		"PUT /nacos/v1/ns/instance/beat?serviceName=reviews&ip=10.0.0.1&port=8080":                                                                                                               {API: V1, Op: Beat, Service: reviews, Instance: usual, Light: true},
		"POST /nacos/v3/client/ns/instance?serviceName=reviews&ip=10.0.0.1&port=8080&heartBeat=true":                                                                                             {API: V3, Op: Beat, Service: reviews, Instance: usual, Light: true},
		"POST /nacos/v3/client/ns/instance?serviceName=reviews&ip=10.0.0.1&port=8080&heartBeat=false":                                                                                            {API: V3, Op: Register, Service: reviews, Instance: usual},
		"PUT /nacos/v3/admin/ns/instance?serviceName=reviews&ip=10.0.0.1&port=8080":                                                                                                              {API: V3, Op: Update, Service: reviews, Instance: usual},
		"PUT /nacos/v3/admin/ns/instance/partial?serviceName=reviews&ip=10.0.0.1&port=8080":                                                                                                      {API: V3, Op: Patch, Service: reviews, Instance: usual},
		"PATCH /nacos/v1/ns/instance?serviceName=reviews&ip=10.0.0.1&port=8080":                                                                                                                  {API: V1, Op: Patch, Service: reviews, Instance: usual},
		"GET /nacos/v1/ns/instance/list?serviceName=reviews":                                                                                                                                     {API: V1, Op: List, Service: reviews, Instance: NewInstance()},
		"POST /nacos/v1/auth/users/login":    {API: V1, Op: Login, Instance: NewInstance()},
		"POST /nacos/v3/auth/user/login":     {API: V3, Op: Login, Instance: NewInstance()},
		"GET /nacos/v1/ns/operator/servers":  {API: V1, Op: Servers, Instance: NewInstance()},
		"GET /nacos/v1/ns/instance?ip=x":     {API: V1, Op: Other, Instance: NewInstance()},
		"POST /nacos/v1/cs/configs?dataId=x": {Op: Other, Instance: NewInstance()},
	} {
		method, target, _ := strings.Cut(call, " ")
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		want.Values = u.Query()
		got, err := ParseHTTP(method, u.Path, u.Query())
		if err != nil {
			t.Errorf("%s: %v", call, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +read):\n%s", call, diff)
		}
	}
}

func TestWhatHTTPCannotSay(t *testing.T) {
	for query, want := range map[string]string{
		"ip=10.0.0.1&port=80":                                      "serviceName is missing",
		"serviceName=x&port=80":                                    "ip or port is missing",
		"serviceName=x&ip=10.0.0.1&port=http":                      "port: want",
		"serviceName=x&ip=10.0.0.1&port=80&weight=NaN":             "weight",
		"serviceName=x&ip=10.0.0.1&port=80&weight=-1":              "weight",
		"serviceName=x&ip=10.0.0.1&port=80&enabled=no":             "enabled",
		"serviceName=x&ip=10.0.0.1&port=80&metadata={":             "metadata",
		"serviceName=x&ip=10.0.0.1&port=80&metadata=" + "a=1,oops": "metadata",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseHTTP(http.MethodPost, "/nacos/v1/ns/instance", values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
}

// TestAFormIsReadAsItWasMeant in every version.
func TestAFormIsReadAsItWasMeant(t *testing.T) {
	in := Instance{IP: "10.0.0.1", Port: 8080, Weight: 0.25, Enabled: true, Healthy: true, Ephemeral: true, Cluster: "sh", Metadata: map[string]string{"a": "1,2=3", "b": "<é>"}}
	of := Service{"n", "G", "reviews"}
	for _, api := range []API{V1, V2, V3} {
		for _, op := range []Op{Register, Deregister, Update} {
			method, path := HTTPPath(api, op)
			got, err := ParseHTTP(method, "/nacos"+path, of.Form(in))
			if err != nil || got.Op != op || got.API != api || got.Service != of {
				t.Errorf("%v of v%d: %+v, %v", op, api, got, err)
			}
			if diff := cmp.Diff(in, got.Instance); diff != "" {
				t.Errorf("%v of v%d (-meant +read):\n%s", op, api, diff)
			}
		}
	}
	method, path := HTTPPath(V1, Beat)
	got, err := ParseHTTP(method, path, of.BeatForm(in))
	if err != nil || got.Key() != of.Key(in) || !got.Light {
		t.Errorf("a light beat is read as %+v, %v", got, err)
	}
}

func TestEditACall(t *testing.T) {
	change := Change{Metadata: map[string]string{"mark": "it"}, Weight: new(0.5), Enabled: new(false)}
	for query, want := range map[string]map[string]string{
		"serviceName=x&ip=10.0.0.1&port=80&enable=true&app=y":                           {"metadata": `{"mark":"it"}`, "weight": "0.5", "enabled": "false", "enable": "", "app": "y"},
		"serviceName=x&ip=10.0.0.1&port=80&metadata=%7B%22z%22:%201,%22a%22:%222%22%7D": {"metadata": `{"z":1,"a":"2","mark":"it"}`},
		"serviceName=x&ip=10.0.0.1&port=80&metadata=z=1,a=2":                            {"metadata": `{"a":"2","z":"1","mark":"it"}`},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseHTTP(http.MethodPost, "/v1/ns/instance", values)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Edit(change)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range want {
			if got.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", query, name, got.Get(name), value)
			}
		}
		if values.Encode() != c.Values.Encode() {
			t.Errorf("%s: what was parsed has changed", query)
		}
	}
	c, err := ParseHTTP(http.MethodPut, "/v1/ns/instance/beat", url.Values{"serviceName": {"x"}, "beat": {`{"ip":"10.0.0.1","port":80,"period":5000,"weight":1}`}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Edit(change)
	if want := `{"ip":"10.0.0.1","port":80,"period":5000,"weight":0.5,"metadata":{"mark":"it"}}`; err != nil || got.Get("beat") != want {
		t.Errorf("the beat became %s, %v; want %s", got.Get("beat"), err, want)
	}
}

func FuzzParseHTTP(f *testing.F) {
	f.Add("POST", "/nacos/v1/ns/instance", "serviceName=x&ip=10.0.0.1&port=80&metadata={}")
	f.Add("PUT", "/nacos/v1/ns/instance/beat", "serviceName=x&beat=%7B%22ip%22:%2210.0.0.1%22,%22port%22:80%7D")
	f.Add("POST", "/nacos/v3/client/ns/instance", "heartBeat=true&serviceName=x&ip=10.0.0.1&port=80")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		c, err := ParseHTTP(method, path, values)
		if err != nil {
			return
		}
		edited, err := c.Edit(Change{Metadata: map[string]string{"mark": "it"}, Weight: new(0.5)})
		if err != nil {
			t.Fatalf("it is read, and not changed: %v", err)
		}
		if c.Op != Register && (c.Op != Beat || c.Light) {
			return
		}
		got, err := ParseHTTP(method, path, edited)
		if err != nil || got.Key() != c.Key() || got.Instance.Weight != 0.5 || got.Instance.Metadata["mark"] != "it" {
			t.Fatalf("%s became %s: %+v, %v", query, edited.Encode(), got, err)
		}
	})
}
