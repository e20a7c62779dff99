package nacos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Types of requests and responses, as Payload.Type has them. Those of others pass, whatever they are.
const (
	TypeServerCheck     = "ServerCheckRequest"
	TypeConnectionSetup = "ConnectionSetupRequest"
	TypeSetupAck        = "SetupAckRequest"
	TypeHealthCheck     = "HealthCheckRequest"
	TypeClientDetection = "ClientDetectionRequest"
	TypeConnectReset    = "ConnectResetRequest"

	TypeInstance           = "InstanceRequest"
	TypeBatchInstance      = "BatchInstanceRequest"
	TypePersistentInstance = "PersistentInstanceRequest"
	TypeSubscribe          = "SubscribeServiceRequest"
	TypeServiceQuery       = "ServiceQueryRequest"
	TypeServiceList        = "ServiceListRequest"
	TypeNotifySubscriber   = "NotifySubscriberRequest"

	TypeInstanceResponse      = "InstanceResponse"
	TypeBatchInstanceResponse = "BatchInstanceResponse"
	TypeErrorResponse         = "ErrorResponse"
)

// What a request of an instance asks for, as its own field type has it.
const (
	RegisterInstance        = "registerInstance"
	DeregisterInstance      = "deregisterInstance"
	BatchRegisterInstance   = "batchRegisterInstance"
	BatchDeregisterInstance = "batchDeregisterInstance"
)

// Codes of responses.
const (
	Success          = 200   // ResultCode
	Failed           = 500   // ResultCode
	CodeUnregistered = 301   // ErrorCode: this connection was never set up, or is forgotten
	CodeNoRight      = 403   // ErrorCode: a token is missing or out of date
	CodeParameter    = 400   // ErrorCode
	CodeTooMany      = 503   // ErrorCode: over a limit
	CodeNotFound     = 20404 // of a beat: the instance is not known
	CodeBeat         = 10200 // of a beat: it is
	CodeNoInstance   = 21003 // of a beat over HTTP v3: register again
)

// A Request is a body of InstanceRequest, BatchInstanceRequest or PersistentInstanceRequest, or of those that ask for a
// service. Of what is not there nothing is sent.
type Request struct {
	RequestID string            `json:"requestId,omitempty"`
	Module    string            `json:"module,omitempty"` // "naming"; "internal" of those that concern the connection
	Headers   map[string]string `json:"headers,omitempty"`
	Namespace string            `json:"namespace,omitempty"`
	Service   string            `json:"serviceName,omitempty"`
	Group     string            `json:"groupName,omitempty"`

	Type      string     `json:"type,omitempty"`
	Instance  *Instance  `json:"instance,omitempty"`
	Instances []Instance `json:"instances,omitempty"`

	Cluster     string `json:"cluster,omitempty"`     // of a query
	Clusters    string `json:"clusters,omitempty"`    // of a subscription, with commas
	HealthyOnly bool   `json:"healthyOnly,omitempty"` // of a query
	Subscribe   bool   `json:"subscribe,omitempty"`
	PageNo      int    `json:"pageNo,omitempty"` // from 1
	PageSize    int    `json:"pageSize,omitempty"`
}

// ParseRequest reads a body that is about instances or a service: names are those of Nacos, letter by letter.
func ParseRequest(body []byte) (Request, error) {
	var r Request
	var id, module, namespace, of, group, kind, one, several text
	var healthy, subscribe flag
	var instance, instances raw
	err := members(body, map[string]json.Unmarshaler{
		"requestId": &id, "module": &module, "namespace": &namespace, "serviceName": &of, "groupName": &group, "type": &kind,
		"cluster": &one, "clusters": &several, "healthyOnly": &healthy, "subscribe": &subscribe, "instance": &instance, "instances": &instances,
	})
	if err != nil {
		return r, err
	}
	r = Request{
		RequestID: string(id), Module: string(module), Namespace: string(namespace), Service: string(of), Group: string(group), Type: string(kind),
		Cluster: string(one), Clusters: string(several), HealthyOnly: bool(healthy), Subscribe: bool(subscribe),
	}
	return r, errors.Join(instance.into("instance", &r.Instance), instances.into("instances", &r.Instances))
}

// raw is a member that is read later.
type raw json.RawMessage

// UnmarshalJSON keeps the bytes.
func (r *raw) UnmarshalJSON(data []byte) error {
	*r = data
	return nil
}

