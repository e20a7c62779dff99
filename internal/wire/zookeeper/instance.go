package zookeeper

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/wire/object"
)

// Classes of what stands in the payload. Java readers make their objects by them.
const (
	SpringClass = "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance"
	DubboClass  = "org.apache.dubbo.registry.zookeeper.ZookeeperInstance"
)

const classKey = "@class"

// An Instance is a registration of Curator's: the data of ROOT/SERVICE/ID. Metadata may be written to: nil is a payload
// of another kind, that has no room for any.
type Instance struct {
	Name       string // of the service
	ID         string
	Address    string
	Port       uint32            // 0 is none
	SSLPort    uint32            // likewise
	Registered int64             // milliseconds since 1970; 0 is not said
	Class      string            // of the payload; "" is another kind, or none
	Metadata   map[string]string // in the payload
	Disabled   bool              // it says that it is not to be used

	document, payload, metadata object.Object
	was                         map[string]string // Metadata as it was read
	data                        []byte            // as it was read
}

// ParseInstance reads a registration. It fails when that is no JSON object in UTF-8, or has a port that is none; it need not have
// any of the others.
func ParseInstance(data []byte) (*Instance, error) {
	if err := checkSize(len(data)); err != nil {
		return nil, err
	}
	document, err := object.Parse(data)
	if err != nil {
		return nil, err
	}
	i := &Instance{document: document, data: bytes.Clone(data), Name: text(document, "name"), ID: text(document, "id"), Address: text(document, "address")}
	if i.Port, err = parsePort(text(document, "port")); err != nil {
		return nil, err
	}
	if i.SSLPort, err = parsePort(text(document, "sslPort")); err != nil {
		return nil, fmt.Errorf("sslPort: %w", err)
	}
	i.Disabled = text(document, "enabled") == "false"
	i.Registered, _ = strconv.ParseInt(text(document, "registrationTimeUTC"), 10, 64) // what cannot be read is not said
	if payload, err := object.Parse(document.Get("payload")); err == nil {
		i.payload, i.Class = payload, text(payload, classKey)
	}
	if metadata, err := object.Parse(i.payload.Get("metadata")); err == nil {
		i.metadata, i.Metadata = metadata, map[string]string{}
	} else if value := i.payload.Get("metadata"); i.known() && (value == nil || string(value) == "null") {
		i.metadata, i.Metadata = object.Object{}, map[string]string{}
	}
	for _, m := range i.metadata {
		i.Metadata[m.Name] = text(i.metadata, m.Name)
	}
	i.was = maps.Clone(i.Metadata)
	return i, nil
}

// known says that the payload's class is one that has metadata.
func (i *Instance) known() bool { return i.Class == SpringClass || i.Class == DubboClass }

// NewInstance returns a registration as Spring Cloud (SpringClass) or Dubbo (DubboClass) writes one.
func NewInstance(class, service, id, address string, port uint32, registered int64, metadata map[string]string) (*Instance, error) {
	type part struct {
		Value    string `json:"value"`
		Variable bool   `json:"variable"`
	}
	type payload struct {
		Class    string   `json:"@class"`
		ID       string   `json:"id"`
		Name     string   `json:"name"`
		Metadata struct{} `json:"metadata"`
	}
	document := struct {
		Name       string  `json:"name"`
		ID         string  `json:"id"`
		Address    string  `json:"address"`
		Port       uint32  `json:"port"`
		SSLPort    *uint32 `json:"sslPort"`
		Payload    payload `json:"payload"`
		Registered int64   `json:"registrationTimeUTC"`
		Type       string  `json:"serviceType"`
		URI        struct {
			Parts []part `json:"parts"`
		} `json:"uriSpec"`
	}{Name: service, ID: id, Address: address, Port: port, Payload: payload{Class: class, ID: id, Name: service}, Registered: registered, Type: "DYNAMIC"}
	document.URI.Parts = []part{{"scheme", true}, {"://", false}, {"address", true}, {":", false}, {"port", true}}
	data, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	i, err := ParseInstance(data)
	if err != nil {
		return nil, err
	}
	maps.Copy(i.Metadata, metadata)
	if class == SpringClass && i.Metadata[statusKey] == "" {
		i.Metadata[statusKey] = up
	}
	return i, nil
}

// Bytes returns the registration as it is written. Only Metadata is looked at: what is new in it comes behind what was
// there, by its name.
func (i *Instance) Bytes() ([]byte, error) {
	if maps.Equal(i.Metadata, i.was) {
		return bytes.Clone(i.data), nil
	}
	metadata := slices.DeleteFunc(slices.Clone(i.metadata), func(m object.Member) bool {
		_, there := i.Metadata[m.Name]
		return !there
	})
	for _, key := range slices.Sorted(maps.Keys(i.Metadata)) {
		if value, there := i.was[key]; there && value == i.Metadata[key] {
			continue // as it came, whatever it is
		}
		metadata = metadata.With(key, object.Quote(i.Metadata[key]))
	}
	payload, document := slices.Clone(i.payload), slices.Clone(i.document) // what is read stays
	payload = payload.With("metadata", metadata.Bytes())
	data := document.With("payload", payload.Bytes()).Bytes()
	return data, checkSize(len(data))
}

// Status says whether consumers that know Spring's status, or Curator's, take the instance.
func (i *Instance) Status() bool {
	status := i.Metadata[statusKey]
	return !i.Disabled && (status == "" || strings.EqualFold(status, up))
}

// SetStatus says to consumers whether to take the instance, where they have a word for it.
func (i *Instance) SetStatus(takes bool) {
	if _, has := i.Metadata[statusKey]; i.Metadata == nil || !has && i.Class != SpringClass {
		return
	}
	i.Metadata[statusKey] = out
	if takes {
		i.Metadata[statusKey] = up
	}
}

// Weight is what consumers divide requests by that look for a weight in metadata, as Spring's can, and whether it is said;
// 1 is usual.
func (i *Instance) Weight() (int64, bool) {
	weight, err := strconv.ParseInt(i.Metadata[weightKey], 10, 32)
	if err != nil || weight < 0 {
		return 1, false
	}
	return weight, true
}

// Mark adds metadata, multiplies the weight where the metadata has one, and says that the instance leaves where there is a
// word for it. It says whether the payload had room for that. Of a weight that the application says itself the full one is
// said, in place of that of metadata. A mark is put on what the application sent.
func (i *Instance) Mark(metadata map[string]string, share float64, leaving bool) bool {
	if i.Metadata == nil {
		return false
	}
	maps.Copy(i.Metadata, metadata)
	if weight, said := i.Weight(); said {
		if share > 0 && share < 1 {
			i.Metadata[weightKey] = strconv.FormatInt(scaled(weight, share), 10)
		}
		if metadata[fullWeightKey] != "" {
			i.Metadata[fullWeightKey] = strconv.FormatInt(weight, 10)
		}
	}
	if leaving {
		i.SetStatus(false)
	}
	return true
}

// text returns a member that is a string, or a number or a boolean as it is written; otherwise "".
func text(o object.Object, name string) string {
	value := o.Get(name)
	if len(value) == 0 {
		return ""
	}
	switch value[0] {
	case '"':
		var s string
		if json.Unmarshal(value, &s) != nil {
			return ""
		}
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(value)
}
