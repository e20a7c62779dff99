package fleet

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"crossfade.dev/internal/meter"
)

// Direct is who called an instance past the gateways, among the callers of its service. No workload has such a name.
const Direct = "(direct)"

// Bounds of what an agent may say that it has counted.
const (
	mostPorts = 1024    // of one instance
	mostRun   = 64      // bytes
	mostCount = 1 << 48 // of anything: sums of many stay far from the end of their numbers
)

// PortName is how a port that an agent stands before is named among Traffic's listeners.
func PortName(port uint32) string { return strconv.FormatUint(uint64(port), 10) }

// Port is the port that a listener of an agent is named by; ok is false for any other name.
func (l *ListenerTraffic) Port() (port uint16, ok bool) {
	n, err := strconv.ParseUint(l.Name, 10, 16)
	return uint16(n), err == nil && n > 0 && l.Name == strconv.FormatUint(n, 10)
}

// CheckDirect says what is wrong with t as what an agent has counted: it counts what came to the ports of its own instance past
// the gateways, and knows neither services nor other endpoints. nil is nothing counted.
func (t *Traffic) CheckDirect() error {
	switch {
	case t == nil:
		return nil
	case t.Run == "" || len(t.Run) > mostRun:
		return fmt.Errorf("its run is named by %d bytes, 1 to %d are right", len(t.Run), mostRun)
	case t.Span < 0:
		return fmt.Errorf("it counted over %v", t.Span)
	case len(t.Services) > 0 || len(t.Endpoints) > 0:
		return errors.New("it counts for services and endpoints, though its own ports are all that it sees")
	case len(t.Listeners) > mostPorts:
		return fmt.Errorf("it counts at %d ports, %d at most", len(t.Listeners), mostPorts)
	}
	seen := map[uint16]bool{}
	for i := range t.Listeners {
		l := &t.Listeners[i]
		port, ok := l.Port()
		if !ok || seen[port] {
			return fmt.Errorf("%.40q is not the name of a port, or names it twice", l.Name)
		}
		seen[port] = true
		if err := l.checkDirect(); err != nil {
			return fmt.Errorf("port %d: %w", port, err)
		}
	}
	return nil
}

func (l *ListenerTraffic) checkDirect() error {
	great := l.Requests > mostCount
	for _, n := range l.Ended {
		great = great || n > mostCount
	}
	for _, codes := range [][]Code{l.Codes, l.Calls} {
		great = great || slices.ContainsFunc(codes, func(c Code) bool { return c.N > mostCount })
	}
	switch {
	case great:
		return fmt.Errorf("it counts more than %d", uint64(mostCount))
	case l.Mesh || l.Connects > 0 || l.Rejected > 0:
		return errors.New("it counts for a mesh, or connections")
	case l.Active < 0 || l.Requests != uint64(l.Active)+l.Ended.Ended(): //nolint:gosec // not negative
		return fmt.Errorf("of %d requests %d are open and %d have ended", l.Requests, l.Active, l.Ended.Ended())
	case !ascending(l.Codes, 100, 599) || !ascending(l.Calls, 0, 16):
		return errors.New("its answers have statuses that there are not, or not in order")
	case !within(l.Latency):
		return errors.New("its latencies lie in buckets that there are not, or not in order")
	}
	return nil
}

// ascending says whether codes are statuses from least to most, each once.
func ascending(codes []Code, least, most int) bool {
	for i, c := range codes {
		if c.Status < least || c.Status > most || i > 0 && c.Status <= codes[i-1].Status {
			return false
		}
	}
	return true
}

// within says whether buckets are those of a meter.Histogram, each once.
func within(buckets Buckets) bool {
	for i, b := range buckets {
		if b[0] < meter.MinIndex-1 || b[0] > meter.MaxIndex+1 || b[1] < 0 || b[1] > mostCount || i > 0 && b[0] <= buckets[i-1][0] {
			return false
		}
	}
	return true
}
