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
	Spec            lifecycleSpec `json:"spec"`
	Status          any           `json:"status"`
}

type lifecycleSpec struct {
	Service           string         `json:"service"`
	Selector          *labelSelector `json:"selector"`
	lifecycleSettings `json:""`
}

// A labelSelector is a selector by labels that must all be there.
type labelSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

// lifecycleSettings are what a Lifecycle says of the instances that it is for, and an Agent of its own.
type lifecycleSettings struct {
	Enabled        *bool           `json:"enabled"`
	Registration   registration    `json:"registration"`
	Warmup         warmupSpec      `json:"warmup"`
	WarmupRequests *warmupRequests `json:"warmupRequests"`
	Readiness      readyWhen       `json:"readiness"`
	Drain          drainSpec       `json:"drain"`
	Front          frontSpec       `json:"front"`
}

type registration struct {
	Delay pause `json:"delay"`
}

type warmupSpec struct {
	Duration       *pause    `json:"duration"`
	Curve          curveName `json:"curve"`
	Aggression     *float64  `json:"aggression"`
	MinimumPercent *float64  `json:"minimumPercent"`
	Mode           string    `json:"mode"`
}

type warmupRequests struct {
	File        string          `json:"file"`
	Requests    []warmupRequest `json:"requests"`
	Record      *recordSpec     `json:"record"`
	Count       *int32          `json:"count"`
	Time        span            `json:"time"`
	Concurrency *int32          `json:"concurrency"`
	OnFailure   onFailure       `json:"onFailure"`
}

type warmupRequest struct {
	Protocol   requestProtocol   `json:"protocol"`
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Host       string            `json:"host"`
	Headers    map[string]string `json:"headers"`
	Body       *string           `json:"body"`
	BodyBase64 []byte            `json:"bodyBase64"`
	Port       *int32            `json:"port"`
	Weight     *int32            `json:"weight"`
}

type recordSpec struct {
	Paths []string `json:"paths"`
	Keep  *int32   `json:"keep"`
}

type drainSpec struct {
	Quiet   span `json:"quiet"`
	Callers span `json:"callers"`
	Timeout span `json:"timeout"`
}

type frontSpec struct {
	Concurrency limits `json:"concurrency"`
	MaxWait     span   `json:"maxWait"`
}

type limits struct {
	Least *int32 `json:"least"`
	Most  *int32 `json:"most"`
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
