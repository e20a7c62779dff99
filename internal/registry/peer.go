package registry

import (
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// Keys that other systems publish.
const (
	dubboTimestamp = "timestamp" // of the provider's start: milliseconds in Java, seconds in Go
	dubboWarmup    = "warmup"    // likewise; Go may also write "2m0s"

	sermantTime     = "sermant.grace.warmup.time" // seconds
	sermantInjected = "sermant.grace.warmup.inject.time"
	sermantCurve    = "sermant.grace.warmup.cal.curve" // the exponent

	curatorRegistered = "registrationTimeUTC"
	eurekaUp          = "serviceUpTimestamp"
)

// leastMS is the least time since 1970 that is taken for milliseconds (it is in 1973): less is seconds, until the year 5138.
const leastMS = 100_000_000_000

// dubboWindow is how long an instance of Dubbo warms up that does not say.
const dubboWindow = 10 * time.Minute

// Peer understands what instances of other systems publish of their age and their warm-up; nil is nothing. What cannot
// be read counts as not published: as those systems have it, and an age that is not known is no reason to leave an
// instance out. A peer's warm-up begins at a hundredth of its weight.
//
//   - Dubbo: timestamp and warmup, in the milliseconds of Java or the seconds of Go; the curve is a straight line
//   - Sermant: sermant.grace.warmup.time, .inject.time and .cal.curve
//   - Curator: registrationTimeUTC
//   - Eureka: serviceUpTimestamp
func Peer(metadata map[string]string) (*fleet.Published, *fleet.Warmup) {
	if at, _ := moment(metadata[sermantInjected]); !at.IsZero() {
		return since(at), sermant(metadata)
	}
	if at, unit := moment(metadata[dubboTimestamp]); !at.IsZero() {
		return since(at), dubbo(metadata[dubboWarmup], unit)
	}
	for _, key := range []string{curatorRegistered, eurekaUp} {
		if at, _ := moment(metadata[key]); !at.IsZero() {
			return since(at), nil
		}
	}
	return nil, nil
}

// since is what an instance says that knows only when it began to serve.
func since(at time.Time) *fleet.Published { return &fleet.Published{Started: at, Registered: at} }

// moment reads a time since 1970 and says in which unit it was; the zero time is none.
func moment(text string) (time.Time, time.Duration) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	switch {
	case err != nil || n <= 0 || n > maxMS:
		return time.Time{}, 0
	case n < leastMS:
		return time.Unix(n, 0).UTC(), time.Second
	}
	return time.UnixMilli(n).UTC(), time.Millisecond
}

func dubbo(text string, unit time.Duration) *fleet.Warmup {
	window := dubboWindow
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n <= int64(maxWindow/unit) {
		window = time.Duration(n) * unit
	} else if d, err := time.ParseDuration(text); err == nil {
		window = d
	}
	return warmup(window, 1)
}

func sermant(metadata map[string]string) *fleet.Warmup {
	seconds, err := strconv.ParseInt(metadata[sermantTime], 10, 64)
	if err != nil || seconds > int64(maxWindow/time.Second) {
		return nil
	}
	curve, err := strconv.ParseFloat(metadata[sermantCurve], 64)
	if err != nil || !(curve >= 0.01 && curve <= 100) {
		curve = 2
	}
	return warmup(time.Duration(seconds)*time.Second, 1/curve)
}

// maxWindow bounds what a peer may say of its warm-up: a day.
const maxWindow = 24 * time.Hour

func warmup(window time.Duration, aggression float64) *fleet.Warmup {
	if window <= 0 || window > maxWindow {
		return nil
	}
	return &fleet.Warmup{Window: window, Minimum: 0.01, Aggression: aggression}
}
