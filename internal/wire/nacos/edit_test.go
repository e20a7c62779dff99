package nacos

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEditInstances(t *testing.T) {
	mark := Change{Metadata: map[string]string{"crossfade.incarnation": "a<1>", "version": "v2"}, Weight: new(0.25), Enabled: new(false)}
	for name, c := range map[string]struct{ body, want string }{
		"one, with what is not known, in its order": {
			`{"future":[1,2],"instance":{"port":8080,"weight":1.0,"x":{"y":null},"ip":"10.0.0.1","metadata":{"b":"1","version":"v1","a":"2"},"enabled":true},"namespace":"public"}`,
			`{"future":[1,2],"instance":{"port":8080,"weight":0.25,"x":{"y":null},"ip":"10.0.0.1","metadata":{"b":"1","version":"v2","a":"2","crossfade.incarnation":"a<1>"},"enabled":false},"namespace":"public"}`,
		},
		"without metadata": {
			`{"instance":{"ip":"10.0.0.1","port":8080,"metadata":null}}`,
			`{"instance":{"ip":"10.0.0.1","port":8080,"metadata":{"crossfade.incarnation":"a<1>","version":"v2"},"weight":0.25,"enabled":false}}`,
		},
		"none": {`{"type": "registerInstance", "instance": null}`, `{"type": "registerInstance", "instance": null}`},
	} {
		got, err := EditInstances([]byte(c.body), func(int, Instance) Change { return mark })
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, c.want)
		}
	}
}

func TestEditABatch(t *testing.T) {
	body := `{"instances":[{"ip":"10.0.0.1","port":1},{"ip":"10.0.0.2","port":2},{"ip":"10.0.0.3","port":"3"}],"n":1e3}`
	got, err := EditInstances([]byte(body), func(i int, in Instance) Change {
		if i+1 != in.Port {
			t.Errorf("%d is %+v", i, in)
		}
		if i == 1 {
			return Change{Weight: new(2.0)}
		}
		return Change{}
	})
	want := `{"instances":[{"ip":"10.0.0.1","port":1},{"ip":"10.0.0.2","port":2,"weight":2.0},{"ip":"10.0.0.3","port":"3"}],"n":1e3}`
	if err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}

// TestNothingIsChangedByNoChange, not even a space.
func TestNothingIsChangedByNoChange(t *testing.T) {
	body := []byte("{ \"instance\" :\t{\"ip\": \"10.0.0.1\", \"port\": 8080 } }")
	got, err := EditInstances(body, func(int, Instance) Change { return Change{} })
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%v: %s", err, got)
	}
}

func TestWhatCannotBeEdited(t *testing.T) {
	for _, body := range []string{
		``, `[]`, `{`, `{} {}`, `{"instance":[]}`, `{"instance":{"port":"x"}}`, `{"instance":{"port":70000}}`, `{"instances":{}}`, `{"instances":[3]}`,
		`{"instance":{"weight":"heavy"}}`, `{"instance":{"enabled":"perhaps"}}`,
	} {
		if got, err := EditInstances([]byte(body), func(int, Instance) Change { return Change{Weight: new(1.0)} }); err == nil {
			t.Errorf("%s was changed to %s", body, got)
		}
	}
}

// TestReadLeniently: clients in languages without types write what they like, and leave out what Nacos has a default for.
func TestReadLeniently(t *testing.T) {
	for body, want := range map[string]Instance{
		`{"ip":"10.0.0.1","port":8080}`: {IP: "10.0.0.1", Port: 8080, Weight: 1, Healthy: true, Enabled: true, Ephemeral: true},
		`{"ip":"10.0.0.1","port":"8080","weight":"0.5","enabled":"False","healthy":0,"ephemeral":null,"clusterName":7,"metadata":{"a":1,"b":true,"c":null,"d":{"e": 1},"f":"g"}}`: {
			IP: "10.0.0.1", Port: 8080, Weight: 0.5, Ephemeral: true, Cluster: "7", Metadata: map[string]string{"a": "1", "b": "true", "d": `{"e": 1}`, "f": "g"},
		},
	} {
		var got Instance
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +read):\n%s", body, diff)
		}
	}
}

func FuzzEditInstances(f *testing.F) {
	f.Add([]byte(`{"instance":{"ip":"10.0.0.1","port":8080,"metadata":{"a":"b"}},"x":1}`))
	f.Add([]byte(`{"instances":[{"ip":"10.0.0.1","port":"8080","weight":1},{}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		before, parseErr := ParseRequest(body)
		n := 0
		got, err := EditInstances(body, func(i int, in Instance) Change {
			n++
			return Change{Metadata: map[string]string{"mark": "it"}, Weight: new(0.5), Enabled: new(true)}
		})
		if err != nil || parseErr != nil {
			return
		}
		after, err := ParseRequest(got)
		if err != nil {
			t.Fatalf("%s became %s: %v", body, got, err)
		}
		if len(after.All()) != n && n > 0 {
			t.Fatalf("%d instances were changed, and there are %d", n, len(after.All()))
		}
		if n == 0 && !bytes.Equal(got, body) {
			t.Fatalf("%s became %s", body, got)
		}
		for i, in := range after.All() {
			was := before.All()[i]
			if was.Metadata == nil {
				was.Metadata = map[string]string{}
			}
			was.Metadata["mark"], was.Weight, was.Enabled = "it", 0.5, true
			if diff := cmp.Diff(was, in); diff != "" {
				t.Fatalf("%s (-want +changed):\n%s", body, diff)
			}
		}
	})
}

// TestOneBadInstance does not take the others with it.
func TestOneBadInstance(t *testing.T) {
	var info ServiceInfo
	err := json.Unmarshal([]byte(`{"name":"x","lastRefTime":7,"hosts":[{"ip":"10.0.0.1","port":80},{"ip":"10.0.0.2","port":99999},3,{"ip":"10.0.0.3","port":80}]}`), &info)
	if err != nil || info.Name != "x" || info.LastRef != 7 || len(info.Hosts) != 2 || info.Hosts[1].IP != "10.0.0.3" {
		t.Errorf("read %+v, %v", info, err)
	}
	if len(info.Unread) != 2 || info.Unread[0].At != "10.0.0.2:99999" || info.Unread[1].At != "number 2" || info.Unread[0].Err == nil {
		t.Errorf("unread %+v", info.Unread)
	}
	for _, body := range []string{`{}`, `{"hosts":null}`, `{"hosts":[]}`} {
		if err := json.Unmarshal([]byte(body), &info); err != nil || len(info.Hosts)+len(info.Unread) > 0 {
			t.Errorf("%s: %+v, %v", body, info, err)
		}
	}
}
