package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestMisuseIsTwo(t *testing.T) {
	for line, want := range map[string]string{
		"serve":                                 `there is no "crossfade serve"; there are: `,
		"explian reviews -o json":               `there is no "crossfade explian"; did you mean explain?`,
		"--what":                                "unknown flag: --what",
		"get":                                   "get: what? There are: drains, endpoints, events, gateways, lifecycles, services",
		"get foo":                               `there is no "crossfade get foo"; there are: drains, endpoints, events, gateways, lifecycles, services`,
		"get endpoint5":                         `there is no "crossfade get endpoint5"; did you mean endpoints?`,
		"get foo --what":                        `there is no "crossfade get foo"`,
		"get endpoints a b":                     "accepts at most 1 arg",
		"get endpoints --what":                  `get endpoints: unknown flag: --what; see "crossfade get endpoints --help"`,
		"rollout undo deployment/a":             `there is no "crossfade rollout undo"; there are: restart, status`,
		"drain":                                 "drain: what? There are: gateway",
		"drain gateway edge":                    `"edge" is one too many: crossfade drain gateway takes no arguments, only flags`,
		"undrain gateways":                      `did you mean gateway?`,
		"upgrade gateway/a gateway/b":           "accepts at most 1 arg",
		"rollout restart":                       "name a deployment or a gateway: crossfade rollout restart deployment/NAME|gateway/NAME",
		"scale deployment/a":                    `scale: required flag(s) "replicas" not set`,
		"scale deployment/a --replicas=many":    "invalid argument",
		"up":                                    `up: required flag(s) "file" not set`,
		"up examples/bookinfo":                  "up reads its configuration from -f: crossfade up -f examples/bookinfo",
		"up -f a b":                             `"b" is one too many: crossfade up takes no arguments`,
		"control -f a":                          `"socket" not set`,
		"version now":                           `"now" is one too many: crossfade version takes no arguments`,
		"get events nope":                       `"nope" is one too many: crossfade get events takes no arguments, only flags`,
		"completion klingon":                    `there is no "crossfade completion klingon"`,
		"load --max-loss x http://127.0.0.1:1/": "load:",
		"explain -o yaml --admin http://127.0.0.1": "want text or json",
	} {
		code, stdout, stderr := crossfade(t.Context(), strings.Fields(line)...)
		if code != 2 || !strings.Contains(stderr, want) || stdout != "" {
			t.Errorf("crossfade %s: got exit code %d, stdout %q, stderr %q, want 2 and %q", line, code, stdout, stderr, want)
		}
	}
}

func TestHelpAndVersionAreFine(t *testing.T) {
	for line, want := range map[string]string{
		"":                "Available Commands:",
		"--help":          "Available Commands:",
		"help get":        "crossfade get",
		"get --help":      "endpoints",
		"up --help":       "--file",
		"get ep --help":   `docs/guides/balancing.md, "What REASON says"`,
		"version":         "crossfade " + version + " (go",
		"--version":       "crossfade version " + version,
		"completion bash": "bash completion",
	} {
		code, stdout, stderr := crossfade(t.Context(), strings.Fields(line)...)
		if code != 0 || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("crossfade %s: got exit code %d, stdout %.60q, stderr %q, want 0 and %q", line, code, stdout, stderr, want)
		}
	}
}

func TestCompletionOffersDeploymentsGatewaysAndFiles(t *testing.T) {
	_, api := startControl(t)
	for _, line := range []string{"scale", "rollout restart", "rollout status"} {
		args := append([]string{"__complete"}, strings.Fields(line)...)
		code, stdout, _ := crossfade(t.Context(), append(args, "--control", api, "")...)
		if code != 0 || !strings.Contains(stdout, "deployment/reviews-v1\ngateway/ingressgateway\n:4") {
			t.Errorf("%s: got exit code %d, %q", line, code, stdout)
		}
	}
	if code, stdout, _ := crossfade(t.Context(), "__complete", "upgrade", "--control", api, ""); code != 0 || stdout != "gateway/ingressgateway\n:4\n" {
		t.Errorf("upgrade: got exit code %d, %q", code, stdout)
	}
	// :0 lets the shell offer files.
	if code, stdout, _ := crossfade(t.Context(), "__complete", "up", "-f", ""); code != 0 || !strings.HasPrefix(stdout, ":0") {
		t.Errorf("up -f: got exit code %d, %q", code, stdout)
	}
}

func TestLogsHaveUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		95544513: "95.5ms", 0: "0s", 100 * time.Second: "1m40s", -95544513: "-95.5ms", 1234 * time.Nanosecond: "1.23µs", time.Second: "1s",
	} {
		var out bytes.Buffer
		f := logFlags{level: slog.LevelInfo}
		f.logger(&out).Info("again", "in", d)
		if !strings.Contains(out.String(), `"in":"`+want+`"`) {
			t.Errorf("%d: got %s, want %s", d, &out, want)
		}
	}
}
