package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/load"
)

// exitInterrupted is what a shell reports for a command ended by ctrl-C.
const exitInterrupted = 130

// loadFlags are the flags that need reading beyond what cobra does.
type loadFlags struct {
	keepAlive bool
	http2     bool
	authority string
	insecure  bool
	headers   []string
	body      string
	data      string
	source    string
	maxLoss   string
	output    string
	traceFile string
	quiet     bool
}

func newLoadCommand() *cobra.Command {
	var (
		plan  load.Plan
		flags loadFlags
	)
	cmd := &cobra.Command{
		Use:   "load URL...",
		Short: "Send load and account for every request",
		Long: `Send load over HTTP/1.1, HTTP/2 or gRPC and account for every request: each was answered, or was lost in one
known way. Nothing is ever sent twice.

With --rate the loop is open: each request has its moment, whatever became of the ones before. When all
connections are busy a request goes out late, is counted as late, and its latency counts from the moment it
was due (corrected for coordinated omission). Without --rate the loop is closed: every connection sends
again as soon as it has its answer.

Lost is a request that was refused, reset or closed (eof) before any byte of its answer, cut within the
answer, timed out, answered with 5xx, or failed otherwise (other). A connection that the peer closed
between two requests costs nothing: it is replaced before the next request is sent.

With --http2 a request is a stream, and --streams of them share a connection; to http URLs it is spoken at
once, to https URLs as negotiated. With --grpc a request is a call to SERVICE/METHOD: unary, or with --messages a
stream on which each message is sent when the last one was answered. Then lost is also a status other than
OK (grpc), a stream that was refused (rejected) or came too late for a connection that was leaving (unprocessed),
which other clients would send again, and one that was reset otherwise (stream_reset).

The account goes to standard output, one line per second of progress to standard error.
Exit code: 0; 1 when more was lost or left unsent than --max-loss allows; 2 for wrong usage; 130 on ctrl-C.`,
		Example: `  crossfade load --rate 500 --duration 20s http://127.0.0.1:8080/productpage
  crossfade load --requests 50000 --connections 200 --keepalive=false --source 127.9.0.0/24 http://127.0.0.1:8080/
  crossfade load --rate 100 --duration 10s -H 'Host: reviews' --endpoint-header x-bookinfo-instance http://127.0.0.1:15001/reviews/0
  crossfade load --http2 --connections 4 --streams 25 --cacert ca.crt https://shop.example.com:8443/
  crossfade load --grpc echo.Echo/Unary --rate 200 http://127.0.0.1:8080
  crossfade load --grpc echo.Echo/BidiStream --messages 20 --every 100ms --body @message.bin http://127.0.0.1:8080`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exitError{2, errors.New("load: no URL to send to")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, urls []string) error {
			plan.URLs = urls
			return runLoad(cmd, plan, flags)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exitError{2, err} })
	bindLoadFlags(cmd, &plan, &flags)
	return cmd
}

func bindLoadFlags(cmd *cobra.Command, plan *load.Plan, flags *loadFlags) {
	f := cmd.Flags()
	f.Float64Var(&plan.Rate, "rate", 0, "requests per second, an open loop (0: closed loop)")
	f.BoolVar(&plan.Poisson, "poisson", false, "with --rate: random gaps instead of equal ones")
	f.Uint64Var(&plan.Seed, "seed", 1, "of everything random: gaps and body")
	f.IntVarP(&plan.Connections, "connections", "c", 0, fmt.Sprintf("connections to an address at most (default %d, or 1 of HTTP/2)", load.DefaultConnections))
	bindProtocolFlags(cmd, plan, flags)
	f.DurationVarP(&plan.Duration, "duration", "d", 0, "send for this long (default 10s without --requests)")
	f.Uint64VarP(&plan.Requests, "requests", "n", 0, "send this many")
	f.DurationVar(&plan.Timeout, "timeout", load.DefaultTimeout, "of one request, connecting included")
	f.StringVarP(&plan.Method, "method", "X", "", "method (default GET, or POST with --body)")
	f.StringVar(&flags.body, "body", "", "a size such as 10KB or 1MiB, or @FILE; with --grpc the bytes of each message")
	f.StringVar(&flags.data, "data", "", "a body as it stands here, instead of --body")
	f.StringArrayVarP(&flags.headers, "header", "H", nil, "a header line, 'Name: value'; may be repeated; Host replaces the URL's")
	f.BoolVar(&flags.keepAlive, "keepalive", true, "use a connection for more than one request")
	f.StringVar(&flags.source, "source", "", "local addresses to connect from in turn, such as 127.9.0.0/24; each has its own 28,000 ports for --keepalive=false")
	f.StringVar(&plan.EndpointHeader, "endpoint-header", load.DefaultEndpointHeader, "header of the answer that names who answered")
	f.DurationVar(&plan.LateAfter, "late-after", load.DefaultLateAfter, "a request sent this much after it was due is late")
	f.StringVar(&flags.maxLoss, "max-loss", "0", "requests that may be lost: a number, or a percentage such as 0.1%")
	f.StringVarP(&flags.output, "output", "o", "table", "table or json")
	offerOutputs(cmd, "table", "json")
	f.StringVar(&flags.traceFile, "trace", "", "write one line of JSON per request to this file")
	f.BoolVarP(&flags.quiet, "quiet", "q", false, "no progress")
}

