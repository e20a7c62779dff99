package config

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/curve"
	"crossfade.dev/internal/fleet"
)

func lenient() Options {
	o := options()
	o.Lenient = true
	return o
}

// parseWith is Parse of documents in one file, with the rules and severities of the findings as text.
func parseWith(o Options, documents ...string) (loads bool, findings string) {
	d, list := Parse([]File{{Name: "test.yaml", Data: []byte(strings.Join(documents, ""))}}, o)
	var lines []string
	for _, f := range list {
		lines = append(lines, f.Severity.String()+" "+string(f.Rule)+" "+f.Field)
	}
	return d != nil, strings.Join(lines, "\n")
}

func TestWhatIsNotEnforcedIsAWarningWhenLenient(t *testing.T) {
	documents := service("a", "default", 80) +
		istio("VirtualService", "a", "default", `hosts: [a], http: [{retries: {attempts: 2}, fault: {abort: {httpStatus: 500}}, mirror: {host: a},
		corsPolicy: {allowOrigins: [{exact: x}]}, route: [{destination: {host: a}}]}]`) +
		istio("DestinationRule", "a", "default", "host: a, trafficPolicy: {connectionPool: {tcp: {tcpKeepalive: {time: 1s}}}, outlierDetection: {interval: 1s}}") +
		istio("ServiceEntry", "b", "default", "hosts: [b.com], subjectAltNames: [b.com], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 10.0.0.1}]")
	fields := []string{
		"spec.http[0].retries", "spec.http[0].fault", "spec.http[0].mirror", "spec.http[0].corsPolicy",
		"spec.trafficPolicy.connectionPool.tcp.tcpKeepalive", "spec.trafficPolicy.outlierDetection", "spec.subjectAltNames",
	}
	for severity, o := range map[string]Options{"error": options(), "warning": lenient()} {
		loads, got := parseWith(o, documents)
		if want := severity == "warning"; loads != want {
			t.Errorf("%ss: loads: got %v, want %v", severity, loads, want)
		}
		for _, field := range fields {
			if want := severity + " not-enforced " + field + "\n"; !strings.Contains(got+"\n", want) {
				t.Errorf("no finding %q in\n%s", want, got)
			}
		}
	}
}

// TestOutlierDetectionIsEnforcedInPart makes sure that what is applied of it is not named, and all else is, where it
// stands: the whole of it only where nothing in it may stay.
func TestOutlierDetectionIsEnforcedInPart(t *testing.T) {
	const whole = "not-enforced spec.trafficPolicy.outlierDetection"
	const unknown = "unknown-field spec.trafficPolicy.outlierDetection"
	for detection, want := range map[string]string{
		"{minHealthPercent: 50}":   "",
		"{min_health_percent: 50}": "",
		"null":                     "",
		"{}":                       whole,
		"{interval: 1s}":           whole,
		"{<<: {interval: 1s}, minHealthPercent: 50}":                  whole,
		"{minHealthPercent: 50, interval: 1s}":                        whole + ".interval",
		"{minHealthPercent: 50, base_ejection_time: 1s}":              whole + ".baseEjectionTime",
		"{minHealthPercent: 50, outlierDetectionHttpErrorCodes: [1]}": whole + ".outlierDetectionHttpErrorCodes",
		"{minHealthPercent: 50, inteval: 1s}":                         unknown + ".inteval",
		"{minHealthPercnt: 50}":                                       unknown + ".minHealthPercnt",
		"{minHealthPercnt: 50, interval: 1s}":                         whole + ".interval " + unknown + ".minHealthPercnt",
		"{minHealthPercent: 101}":                                     "invalid spec.trafficPolicy.outlierDetection.minHealthPercent",
	} {
		_, all := parseWith(options(), service("a", "default", 80), istio("DestinationRule", "a", "default", "host: a, trafficPolicy: {outlierDetection: "+detection+"}"))
		var errs []string
		for line := range strings.Lines(all) {
			if finding, isError := strings.CutPrefix(strings.TrimSpace(line), "error "); isError {
				errs = append(errs, finding)
			}
		}
		slices.Sort(errs)
		if got := strings.Join(errs, " "); got != want {
			t.Errorf("%s: got errors %q, want %q", detection, got, want)
		}
	}
}

// TestLenienceStopsAtHarm makes sure that nobody gets plaintext where TLS was asked for, and that what is not
// enforced has to be right all the same.
func TestLenienceStopsAtHarm(t *testing.T) {
	for _, c := range []struct{ policy, want string }{
		{"tls: {mode: ISTIO_MUTUAL}", "error unsupported spec.trafficPolicy.tls.mode"},
		{"portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE, credentialName: a}}]", "error unsupported spec.trafficPolicy.portLevelSettings[0].tls.credentialName"},
		{"outlierDetection: {maxEjectionPercent: 101}", "error invalid spec.trafficPolicy.outlierDetection.maxEjectionPercent"},
		{"outlierDetection: {maxEjectionPercent: 1, inteval: 1s}", "error unknown-field spec.trafficPolicy.outlierDetection.inteval"},
		{"proxyProtocol: {version: V2}", "error unsupported spec.trafficPolicy.proxyProtocol"},
	} {
		loads, got := parseWith(lenient(), service("a", "default", 80), istio("DestinationRule", "a", "default", "host: a, trafficPolicy: {"+c.policy+"}"))
		if loads || !strings.Contains(got, c.want) {
			t.Errorf("%s: loads: %v; got findings\n%s\nwant %q among them", c.policy, loads, got, c.want)
		}
	}
}

// TestFindingsInJSON pins what tools read.
func TestFindingsInJSON(t *testing.T) {
	findings := []Finding{
		{File: "a.yaml", Line: 3, Column: 5, Rule: NotEnforced, Object: "VirtualService default/a", Field: "spec.http[0].retries", Message: "not enforced yet"},
		{File: "b.yaml", Severity: Warning, Rule: Unreadable, Message: "cannot be read"},
	}
	got, err := json.Marshal(findings)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"a.yaml","line":3,"column":5,"severity":"error","rule":"not-enforced","object":"VirtualService default/a","field":"spec.http[0].retries","message":"not enforced yet"},` +
		`{"file":"b.yaml","severity":"warning","rule":"unreadable","message":"cannot be read"}]`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var back []Finding
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(findings, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	var s Severity
	if err := s.UnmarshalText([]byte("fatal")); err == nil {
		t.Error("an unknown severity is read")
	}
}

// TestMeanShareIsTheMeanOfTheCurve holds the formula against the curve that data planes walk along.
func TestMeanShareIsTheMeanOfTheCurve(t *testing.T) {
	const steps = 100_000
	for _, minimum := range []float64{0, 0.05, 0.1, 0.5, 1} {
		for _, aggression := range []float64{0.2, 0.5, 1, 2, 10} {
			sum := 0.0
			for i := range steps {
				sum += curve.Share((float64(i)+0.5)/steps, minimum, aggression)
			}
			got := meanShare(fleet.Warmup{Minimum: minimum, Aggression: aggression})
			if want := sum / steps; math.Abs(got-want) > 1e-4 {
				t.Errorf("minimum %g, aggression %g: got %g, want %g", minimum, aggression, got, want)
			}
		}
	}
}
