package config

import (
	"encoding/json"
	"fmt"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What stands here are crossfade's own kinds: how the instances of a service come up and leave.

const (
	ownVersion   = "crossfade.dev/v1alpha1"
	requestsKind = "WarmupRequests"
)

// A lifecycle is a Lifecycle, as people write it.
type lifecycle struct {
	meta.TypeMeta   `json:""`
	meta.ObjectMeta `json:"metadata"`
	Spec            lifecycleSpec `json:"spec,omitzero"`
	Status          any           `json:"status,omitzero"`
}

type lifecycleSpec struct {
	Service           string         `json:"service,omitzero"`
	Selector          *labelSelector `json:"selector,omitzero"`
	lifecycleSettings `json:""`
}

// A labelSelector is a selector by labels that must all be there.
type labelSelector struct {
	MatchLabels map[string]string `json:"matchLabels,omitzero"`
}

// lifecycleSettings are what a Lifecycle says of the instances that it is for, and an Agent of its own.
type lifecycleSettings struct {
	Enabled        *bool           `json:"enabled,omitzero"`
	Registration   registration    `json:"registration,omitzero"`
	Warmup         warmupSpec      `json:"warmup,omitzero"`
	WarmupRequests *warmupRequests `json:"warmupRequests,omitzero"`
	Readiness      readyWhen       `json:"readiness,omitzero"`
	Drain          drainSpec       `json:"drain,omitzero"`
	Front          frontSpec       `json:"front,omitzero"`
}

type registration struct {
	Delay  pause      `json:"delay,omitzero"`
	Weight weightName `json:"weight,omitzero"`
}

type warmupSpec struct {
	Duration       *pause    `json:"duration,omitzero"`
	Curve          curveName `json:"curve,omitzero"`
	Aggression     *float64  `json:"aggression,omitzero"`
	MinimumPercent *float64  `json:"minimumPercent,omitzero"`
	Mode           string    `json:"mode,omitzero"`
}

type warmupRequests struct {
	File        string          `json:"file,omitzero"`
	Requests    []warmupRequest `json:"requests,omitzero"`
	Record      *recordSpec     `json:"record,omitzero"`
	Count       *int32          `json:"count,omitzero"`
	Time        span            `json:"time,omitzero"`
	Concurrency *int32          `json:"concurrency,omitzero"`
	OnFailure   onFailure       `json:"onFailure,omitzero"`
}

type warmupRequest struct {
	Protocol   requestProtocol   `json:"protocol,omitzero"`
	Method     string            `json:"method,omitzero"`
	Path       string            `json:"path,omitzero"`
	Host       string            `json:"host,omitzero"`
	Headers    map[string]string `json:"headers,omitzero"`
	Body       *string           `json:"body,omitzero"`
	BodyBase64 []byte            `json:"bodyBase64,omitzero"`
	Port       *int32            `json:"port,omitzero"`
	Weight     *int32            `json:"weight,omitzero"`
}

type recordSpec struct {
	Paths []string `json:"paths,omitzero"`
	Keep  *int32   `json:"keep,omitzero"`
}

type drainSpec struct {
	Quiet   span `json:"quiet,omitzero"`
	Callers span `json:"callers,omitzero"`
	Timeout span `json:"timeout,omitzero"`
}

type frontSpec struct {
	Concurrency limits `json:"concurrency,omitzero"`
	MaxWait     span   `json:"maxWait,omitzero"`
}

type limits struct {
	Least *int32 `json:"least,omitzero"`
	Most  *int32 `json:"most,omitzero"`
}

// A shaped type says itself what a document may write for it.
type shaped interface{ shape() *shape }

// A span is a duration above zero; 0 is one that is not given.
type span time.Duration

func (span) shape() *shape { return &shape{is: durationShape, least: time.Millisecond} }

// UnmarshalJSON reads a span as the checker hands it on.
func (s *span) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("read a duration: %w", err)
	}
	*s = span(d)
	return nil
}

// A pause is a duration that may be zero, too.
type pause time.Duration

func (pause) shape() *shape {
	return &shape{is: durationShape, zero: "for none", least: time.Millisecond}
}

// UnmarshalJSON reads a pause as the checker hands it on.
func (p *pause) UnmarshalJSON(data []byte) error { return (*span)(p).UnmarshalJSON(data) }

// MarshalJSON writes a span as UnmarshalJSON reads it.
func (s span) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).String()) }

// MarshalJSON writes a pause likewise.
func (p pause) MarshalJSON() ([]byte, error) { return span(p).MarshalJSON() }

// A weightName is which weight a registry has of an instance that warms up.
type weightName string

const ramped weightName = "ramp"

func (weightName) shape() *shape {
	return &shape{is: enumShape, values: []string{"full", string(ramped)}}
}

// A curveName is a curve of warm-up.
type curveName string

const (
	quadratic curveName = "quadratic"
	linear    curveName = "linear"
	power     curveName = "power"
)

func (curveName) shape() *shape {
	return &shape{is: enumShape, values: []string{string(quadratic), string(linear), string(power)}}
}

// A readyWhen is a fleet.ReadyWhen.
type readyWhen string

func (readyWhen) shape() *shape {
	return &shape{is: enumShape, values: []string{"registered", "warm"}}
}

// An onFailure is what becomes of an instance that fails its warm-up requests.
type onFailure string

const refuse onFailure = "refuse"

func (onFailure) shape() *shape {
	return &shape{is: enumShape, values: []string{"continue", string(refuse)}}
}

// A requestProtocol is the protocol of a warm-up request.
type requestProtocol string

const grpcRequest requestProtocol = "grpc"

func (requestProtocol) shape() *shape {
	return &shape{is: enumShape, values: []string{"http", "http2", string(grpcRequest)}}
}
