package main

import (
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/process"
	"crossfade.dev/internal/registry/etcd"
)

// newEtcdCommand is what up runs beside control. Hidden: whoever wants an etcd of their own has better ones.
func newEtcdCommand() *cobra.Command {
	var server etcd.Server
	var logs logFlags
	cmd := &cobra.Command{
		Use:    "etcd --data DIR --listen URL",
		Short:  "Run a single member of etcd, for this machine",
		Hidden: true,
		Long: `etcd runs a single member of etcd: the registry of crossfade up, and one for trying. It is ready in a moment,
and keeps what it is given on the disk. Who must go on when a machine is lost runs etcd itself, on three, and says
--registry etcd://….`,
		Example: "  crossfade etcd --data /tmp/etcd --listen http://127.0.0.1:2379",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server.Log = logs.logger(cmd.ErrOrStderr())
			server.Ready = func() { server.Log.InfoContext(cmd.Context(), "etcd serves", "at", server.Listen) }
			return server.Run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&server.Data, "data", "", "directory for what it keeps")
	flags.StringVar(&server.Listen, "listen", "", "unix:///PATH, http://IP:PORT, or https://IP:PORT with --cert and --key")
	flags.StringVar(&server.Files.Certificate, "cert", "", "PEM file of its certificate")
	flags.StringVar(&server.Files.Key, "key", "", "PEM file of that one's key")
	flags.StringVar(&server.Files.CA, "client-ca", "", "PEM file of the authorities whose certificates its clients must show")
	logs.add(flags)
	require(cmd, "data", "listen")
	return cmd
}

// etcdSocket is the name, in a run directory, of the socket of up's own etcd.
const etcdSocket = "etcd.sock"

const socketScheme = "etcd+unix://"

// ownRegistry is the registry of an up that was not told of another one: an etcd that it runs itself.
func ownRegistry(run string) string { return socketScheme + filepath.Join(run, etcdSocket) }

// ownEtcd is the program that serves it. What people have put there survives with the state, unless that belongs to
// nobody: then it is in the run directory.
func (f upFlags) ownEtcd(self, run string, output io.Writer) process.Spec {
	return process.Spec{Name: "etcd", Path: self, Stdout: output, Stderr: output, Args: []string{
		"etcd", "--data", filepath.Join(f.kept(run), "etcd"), "--listen", "unix://" + filepath.Join(run, etcdSocket), "--log-level=" + f.logs.level.String(),
	}}
}

// kept is the directory for what is to survive a restart.
func (f upFlags) kept(run string) string {
	if f.stateless {
		return run
	}
	return f.state
}
