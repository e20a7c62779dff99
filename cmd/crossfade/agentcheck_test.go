package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// What no agent can make anything of is refused before anything is started, in a sentence that says what is wanted.
func TestAgentRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"--service=A_b!":                                   `--service "A_b!": want the name of a service`,
		"--service=web --namespace=_":                      `--namespace "_": want a name`,
		"--service=web --incarnation=a\tb":                 "want letters, digits and signs of ASCII only",
		"--service=web --address=0.0.0.0":                  "--address 0.0.0.0: others cannot reach the instance there",
		"--service=web --address=fe80::1%eth0":             "without a zone",
		"--service=web --address=224.0.0.1":                "--address 224.0.0.1: others cannot",
		"--service=web --weight=0":                         "--weight 0: want 1 or more",
		"--service=web --grace=-1s":                        "--grace -1s: want a duration of 0 or more",
		"--service=web --start-timeout=-1s":                "--start-timeout -1s: want a duration of 0 or more",
		"--service=web --probe=tcp:// --probe-interval=0s": "--probe-interval 0s: want a duration above 0",
		"--service=web --probe=tcp:// --probe-healthy=0":   "--probe-healthy 0: want 1 or more",
		"--service=web --port=80 --port=web=80":            "--port 80: it is there already",
		"--service=web --port=a=80 --port=a=81":            "--port a=81: there is a port of that name already",
		"--service=web --offline=:54199":                   "--offline :54199: it stops the instance",
		"--service=web --offline=10.0.0.1:54199":           "want a loopback address, as 127.0.0.1:54199",
		"--service=web --readiness-address=nowhere":        "--readiness-address nowhere: want ADDRESS:PORT or :PORT",
		"--service=web --admin=127.0.0.1:99999":            "--admin 127.0.0.1:99999: want ADDRESS:PORT or :PORT",
	} {
		err := refusal(t, strings.Split(line, " "))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
	for _, line := range []string{
		"--service=web --port=80 --port=admin=81 --address=::1 --offline=localhost:0 --readiness-address=[::]:0",
		"--service=web --offline= --readiness-address= --admin=:0 --grace=0s --weight=7",
	} {
		if err := refusal(t, strings.Split(line, " ")); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// refusal is why an agent is not started with some arguments.
func refusal(t *testing.T, args []string) error {
	t.Helper()
	var f agentFlags
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	f.add(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	_, _, err := f.agent(flags)
	return err
}
