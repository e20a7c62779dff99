package nacos

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"crossfade.dev/internal/wire/object"
)

// An API is a version of Nacos's HTTP.
type API uint8

// The versions. A server of Nacos 2 has the first two, one of Nacos 3 the last two, and the first where that is switched on.
const (
	V1 API = iota + 1
	V2
	V3
)

// An Op is what a call over HTTP asks for.
type Op uint8

// What concerns instances. Everything else is Other.
const (
	Other      Op = iota
	Register      // whoever is registered must send beats
	Deregister    // of an instance
	Beat          // one with a body registers an instance that is not known: see HTTPCall.Light
	Update        // an operator's: it goes over what an application registers
	Patch         // likewise, of some of it
	List          // the instances of a service
	Login
	Servers // asks where the servers are: the answer leads around a proxy
)

func (o Op) String() string {
	return [...]string{"other", "register", "deregister", "beat", "update", "patch", "list", "login", "servers"}[o]
}

// An HTTPCall is a call over HTTP that concerns instances.
type HTTPCall struct {
	API      API
	Op       Op
	Service  Service
	Instance Instance // of a light beat only its address, and of List nothing
	Light    bool     // a beat without a body: it registers nobody
	Values   url.Values
}

// Key returns the key of the instance that a call is about.
func (c HTTPCall) Key() Key { return c.Service.Key(c.Instance) }

// Classify says what a method and a path ask for, whatever the path of Nacos itself is ("/nacos").
func Classify(method, path string) (API, Op) {
	path = strings.TrimRight(path, "/")
	for version, prefixes := range [...][]string{V1: {"/v1/ns/"}, V2: {"/v2/ns/"}, V3: {"/v3/client/ns/", "/v3/admin/ns/"}} {
		for _, prefix := range prefixes {
			if i := strings.LastIndex(path, prefix); i >= 0 {
				return API(version), classify(method, path[i+len(prefix):]) //nolint:gosec // 1 to 3
			}
		}
	}
	for version, prefix := range [...]string{V1: "/v1/auth/", V2: "/v2/auth/", V3: "/v3/auth/"} {
		if prefix != "" && strings.Contains(path, prefix) && strings.HasSuffix(path, "/login") {
			return API(version), Login //nolint:gosec // 1 to 3
		}
	}
	return 0, Other
}

func classify(method, resource string) Op {
	switch resource {
	case "instance":
		switch method {
		case http.MethodPost:
			return Register
		case http.MethodDelete:
			return Deregister
		case http.MethodPut:
			return Update
		case http.MethodPatch:
			return Patch
		}
	case "instance/beat":
		if method == http.MethodPut {
			return Beat
		}
	case "instance/partial":
		if method == http.MethodPut {
			return Patch
		}
	case "instance/list":
		if method == http.MethodGet {
			return List
		}
	case "operator/servers", "operator/cluster/states":
		return Servers
	}
	return Other
}

var (
	errNoService = errors.New("serviceName is missing")
	errNoAddress = errors.New("ip or port is missing")
)

// ParseHTTP reads a call. Values are those of the query and of a form in the body, together. An error says what of a call that
// concerns an instance cannot be used; everything else is Other, Login or Servers, without one.
func ParseHTTP(method, path string, values url.Values) (HTTPCall, error) {
	c := HTTPCall{Values: values, Instance: NewInstance()}
	c.API, c.Op = Classify(method, path)
	if c.Op == Other || c.Op == Login || c.Op == Servers {
		return c, nil
	}
	if beat, _ := parseFlag(values.Get("heartBeat")); beat && c.Op == Register && c.API == V3 {
		c.Op, c.Light = Beat, true
	}
	if err := readCall(&c); err != nil {
		return c, fmt.Errorf("%s over HTTP v%d: %w", c.Op, c.API, err)
	}
	return c, nil
}

// readCall reads the values of a call.
func readCall(c *HTTPCall) error {
	v, name := c.Values, c.Values.Get("serviceName")
	if body := v.Get("beat"); c.Op == Beat && body != "" {
		of, err := c.Instance.beat(body)
		if err != nil {
			return fmt.Errorf("beat: %w", err)
		}
		name = or(name, of)
	} else if c.Op == Beat {
		c.Light = true
	}
	if name == "" {
		return errNoService
	}
	c.Service = NewService(v.Get("namespaceId"), v.Get("groupName"), name)
	if c.Op == List {
		return nil
	}
	if err := c.Instance.form(v); err != nil {
		return err
	}
	if c.Instance.IP == "" || c.Instance.Port == 0 {
		return errNoAddress
	}
	return nil
}

// beat reads the body of a beat, and returns the service that it names.
func (in *Instance) beat(body string) (string, error) {
	weight := number(in.Weight)
	var ip, within, of text
	var port number
	var said metadata
	if err := members([]byte(body), map[string]json.Unmarshaler{
		"ip": &ip, "port": &port, "weight": &weight, "cluster": &within, "serviceName": &of, "metadata": &said,
	}); err != nil {
		return "", err
	}
	in.IP, in.Weight, in.Cluster, in.Metadata = string(ip), float64(weight), string(within), said
	var err error
	in.Port, err = port.port()
	return string(of), err
}

