package admin

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// A ConfigDump is the answer of /config_dump: everything that the program works by.
type ConfigDump struct {
	Number   uint64          `json:"number"`      // of the snapshot
	Config   string          `json:"config"`      // digest of the configuration in force
	ViewAge  time.Duration   `json:"view_age_ns"` // since the snapshot was taken
	Overlay  fleet.Overlay   `json:"overlay,omitempty"`
	Snapshot *fleet.Snapshot `json:"snapshot"`
}

func (a *api) configDump(w http.ResponseWriter, _ *http.Request) {
	world := a.world()
	writeJSON(w, http.StatusOK, ConfigDump{
		Number: world.View.Number, Config: world.View.Config, ViewAge: world.viewAge(time.Now()),
		Overlay: world.Overlay, Snapshot: redacted(world.View.Snapshot),
	})
}

// redacted returns a copy of the snapshot without what may be secret: the values of environment variables, the
// arguments of commands and the queries of checked paths, where tokens and passwords are put.
func redacted(s *fleet.Snapshot) *fleet.Snapshot {
	public := *s
	public.Services = slices.Clone(s.Services)
	for i := range public.Services {
		service := &public.Services[i]
		service.Endpoints = slices.Clone(service.Endpoints)
		for j := range service.Endpoints {
			if check := service.Endpoints[j].Check; check != nil {
				service.Endpoints[j].Check = new(redactedCheck(*check))
			}
		}
	}
	public.Workloads = slices.Clone(s.Workloads)
	for i := range public.Workloads {
		redactWorkload(&public.Workloads[i])
	}
	return &public
}

// redactWorkload replaces what w points to, so that the original stays as it is.
func redactWorkload(w *fleet.Workload) {
	w.Command = redactedCommand(w.Command)
	w.Env = slices.Clone(w.Env)
	for i := range w.Env {
		if w.Env[i].Value != "" {
			w.Env[i].Value = "[redacted]"
		}
	}
	if w.Readiness != nil {
		w.Readiness = &fleet.Probe{Check: redactedCheck(w.Readiness.Check), Exec: redactedCommand(w.Readiness.Exec)}
	}
	if w.PreStop != nil {
		preStop := *w.PreStop
		preStop.Exec, preStop.Path = redactedCommand(preStop.Exec), redactedPath(preStop.Path)
		w.PreStop = &preStop
	}
}

func redactedCheck(c fleet.Check) fleet.Check {
	c.Path = redactedPath(c.Path)
	return c
}

// redactedPath keeps a path and drops its query.
func redactedPath(path string) string {
	if before, _, found := strings.Cut(path, "?"); found {
		return before + "?[redacted]"
	}
	return path
}

// redactedCommand keeps the program and says how many arguments there were.
func redactedCommand(command []string) []string {
	if len(command) < 2 {
		return command
	}
	return []string{command[0], fmt.Sprintf("[%s redacted]", plural(len(command)-1, "argument"))}
}

// A ServerInfo is the answer of /server_info.
type ServerInfo struct {
	Version  string  `json:"version"`
	State    string  `json:"state"` // "LIVE" or "PRE_INITIALIZING", Envoy's words
	Reason   string  `json:"reason,omitempty"`
	Program  string  `json:"program"`
	ID       string  `json:"id,omitempty"`
	Locality string  `json:"locality,omitempty"` // where the program stands: "eu/a"
	PID      int     `json:"pid"`
	Go       string  `json:"go"`
	Uptime   string  `json:"uptime_current_epoch"` // whole seconds, as "75s"
	Snapshot uint64  `json:"snapshot"`
	Config   string  `json:"config"`
	ViewAge  float64 `json:"view_age_seconds"`
}

func (a *api) serverInfo(w http.ResponseWriter, _ *http.Request) {
	world, now := a.world(), time.Now()
	info := ServerInfo{
		Version: a.Version, State: "LIVE", Program: a.Program, ID: a.ID, Locality: world.Locality.String(), PID: os.Getpid(), Go: runtime.Version(),
		Uptime:   fmt.Sprintf("%ds", int64(now.Sub(a.Started)/time.Second)),
		Snapshot: world.View.Number, Config: world.View.Config, ViewAge: world.viewAge(now).Seconds(),
	}
	if !world.Ready {
		info.State, info.Reason = "PRE_INITIALIZING", world.ReadyReason
	}
	writeJSON(w, http.StatusOK, info)
}
