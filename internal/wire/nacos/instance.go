package nacos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// An Instance is one as Nacos has it.
type Instance struct {
	ID        string            `json:"instanceId,omitempty"`
	IP        string            `json:"ip"`
	Port      int               `json:"port"`
	Weight    float64           `json:"weight"` // 0 to 10,000; who has 0 is chosen by nobody
	Healthy   bool              `json:"healthy"`
	Enabled   bool              `json:"enabled"` // subscribers of Nacos's own do not hear of one that is not
	Ephemeral bool              `json:"ephemeral"`
	Cluster   string            `json:"clusterName,omitempty"`
	Service   string            `json:"serviceName,omitempty"` // in pushes with the group before it
	Metadata  map[string]string `json:"metadata,omitempty"`
}

// NewInstance returns one with what Nacos takes where nothing is said.
func NewInstance() Instance {
	return Instance{Weight: 1, Healthy: true, Enabled: true, Ephemeral: true}
}

// UnmarshalJSON reads one leniently. Names are those of Nacos, letter by letter; of two members with one name the last counts.
func (in *Instance) UnmarshalJSON(data []byte) error {
	*in = NewInstance()
	var id, ip, within, of text
	port, weight := number(0), number(in.Weight)
	healthy, enabled, ephemeral := flag(in.Healthy), flag(in.Enabled), flag(in.Ephemeral)
	var said metadata
	err := members(data, map[string]json.Unmarshaler{
		"instanceId": &id, "ip": &ip, "port": &port, "weight": &weight, "healthy": &healthy, "enabled": &enabled, "ephemeral": &ephemeral,
		"clusterName": &within, "serviceName": &of, "metadata": &said,
	})
	if err != nil {
		return err
	}
	in.ID, in.IP, in.Cluster, in.Service, in.Metadata = string(id), string(ip), string(within), string(of), said
	in.Weight, in.Healthy, in.Enabled, in.Ephemeral = float64(weight), bool(healthy), bool(enabled), bool(ephemeral)
	in.Port, err = port.port()
	return err
}

// members reads those members of an object that have these names; encoding/json by itself would take others for them,
// which Nacos does not.
func members(data []byte, into map[string]json.Unmarshaler) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for name, raw := range all {
		at := into[name]
		if at == nil {
			continue
		}
		if err := at.UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

var errPort = errors.New("port: want 0 to 65535")

// A number may stand in quotation marks; null is none.
type number float64

// UnmarshalJSON reads one leniently.
func (n *number) UnmarshalJSON(data []byte) error {
	s, is, err := scalar(data)
	if err != nil || !is {
		return err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%q is no number", s)
	}
	*n = number(f)
	return nil
}

func (n number) port() (int, error) {
	if n < 0 || n > math.MaxUint16 || n != number(math.Trunc(float64(n))) {
		return 0, errPort
	}
	return int(n), nil
}

// A flag may stand in quotation marks; null is none.
type flag bool

// UnmarshalJSON reads one leniently.
func (b *flag) UnmarshalJSON(data []byte) error {
	s, is, err := scalar(data)
	if err != nil || !is {
		return err
	}
	v, err := parseFlag(s)
	*b = flag(v)
	return err
}

// parseFlag reads a boolean as Nacos does, in any case.
func parseFlag(s string) (bool, error) {
	v, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return v, nil
}

// A text may be a number or a boolean; null is none.
type text string

// UnmarshalJSON reads one leniently.
func (t *text) UnmarshalJSON(data []byte) error {
	s, is, err := scalar(data)
	if err == nil && is {
		*t = text(s)
	}
	return err
}

// metadata has strings; other values are kept as the JSON they were. Null is none.
type metadata map[string]string

// UnmarshalJSON reads one leniently.
func (m *metadata) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if len(raw) == 0 {
		return nil
	}
	*m = make(metadata, len(raw))
	for key, value := range raw {
		s, is, err := scalar(value)
		if err != nil {
			s, is = string(value), true
		}
		if is {
			(*m)[key] = s
		}
	}
	return nil
}

var errScalar = errors.New("want a string, a number or a boolean")

// scalar returns what a JSON value says that is no object or array, and whether it is one at all: null and "" are not.
func scalar(data []byte) (string, bool, error) {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0 || data[0] == '{' || data[0] == '[':
		return "", false, errScalar
	case data[0] == '"':
		var s string
		err := json.Unmarshal(data, &s)
		return s, s != "", err
	case string(data) == "null":
		return "", false, nil
	}
	return string(data), true, nil
}