// bindProtocolFlags are the flags about what requests are sent in.
func bindProtocolFlags(cmd *cobra.Command, plan *load.Plan, flags *loadFlags) {
	f := cmd.Flags()
	f.BoolVar(&flags.http2, "http2", false, "speak HTTP/2")
	f.StringVar(&plan.Call, "grpc", "", "speak gRPC, and call SERVICE/METHOD")
	f.IntVar(&plan.Streams, "streams", 0, fmt.Sprintf("HTTP/2 and gRPC: requests in flight at once on a connection at most (default %d)", load.DefaultStreams))
	f.IntVar(&plan.Messages, "messages", 0, "with --grpc: a stream of so many messages each way (default: a unary call)")
	f.DurationVar(&plan.Every, "every", 0, "with --messages: the pause between two of them")
	f.StringVar(&flags.authority, "cacert", "", "https: trust who is certified by this file's authorities (default: the system's)")
	f.BoolVarP(&flags.insecure, "insecure", "k", false, "https: trust anybody")
}

// runLoad carries out what the flags ask for.
func runLoad(cmd *cobra.Command, plan load.Plan, flags loadFlags) (err error) {
	allowed, err := completePlan(&plan, flags)
	if err != nil {
		return exitError{2, fmt.Errorf("load: %w", err)}
	}
	if flags.traceFile != "" {
		file, err := os.Create(flags.traceFile)
		if err != nil {
			return fmt.Errorf("load: trace: %w", err)
		}
		plan.Trace = file
		defer func() { err = errors.Join(err, file.Close()) }()
	}
	if !flags.quiet {
		plan.Second = func(s load.Second) { fmt.Fprintln(cmd.ErrOrStderr(), s) }
	}
	report, err := load.Run(cmd.Context(), plan)
	if report != nil {
		err = errors.Join(err, writeReport(cmd.OutOrStdout(), report, flags.output))
	}
	switch {
	case errors.Is(err, load.ErrPlan):
		return exitError{2, fmt.Errorf("load: %w", err)}
	case err != nil:
		return fmt.Errorf("load: %w", err)
	case report.Interrupted:
		return exitError{exitInterrupted, errors.New("load: interrupted")}
	case !allowed.Allows(report):
		return exitError{1, fmt.Errorf("load: %d lost and %d never sent of %d, more than --max-loss %s",
			report.LostTotal, report.Unsent, report.Sent+report.Unsent, flags.maxLoss)}
	}
	return nil
}

// completePlan reads the flags that cobra left as text.
func completePlan(plan *load.Plan, flags loadFlags) (allowed load.Allowance, err error) {
	plan.NoKeepAlive = !flags.keepAlive
	if plan.Duration == 0 && plan.Requests == 0 {
		plan.Duration = 10 * time.Second
	}
	if err := completeProtocol(plan, flags); err != nil {
		return allowed, err
	}
	for _, line := range flags.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return allowed, fmt.Errorf("header %q: want 'Name: value'", line)
		}
		plan.Headers = append(plan.Headers, load.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	if plan.Body, err = readBody(flags, plan.Seed); err != nil {
		return allowed, err
	}
	if flags.source != "" {
		if plan.Source, err = load.ParseSource(flags.source); err != nil {
			return allowed, err
		}
	}
	if flags.output != "table" && flags.output != "json" {
		return allowed, fmt.Errorf("output %q: want table or json", flags.output)
	}
	return load.ParseAllowance(flags.maxLoss)
}

// completeProtocol says what requests are sent in, and who is trusted.
func completeProtocol(plan *load.Plan, flags loadFlags) error {
	switch {
	case plan.Call != "":
		plan.Protocol = load.GRPC
	case flags.http2:
		plan.Protocol = load.HTTP2
	}
	if flags.authority == "" && !flags.insecure {
		return nil
	}
	plan.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: flags.insecure} //nolint:gosec // --insecure says so.
	if flags.authority == "" {
		return nil
	}
	certificates, err := os.ReadFile(flags.authority)
	if err != nil {
		return fmt.Errorf("cacert: %w", err)
	}
	plan.TLS.RootCAs = x509.NewCertPool()
	if !plan.TLS.RootCAs.AppendCertsFromPEM(certificates) {
		return fmt.Errorf("cacert: %s holds no certificate in PEM", flags.authority)
	}
	return nil
}

// readBody returns what is to be sent with each request: text, a file's content, or as many seeded bytes as a size
// says; nil for none of them.
func readBody(flags loadFlags, seed uint64) ([]byte, error) {
	text := flags.body
	switch {
	case text != "" && flags.data != "":
		return nil, errors.New("--body and --data exclude each other")
	case flags.data != "":
		return []byte(flags.data), nil
	case text == "":
		return nil, nil
	}
	if path, ok := strings.CutPrefix(text, "@"); ok {
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
		return body, nil
	}
	size, err := load.ParseSize(text)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	body := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // Filler, not secrets.
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	return body, nil
}

func writeReport(w io.Writer, report *load.Report, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	return report.WriteTable(w)
}
