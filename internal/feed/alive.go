package feed

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// A process that has been stopped, or a machine that is gone, closes no connection. So an end that has heard nothing for alive
// asks, and gives the other up when it has no answer in time: one on this machine sooner.
const (
	alive       = 10 * time.Second // gRPC lets no client ask sooner
	answer      = 5 * time.Second
	answerLocal = 2 * time.Second
)

// asking has a server ask its clients.
func asking(answer time.Duration) grpc.ServerOption {
	return grpc.KeepaliveParams(keepalive.ServerParameters{Time: alive, Timeout: answer})
}

// mayAsk lets clients ask as often as ours do.
func mayAsk() grpc.ServerOption {
	return grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: alive / 2})
}
