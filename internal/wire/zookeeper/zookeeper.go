// Package zookeeper has the formats in which applications register themselves in ZooKeeper: [Instance] is the JSON of
// Curator, Spring Cloud and Dubbo's applications, [Provider] the URL of Dubbo's interfaces, which is the name of a node.
// Both keep what they do not know, and its order; who changes nothing writes back the bytes that were read.
package zookeeper

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// MaxPayload is how much a registration may have, in bytes: as much as a server takes.
const MaxPayload = 1 << 20

// Metadata by which consumers choose.
const (
	statusKey = "instance_status" // Spring's: consumers take those without, and those that are up
	up        = "UP"
	out       = "OUT_OF_SERVICE"

	weightKey     = "weight"
	fullWeightKey = "crossfade.weight" // of an instance, where weightKey says a share of it
)

var errNoPort = errors.New("want 1 to 65535")

func checkSize(n int) error {
	if n > MaxPayload {
		return fmt.Errorf("%d bytes, at most %d", n, MaxPayload)
	}
	return nil
}

// parsePort reads a port; "" is none, 0.
func parsePort(text string) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q: %w", text, errNoPort)
	}
	return uint32(n), nil
}

// scaled is a share of a weight: at least 1 where there is any, since 0 is none at all. A share of 0 is 1.
func scaled(weight int64, share float64) int64 {
	if weight <= 0 || !(share > 0 && share < 1) {
		return weight
	}
	return max(1, int64(math.Round(float64(weight)*share)))
}
