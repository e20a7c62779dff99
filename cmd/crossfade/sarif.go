package main

import (
	"io"
	"path/filepath"
	"slices"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// The parts of a SARIF 2.1.0 log (OASIS, "Static Analysis Results Interchange Format") that findings fill.
type (
	sarifLog struct {
		Version string     `json:"version"`
		Schema  string     `json:"$schema"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID string `json:"id"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		Rule      string          `json:"ruleId"`
		Level     string          `json:"level"` // "error" or "warning"
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region *sarifRegion `json:"region,omitempty"`
		} `json:"physicalLocation"`
		Logical []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifRegion struct {
		Line   int `json:"startLine"`
		Column int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
	}
)

func writeSARIF(w io.Writer, _ string, _ *fleet.Desired, findings []config.Finding) error {
	run := sarifRun{Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "crossfade", Version: version, Rules: []sarifRule{}}
	for _, f := range findings {
		rule := sarifRule{ID: string(f.Rule)}
		if !slices.Contains(run.Tool.Driver.Rules, rule) {
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
		}
		run.Results = append(run.Results, sarifResultOf(f))
	}
	return printJSON(w, sarifLog{
		Version: "2.1.0", Schema: "https://json.schemastore.org/sarif-2.1.0.json", Runs: []sarifRun{run},
	})
}

func sarifResultOf(f config.Finding) sarifResult {
	text := f.Message
	if f.Field != "" {
		text = f.Field + ": " + text
	}
	var at sarifLocation
	at.Physical.Artifact.URI = filepath.ToSlash(f.File)
	if f.Line > 0 {
		at.Physical.Region = &sarifRegion{f.Line, f.Column}
	}
	if f.Object != "" {
		at.Logical = []sarifLogical{{f.Object}}
	}
	return sarifResult{
		Rule: string(f.Rule), Level: f.Severity.String(), Message: sarifText{text}, Locations: []sarifLocation{at},
	}
}
