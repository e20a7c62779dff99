package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"crossfade.dev/internal/secure"
)

// A Server is a single member of etcd, for one machine: it elects itself at once. What it has said it keeps is on the
// disk: neither a process that is killed nor a machine that crashes loses any of it.
type Server struct {
	Data   string       // directory; made if it is not there
	Listen string       // unix:///PATH, http://IP:PORT, or https://IP:PORT with Files
	Files  secure.Files // CA: clients must show a certificate that it signed
	Log    *slog.Logger
	Ready  func() // called when it serves; nil is nobody
}

var errStopped = errors.New("etcd: it stopped by itself")

// Bounds of what a Server keeps.
const (
	keepRevisions = "1000"
	maxData       = 256 << 20
	maxSegment    = 8 << 20 // etcd would take 64 MB of the disk at once
)

// Run serves until ctx ends, and waits a few seconds at most for those who still ask something.
func (s *Server) Run(ctx context.Context) error {
	config, err := s.config(ctx)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	wal.SegmentSizeBytes = maxSegment
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("etcd: start with %s: %w", s.Data, err)
	}
	defer etcd.Close()
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		return fmt.Errorf("etcd: %w", err)
	case <-ctx.Done():
		return nil
	}
	if s.Ready != nil {
		s.Ready()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-etcd.Err():
		return fmt.Errorf("etcd: %w", err)
	case <-etcd.Server.StopNotify():
		return errStopped
	}
}

func (s *Server) config(ctx context.Context) (*embed.Config, error) {
	at, err := url.Parse(s.Listen)
	if err != nil || !slices.Contains([]string{"unix", "http", "https"}, at.Scheme) {
		return nil, fmt.Errorf("listen %q: want unix:///PATH, http://IP:PORT or https://IP:PORT", s.Listen)
	}
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return nil, err
	}
	config := embed.NewConfig()
	config.Name, config.Dir = "crossfade", filepath.Join(s.Data, "member")
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*at}, []url.URL{*at}
	config.ListenPeerUrls, config.AdvertisePeerUrls = nil, []url.URL{{Scheme: "unix", Host: config.Name}} // it has none
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.TickMs, config.ElectionMs = 50, 250
	config.EnableGRPCGateway = false
	config.AutoCompactionMode, config.AutoCompactionRetention = embed.CompactorModeRevision, keepRevisions
	config.QuotaBackendBytes = maxData
	config.ClientTLSInfo = transport.TLSInfo{
		CertFile: s.Files.Certificate, KeyFile: s.Files.Key, TrustedCAFile: s.Files.CA, ClientCertAuth: s.Files.CA != "",
	}
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(logged{ctx, s.Log}))
	return config, nil
}

// logged writes what etcd has to say to our log. Its warnings are about how to run many members, and to close its own
// sockets is an error to it: both are details here. Whoever asks something of it hears what it cannot do.
type logged struct {
	ctx context.Context //nolint:containedctx // that of Server.Run: etcd's lines have none
	log *slog.Logger
}

// Enabled says whether anybody wants to read it.
func (l logged) Enabled(level zapcore.Level) bool { return l.log.Enabled(l.ctx, l.ours(level)) }

func (l logged) ours(level zapcore.Level) slog.Level {
	switch {
	case level >= zapcore.DPanicLevel:
		return slog.LevelError
	case level == zapcore.ErrorLevel && l.ctx.Err() == nil:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// With adds what every line says.
func (l logged) With(fields []zapcore.Field) zapcore.Core {
	return logged{l.ctx, l.log.With(attrs(fields)...)}
}

// Check has the entry written if it is wanted.
func (l logged) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Enabled(e.Level) {
		return checked.AddCore(e, l)
	}
	return checked
}

// Write writes an entry.
func (l logged) Write(e zapcore.Entry, fields []zapcore.Field) error {
	l.log.Log(l.ctx, l.ours(e.Level), "etcd says", append(attrs(fields), slog.String("what", e.Message))...)
	return nil
}

// Sync has nothing to do.
func (l logged) Sync() error { return nil }

func attrs(fields []zapcore.Field) []any {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(values)
	}
	var list []any
	for name, value := range values.Fields {
		list = append(list, slog.Any(name, value))
	}
	return list
}
