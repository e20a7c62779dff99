package control

import (
	"encoding"
	"reflect"
	"testing"

	"crossfade.dev/internal/fleet"
)

// Whatever becomes different in an endpoint, an instance, a member, a pool or a service, a new snapshot tells of it.
// A field that somebody adds is seen here, too.
func TestSameSeesEveryField(t *testing.T) {
	snapshot := func() *fleet.Snapshot {
		return &fleet.Snapshot{
			Services: []fleet.Service{{
				Endpoints: []fleet.Endpoint{{}},
				Pools:     []fleet.Pool{{Members: []fleet.Member{{}}}},
			}},
			Instances: []fleet.Instance{{}},
		}
	}
	silent := map[string]bool{"Endpoint.Age": true, "Snapshot.Number": true, "Snapshot.Events": true}
	for name, part := range map[string]func(*fleet.Snapshot) reflect.Value{
		"Snapshot": func(s *fleet.Snapshot) reflect.Value { return reflect.ValueOf(s).Elem() },
		"Service":  func(s *fleet.Snapshot) reflect.Value { return reflect.ValueOf(&s.Services[0]).Elem() },
		"Pool":     func(s *fleet.Snapshot) reflect.Value { return reflect.ValueOf(&s.Services[0].Pools[0]).Elem() },
		"Member": func(s *fleet.Snapshot) reflect.Value {
			return reflect.ValueOf(&s.Services[0].Pools[0].Members[0]).Elem()
		},
		"Endpoint": func(s *fleet.Snapshot) reflect.Value { return reflect.ValueOf(&s.Services[0].Endpoints[0]).Elem() },
		"Instance": func(s *fleet.Snapshot) reflect.Value { return reflect.ValueOf(&s.Instances[0]).Elem() },
	} {
		for i := range part(snapshot()).NumField() {
			field := name + "." + part(snapshot()).Type().Field(i).Name
			changed := snapshot()
			alter(t, field, part(changed).Field(i))
			if got, want := same(snapshot(), changed), silent[field]; got != want {
				t.Errorf("%s differs: same = %v, want %v", field, got, want)
			}
		}
	}
}

// alter gives a value another one.
func alter(t *testing.T, field string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.New(v.Type().Elem()).Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem())
	case reflect.Struct:
		if address, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
			text := "127.0.0.1"
			if v.Type().Name() == "AddrPort" {
				text += ":80"
			}
			if err := address.UnmarshalText([]byte(text)); err != nil {
				t.Fatal(err)
			}
			return
		}
		alter(t, field, v.Field(0))
	default:
		t.Fatalf("%s is a %v: say here how to change one", field, v.Kind())
	}
}
