package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/secure"
)

// remoteFeedFlags say how control is followed from other machines.
type remoteFeedFlags struct {
	listen string
	files  secure.Files
}

func (f *remoteFeedFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "feed-listen", "", "address, such as 10.0.0.1:15012, at which programs on other machines follow control, over TLS in both directions; a client's certificate names its role in OU: agent, gateway, supervisor, local or observer")
	flags.StringVar(&f.files.Certificate, "feed-cert", "", "PEM file of control's certificate for --feed-listen")
	flags.StringVar(&f.files.Key, "feed-key", "", "PEM file of its key")
	flags.StringVar(&f.files.CA, "feed-ca", "", "PEM file of the authorities that sign the clients' certificates")
	cmd.MarkFlagsRequiredTogether("feed-listen", "feed-cert", "feed-key", "feed-ca")
}

func (f *remoteFeedFlags) server(c feed.Control, log *slog.Logger) *feed.TLSServer {
	return &feed.TLSServer{Control: c, Address: f.listen, Files: f.files, Log: log}
}

// openFeed returns a client of the control at the place that --feed names. It tells log why control cannot be followed.
func openFeed(place string, log *slog.Logger) (*feed.Client, error) {
	link, err := feed.Open(place)
	if err != nil {
		return nil, exitError{2, fmt.Errorf("--%w", err)}
	}
	link.Log = log
	return link, nil
}
