package nacos

import (
	"encoding/json"
	"net/http"
	"strings"

	wire "crossfade.dev/internal/wire/nacos"
)

// A reply is what an answer over HTTP may say of itself: v1 has it for beats only, v2 and v3 for all.
type reply struct {
	Code  int             `json:"code"`
	Data  json.RawMessage `json:"data"`
	Hosts []wire.Instance `json:"hosts"`
}

// refusal returns what an answer says that says no, or nil.
func refusal(a said) error {
	text := strings.TrimSpace(string(a.body))
	if a.status != http.StatusOK {
		return &wire.Error{Code: a.status, Message: text}
	}
	if r := code(a); r != 0 && r != http.StatusOK && r != wire.CodeBeat {
		return &wire.Error{Code: r, Message: text}
	}
	return nil
}

// forgotten says whether the answer to a beat is that its instance is not known.
func forgotten(a said) bool {
	c := code(a)
	return c == wire.CodeNotFound || c == wire.CodeNoInstance
}

// code is what an answer says, if it is JSON and has one.
func code(a said) int {
	var r reply
	if json.Unmarshal(a.body, &r) != nil {
		return 0 // "ok"
	}
	return r.Code
}

// unknown is the answer to a beat whose instance is not known: the application registers it again.
func unknown(c wire.HTTPCall) said {
	body := `{"clientBeatInterval":5000,"code":20404,"lightBeatEnabled":true}`
	if c.API == wire.V3 {
		body = `{"code":21003,"message":"instance not found","data":null}`
	}
	return said{http.StatusOK, http.Header{"Content-Type": {"application/json;charset=UTF-8"}}, []byte(body)}
}

// hosts reads the instances of an answer to List: v1 has them at the top, v2 below data, v3 as data.
func hosts(body []byte) ([]wire.Instance, error) {
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	if r.Hosts != nil || len(r.Data) == 0 {
		return r.Hosts, nil
	}
	if r.Data[0] == '[' {
		err := json.Unmarshal(r.Data, &r.Hosts)
		return r.Hosts, err
	}
	var info wire.ServiceInfo
	err := json.Unmarshal(r.Data, &info)
	return info.Hosts, err
}