// form reads the fields of an instance. What is not there stays.
func (in *Instance) form(v url.Values) error {
	in.IP = or(v.Get("ip"), in.IP)
	in.Cluster = or(or(v.Get("clusterName"), v.Get("cluster")), in.Cluster)
	if s := v.Get("port"); s != "" {
		port, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return errPort
		}
		in.Port = int(port)
	}
	if s := v.Get("weight"); s != "" {
		weight, err := strconv.ParseFloat(s, 64)
		if err != nil || !(weight >= 0) {
			return fmt.Errorf("weight %q: want a number, 0 at least", s)
		}
		in.Weight = weight
	}
	for name, at := range map[string]*bool{"enabled": &in.Enabled, "enable": &in.Enabled, "healthy": &in.Healthy, "ephemeral": &in.Ephemeral} {
		if s := v.Get(name); s != "" {
			var err error
			if *at, err = parseFlag(s); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if s := v.Get("metadata"); s != "" {
		var err error
		if in.Metadata, err = parseMetadata(s); err != nil {
			return fmt.Errorf("metadata: %w", err)
		}
	}
	return nil
}

// parseMetadata reads metadata as a form has it: an object of JSON, or "a=1,b=2".
func parseMetadata(s string) (map[string]string, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var m metadata
	err := json.Unmarshal([]byte(s), &m)
	if err == nil {
		return m, nil
	}
	if strings.HasPrefix(strings.TrimSpace(s), "{") {
		return nil, err
	}
	m = metadata{}
	for pair := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is neither JSON nor NAME=VALUE", pair)
		}
		m[key] = value
	}
	return m, nil
}

// Form returns the values by which an instance is registered, in any version. Times and the like are in its metadata.
func (s Service) Form(in Instance) url.Values {
	v := url.Values{
		"namespaceId": {s.Namespace}, "groupName": {s.Group}, "serviceName": {s.Name}, "ip": {in.IP}, "port": {strconv.Itoa(in.Port)},
		"clusterName": {or(in.Cluster, DefaultCluster)}, "weight": {formatWeight(in.Weight)}, "enabled": {strconv.FormatBool(in.Enabled)},
		"healthy": {strconv.FormatBool(in.Healthy)}, "ephemeral": {strconv.FormatBool(in.Ephemeral)},
	}
	if len(in.Metadata) > 0 {
		v.Set("metadata", string(object.Object{}.WithStrings(in.Metadata).Bytes()))
	}
	return v
}

// BeatForm returns the values of a beat without a body, which registers nobody.
func (s Service) BeatForm(in Instance) url.Values {
	return url.Values{
		"namespaceId": {s.Namespace}, "groupName": {s.Group}, "serviceName": {s.Grouped()}, "ip": {in.IP}, "port": {strconv.Itoa(in.Port)},
		"clusterName": {or(in.Cluster, DefaultCluster)}, "ephemeral": {"true"},
	}
}

// Edit returns the values of a call with a change of its instance. All others stay, also what is not known here. Of a beat it
// is the body that changes; a light one has nothing to change.
func (c HTTPCall) Edit(change Change) (url.Values, error) {
	v := maps.Clone(c.Values)
	about := c.Op == Register || c.Op == Beat || c.Op == Deregister || c.Op == Update || c.Op == Patch
	if !about || c.Light || change.none() {
		return v, nil
	}
	if body := v.Get("beat"); c.Op == Beat && body != "" {
		change.Enabled = nil // a beat has no such thing
		raw, err := edit(json.RawMessage(body), change)
		if err != nil {
			return nil, fmt.Errorf("beat: %w", err)
		}
		v.Set("beat", string(raw))
		return v, nil
	}
	if change.Weight != nil {
		v.Set("weight", formatWeight(*change.Weight))
	}
	if change.Enabled != nil {
		v.Del("enable")
		v.Set("enabled", strconv.FormatBool(*change.Enabled))
	}
	if len(change.Metadata) > 0 {
		m, err := metadataObject(v.Get("metadata"))
		if err != nil {
			return nil, fmt.Errorf("metadata: %w", err)
		}
		v.Set("metadata", string(m.WithStrings(change.Metadata).Bytes()))
	}
	return v, nil
}

// metadataObject reads metadata of a form, in its order where it has one.
func metadataObject(s string) (object.Object, error) {
	if strings.HasPrefix(strings.TrimSpace(s), "{") {
		return object.Parse([]byte(s))
	}
	plain, err := parseMetadata(s)
	return object.Object{}.WithStrings(plain), err
}

// Accepted is what a call is answered with, as if it had been done: the type of the content, and that.
func (c HTTPCall) Accepted() (contentType, body string) {
	const asJSON = "application/json;charset=UTF-8"
	switch {
	case c.Op == Beat && c.API != V3:
		return asJSON, `{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}`
	case c.API == V1 || c.API == V2 && c.Op == Patch:
		return "text/plain;charset=UTF-8", "ok"
	}
	return asJSON, `{"code":0,"message":"success","data":"ok"}`
}

// Refused is what a call is answered with that is not done.
func (c HTTPCall) Refused(status int, why string) (contentType, body string) {
	if c.API == V1 || c.API == 0 {
		return "text/plain;charset=UTF-8", why
	}
	return "application/json;charset=UTF-8", fmt.Sprintf(`{"code":%d,"message":%s,"data":null}`, status, object.Quote(why))
}

// HTTPPath returns the path, below that of Nacos itself, and the method of an operation of a version; "" is none.
func HTTPPath(api API, op Op) (method, path string) {
	base := map[API]string{V1: "/v1/ns/instance", V2: "/v2/ns/instance", V3: "/v3/client/ns/instance"}[api]
	switch op {
	case Register:
		return http.MethodPost, base
	case Deregister:
		return http.MethodDelete, base
	case Update:
		if api == V3 {
			base = "/v3/admin/ns/instance"
		}
		return http.MethodPut, base
	case Beat:
		if api == V3 {
			return http.MethodPost, base // with heartBeat=true
		}
		return http.MethodPut, base + "/beat"
	case List:
		return http.MethodGet, base + "/list"
	case Login:
		if api == V3 {
			return http.MethodPost, "/v3/auth/user/login"
		}
		return http.MethodPost, "/v1/auth/users/login"
	case Other, Patch, Servers:
	}
	return "", ""
}
