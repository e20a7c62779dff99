package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/console"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/secure"
)

// consoleFlags say where the console is served, and to whom.
type consoleFlags struct {
	listen string
	asked  bool // people said where
	role   string
	cert   string
	key    string
	tokens string
	url    string
	oidc   console.OIDC
}

const consoleAddress = "127.0.0.1:15010"

func (f *consoleFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "console", consoleAddress, "address of the console, the page that shows releases; none with \"\"")
	flags.StringVar(&f.role, "console-role", string(console.Operate), "what everybody may do in a console where nobody has to log in: view or operate")
	flags.StringVar(&f.cert, "console-tls-cert", "", "PEM file of the console's certificate: it is served over TLS")
	flags.StringVar(&f.key, "console-tls-key", "", "PEM file of its key")
	flags.StringVar(&f.tokens, "console-tokens", "", "file of those who may log in to the console, in lines NAME ROLE sha256:HEX of their token; the role is view or operate")
	flags.StringVar(&f.url, "console-url", "", "URL by which browsers reach the console where that is not its address; an issuer sends people back there")
	flags.StringVar(&f.oidc.Issuer, "console-oidc-issuer", "", "URL of an OpenID Connect issuer that says who may log in to the console")
	flags.StringVar(&f.oidc.ClientID, "console-oidc-client-id", "", "what the issuer knows the console by")
	flags.StringVar(&f.oidc.SecretFile, "console-oidc-client-secret-file", "", "file, readable by its owner alone, of the secret that the issuer gave the console")
	flags.StringArrayVar(&f.oidc.Operate, "console-oidc-operate", nil, "whom the issuer calls CLAIM=VALUE, groups=release say, may operate; given again for others")
	flags.StringArrayVar(&f.oidc.View, "console-oidc-view", nil, "whom the issuer calls CLAIM=VALUE may look; given again for others")
	cmd.MarkFlagsRequiredTogether("console-tls-cert", "console-tls-key")
	cmd.MarkFlagsRequiredTogether("console-oidc-issuer", "console-oidc-client-id")
}

// args are the flags as another process is to have them.
func (f *consoleFlags) args() []string {
	args := []string{"--console-role=" + f.role}
	if f.asked || f.listen == "" {
		args = append(args, "--console="+f.listen)
	}
	for name, value := range map[string]string{
		"tls-cert": f.cert, "tls-key": f.key, "tokens": f.tokens, "url": f.url,
		"oidc-issuer": f.oidc.Issuer, "oidc-client-id": f.oidc.ClientID, "oidc-client-secret-file": f.oidc.SecretFile,
	} {
		if value != "" {
			args = append(args, "--console-"+name+"="+value)
		}
	}
	for _, claim := range f.oidc.Operate {
		args = append(args, "--console-oidc-operate="+claim)
	}
	for _, claim := range f.oidc.View {
		args = append(args, "--console-oidc-view="+claim)
	}
	return args
}

// shown is the URL of the console for people.
func (f *consoleFlags) shown() string {
	switch {
	case f.url != "":
		return f.url
	case f.cert != "":
		return "https://" + f.listen
	}
	return "http://" + f.listen
}

// listener opens where the console is served; nil is nowhere. That somebody else has the usual address is no reason to do without
// control.
func (f *consoleFlags) listener(ctx context.Context, a *console.Access, log *slog.Logger) (net.Listener, error) {
	if f.listen == "" {
		return nil, nil //nolint:nilnil // nowhere is no error
	}
	secured, err := f.secure(log)
	if err != nil {
		return nil, exitError{1, fmt.Errorf("console: %w", err)}
	}
	listener, err := console.Listen(ctx, f.listen, secured, a)
	switch {
	case err != nil && !f.asked && !errors.Is(err, console.ErrOpen):
		log.WarnContext(ctx, "there is no console; --console puts it elsewhere", "err", err)
		return nil, nil //nolint:nilnil // likewise
	case err != nil:
		return nil, exitError{1, err}
	}
	return listener, nil
}