// into reads the member, if it is there.
func (r raw) into(name string, v any) error {
	if len(r) == 0 {
		return nil
	}
	if err := json.Unmarshal(r, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Of returns the service that a request is about.
func (r Request) Of() Service { return NewService(r.Namespace, r.Group, r.Service) }

// All returns the instances of a request: of a batch all of them.
func (r Request) All() []Instance {
	if r.Instance != nil {
		return append([]Instance{*r.Instance}, r.Instances...)
	}
	return r.Instances
}

// A Setup is the body of ConnectionSetupRequest.
type Setup struct {
	RequestID     string            `json:"requestId,omitempty"`
	Module        string            `json:"module"`
	ClientVersion string            `json:"clientVersion"`
	Tenant        string            `json:"tenant"` // the namespace
	Labels        map[string]string `json:"labels"`
	Abilities     map[string]bool   `json:"abilityTable,omitempty"`
}

// A Push is the body of what a server sends on the stream: NotifySubscriberRequest and those that concern the connection.
// Every one with a RequestID is answered on the stream, by Ack.
type Push struct {
	RequestID  string       `json:"requestId,omitempty"`
	Module     string       `json:"module,omitempty"`
	Namespace  string       `json:"namespace,omitempty"`
	Service    string       `json:"serviceName,omitempty"`
	Group      string       `json:"groupName,omitempty"`
	Info       *ServiceInfo `json:"serviceInfo,omitempty"`
	ServerIP   string       `json:"serverIp,omitempty"`   // ConnectResetRequest: where to go instead
	ServerPort string       `json:"serverPort,omitempty"` // likewise
}

// A ServiceInfo is a service with its instances, as queries, subscriptions, pushes and HTTP lists have it.
type ServiceInfo struct {
	Name     string     `json:"name"` // may have its group before it
	Group    string     `json:"groupName,omitempty"`
	Clusters string     `json:"clusters"`
	Cache    int64      `json:"cacheMillis"`
	Hosts    []Instance `json:"hosts"`
	LastRef  int64      `json:"lastRefTime"` // ms since 1970, by the server's clock: grows with every state
	Checksum string     `json:"checksum"`
	All      bool       `json:"allIPs"`
	Unread   []Unread   `json:"-"` // what stands among Hosts and cannot be read: that is nobody's fault but its own
}

// An Unread is an instance that cannot be read.
type Unread struct {
	At  string // its address, as far as it says
	Err error
}

type plainInfo ServiceInfo

// UnmarshalJSON reads a service with all of its instances that can be read.
func (s *ServiceInfo) UnmarshalJSON(data []byte) error {
	w := struct {
		*plainInfo
		Hosts json.RawMessage `json:"hosts"`
	}{plainInfo: (*plainInfo)(s)}
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	var err error
	s.Hosts, s.Unread, err = ParseHosts(w.Hosts)
	return err
}

// ParseHosts reads an array of instances, as far as they can be read. Nothing, or null, is an empty one.
func ParseHosts(data []byte) ([]Instance, []Unread, error) {
	var all []json.RawMessage
	if len(data) == 0 {
		return nil, nil, nil
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, nil, err
	}
	hosts, unread := make([]Instance, 0, len(all)), []Unread(nil)
	for n, one := range all {
		var in Instance
		err := json.Unmarshal(one, &in)
		if err == nil {
			hosts = append(hosts, in)
			continue
		}
		var ip, port text
		at := "number " + strconv.Itoa(n)
		if members(one, map[string]json.Unmarshaler{"ip": &ip, "port": &port}) == nil && ip != "" {
			at = net.JoinHostPort(string(ip), string(port))
		}
		unread = append(unread, Unread{At: at, Err: err})
	}
	return hosts, unread, nil
}

// A Response is what any request is answered with.
type Response struct {
	ResultCode   int          `json:"resultCode"`
	ErrorCode    int          `json:"errorCode"`
	Message      string       `json:"message,omitempty"`
	RequestID    string       `json:"requestId,omitempty"`
	Type         string       `json:"type,omitempty"`         // of a request about an instance, the same
	ConnectionID string       `json:"connectionId,omitempty"` // of ServerCheckRequest
	Info         *ServiceInfo `json:"serviceInfo,omitempty"`
	Count        int          `json:"count,omitempty"` // of ServiceListRequest: in all pages
	Services     []string     `json:"serviceNames,omitempty"`
}

// responseJSON has what is written of a response besides.
type responseJSON struct {
	plainResponse
	Success bool `json:"success"`
}

type plainResponse Response

// MarshalJSON writes "success" too, which Java has.
func (r Response) MarshalJSON() ([]byte, error) {
	return json.Marshal(responseJSON{plainResponse(r), r.ResultCode == Success})
}

// An Error is a response that says no.
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("Nacos says %d: %s", e.Code, e.Message) }

// ParseResponse reads the response of a frame. One that says no is an *Error beside it.
func ParseResponse(f Frame) (Response, error) {
	var r Response
	p, err := f.Payload()
	if err == nil {
		err = json.Unmarshal(p.Body, &r)
	}
	if err == nil && r.ResultCode != Success {
		err = &Error{Code: r.ErrorCode, Message: r.Message}
	}
	return r, err
}

// Ack returns the answer to a push of a type: ClientDetectionRequest is answered by ClientDetectionResponse.
func Ack(kind, requestID string) (Frame, error) {
	name := kind
	if base, ok := cutRequest(kind); ok {
		name = base + "Response"
	}
	return NewFrame(name, nil, Response{ResultCode: Success, RequestID: requestID})
}

func cutRequest(kind string) (string, bool) {
	const suffix = "Request"
	if len(kind) < len(suffix) || kind[len(kind)-len(suffix):] != suffix {
		return kind, false
	}
	return kind[:len(kind)-len(suffix)], true
}

// Accepted is the answer to a request about instances, as if it had been done.
func Accepted(kind string, r Request) (Frame, error) {
	name := TypeInstanceResponse
	if kind == TypeBatchInstance {
		name = TypeBatchInstanceResponse
	}
	return NewFrame(name, nil, Response{ResultCode: Success, RequestID: r.RequestID, Type: r.Type})
}

// Refused is the answer to a request that is not done.
func Refused(requestID string, code int, message string) (Frame, error) {
	return NewFrame(TypeErrorResponse, nil, Response{ResultCode: Failed, ErrorCode: code, Message: message, RequestID: requestID})
}

// NewFrame returns a frame of a type with a body that is made of v. An error says that v cannot be JSON.
func NewFrame(kind string, headers map[string]string, v any) (Frame, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return Payload{Type: kind, Headers: headers, Body: body}.Frame(), nil
}
