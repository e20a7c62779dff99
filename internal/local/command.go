package local

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"crossfade.dev/internal/fleet"
)

// noProxy lists who is not reached through the mesh port: everybody on this machine who is named by address.
const noProxy = "127.0.0.0/8,localhost,::1"

// A variable is one environment variable.
type variable struct{ name, value string }

// environment returns what the application of a replica is told, in order: its place, then what its
// Deployment says, which wins. $(NAME) in a value stands for a variable that came before.
func environment(w *fleet.Workload, name string, place home, mesh string) []variable {
	port := ""
	if len(w.Ports) > 0 {
		port = strconv.FormatUint(uint64(w.Ports[0].Number), 10)
	}
	told := []variable{
		{"HOST", place.private.String()},
		{"PORT", port},
		{"POD_IP", place.public.String()},
		{"POD_NAME", name},
		{"POD_NAMESPACE", w.Namespace},
	}
	if mesh != "" {
		through := "http://" + name + ":@" + mesh // with its name, so that routes can tell who calls
		told = append(told,
			variable{"HTTP_PROXY", through}, variable{"http_proxy", through},
			variable{"NO_PROXY", noProxy}, variable{"no_proxy", noProxy})
	}
	values := valuesOf(told)
	for _, e := range w.Env {
		v := variable{e.Name, ""}
		switch e.Field {
		case "":
			v.value = expand(e.Value, values)
		case "status.podIP":
			v.value = place.public.String()
		case "metadata.name":
			v.value = name
		case "metadata.namespace":
			v.value = w.Namespace
		}
		values[v.name] = v.value
		told = append(told, v)
	}
	return told
}

// valuesOf returns what each variable is in the end.
func valuesOf(told []variable) map[string]string {
	values := map[string]string{}
	for _, v := range told {
		values[v.name] = v.value
	}
	return values
}

// expand replaces each $(NAME) that has a value, as Kubernetes does in commands, arguments and values:
// what has none stays as it is written, and $$ is a plain dollar.
func expand(s string, values map[string]string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, rest, closed := strings.Cut(after, ")")
		value, known := values[strings.TrimPrefix(name, "(")]
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			s = after[1:]
		case strings.HasPrefix(after, "(") && closed && known:
			b.WriteString(value)
			s = rest
		default:
			b.WriteByte('$')
			s = after
		}
	}
}

// find returns the path of a program: one with a slash is a path, from dir where it is relative; any other
// is looked for in dirs, then in PATH.
func find(program, dir string, dirs []string) (string, error) {
	if strings.Contains(program, "/") {
		if !filepath.IsAbs(program) {
			program = filepath.Join(dir, program)
		}
		return filepath.Abs(program)
	}
	for _, d := range dirs {
		if path, err := exec.LookPath(filepath.Join(d, program)); err == nil {
			return filepath.Abs(path)
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("find program %q in %s and PATH: %w", program, strings.Join(dirs, ", "), exec.ErrNotFound)
	}
	return path, nil
}