// secure is how the console speaks TLS; nil is not at all. Its files are read again when they change.
func (f *consoleFlags) secure(log *slog.Logger) (*tls.Config, error) {
	if f.cert == "" {
		return nil, nil //nolint:nilnil // plain text is no error
	}
	pair := secure.NewCredential(secure.Files{Certificate: f.cert, Key: f.key, Side: "server"}, func(m secure.Material) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{*m.Pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	})
	pair.Refresh(time.Now())
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if change := pair.Refresh(time.Now()); change.Failed {
				log.Error("the console's certificate cannot be used", "err", pair.Err())
			}
			return pair.Config(), nil // what could be used last
		},
	}, pair.Err()
}

// access is who may look and act, with what state remembers.
func (f *consoleFlags) access(state string, log *slog.Logger) (console.Access, error) {
	role, err := console.ParseRole(f.role)
	if err != nil {
		return console.Access{}, exitError{2, fmt.Errorf("--console-role: %w", err)}
	}
	a := console.Access{Role: role, Tokens: f.tokens, Secure: f.cert != ""}
	if err := f.reached(&a); err != nil {
		return a, exitError{2, err}
	}
	if a.Key, err = console.KeepKey(filepath.Join(state, "console.key")); err != nil {
		log.Warn("the console's sessions end with this program", "err", err)
	}
	return a, nil
}

// check says what is wrong before anything is started. Where the usual address is taken, there is to be no console.
func (f *consoleFlags) check(ctx context.Context, state string, log *slog.Logger) error {
	a, err := f.access(state, log)
	if err != nil {
		return err
	}
	if err := a.Check(); err != nil {
		return exitError{1, err}
	}
	listener, err := f.listener(ctx, &a, log)
	if err != nil {
		return err
	}
	if listener == nil {
		f.listen = ""
		return nil
	}
	return listener.Close()
}

// reached says by which name browsers reach the console, and where an issuer sends people back to.
func (f *consoleFlags) reached(a *console.Access) error {
	if f.url != "" {
		u, err := url.Parse(f.url)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" || strings.Trim(u.Path, "/") != "":
			return fmt.Errorf("--console-url %s: want https://HOST[:PORT]", f.url)
		case f.tokens == "" && f.oidc.Issuer == "":
			return fmt.Errorf("--console-url %s: others reach the console by that, and nobody would have to log in: say --console-tokens or --console-oidc-issuer", f.url)
		}
		a.Hosts, a.Secure = []string{u.Hostname()}, true
	}
	if f.oidc.Issuer == "" {
		return nil
	}
	if host, _, err := net.SplitHostPort(f.listen); f.url == "" && (err != nil || host == "" || net.ParseIP(host).IsUnspecified()) {
		return fmt.Errorf("--console-oidc-issuer: say --console-url, for the issuer sends people back there, and nobody finds %s", f.listen)
	}
	f.oidc.URL = strings.TrimSuffix(f.shown(), "/")
	a.OIDC = &f.oidc
	return nil
}

// drainReplica makes a gateway's replica leave, or calls it back. Its admin API is on loopback: of the machine where it runs.
func drainReplica(ctx context.Context, r fleet.Replica, back bool) error {
	at, err := netip.ParseAddrPort(r.Admin)
	if err != nil || !at.Addr().IsLoopback() {
		return fmt.Errorf("its admin API is at %q, which is not on this machine: use \"crossfade drain gateway\" there", r.Admin)
	}
	f := leaveFlags{client: adminClient{address: "http://" + r.Admin}}
	info, err := ask[admin.ServerInfo](ctx, &f.client, "/server_info", nil)
	switch {
	case err != nil:
		return err
	case info.ID != r.ID || info.PID != r.PID:
		return fmt.Errorf("at %s is not this replica but %s: it may run on another machine; use \"crossfade drain gateway\" there", r.Admin, info.ID)
	case back:
		return f.post(ctx, "/healthcheck/ok", nil)
	}
	return f.post(ctx, "/drain_listeners", url.Values{"graceful": {""}})
}
