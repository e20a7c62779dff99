package config

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// scalar checks a single value and returns it as JSON's types.
func (c *checker) scalar(n *yaml.Node, s *shape, at spot) (any, bool) {
	if n.Kind != yaml.ScalarNode {
		return c.wrongType(n, at, wants(s))
	}
	tag := n.ShortTag()
	switch s.is {
	case stringShape:
		return c.text(n, at)
	case bytesShape:
		return c.bytes(n, at)
	case boolShape:
		if b, ok := boolean(n); ok {
			return b, true
		}
	case intOrStringShape:
		if tag != "!!int" {
			return c.text(n, at)
		}
		return c.integer(n, &shape{is: intShape, min: math.MinInt32, max: math.MaxInt32}, at)
	case intShape:
		if tag == "!!int" {
			return c.integer(n, s, at)
		}
	case numberShape:
		if f, ok := number(n); ok {
			return f, true
		}
	case enumShape:
		return c.enum(n, s, at)
	case durationShape:
		return c.duration(n, s, at)
	default:
	}
	return c.wrongType(n, at, wants(s))
}

func wants(s *shape) string {
	switch s.is {
	case stringShape:
		return "a string"
	case bytesShape:
		return "a string in base64"
	case boolShape:
		return "true or false"
	case intShape:
		return "an integer"
	case numberShape:
		return "a finite number"
	case intOrStringShape:
		return "an integer or a string"
	case enumShape:
		return "one of " + strings.Join(s.values, ", ")
	case durationShape:
		return `a duration such as "30s"`
	default:
		return "a value"
	}
}

func (c *checker) wrongType(n *yaml.Node, at spot, want string) (any, bool) {
	c.report(placeOf(n), WrongType, at.path, "must be %s, not %s", want, describe(n))
	return nil, false
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "an object"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!str":
		return "the string " + strconv.Quote(clip(n.Value))
	default:
		return clip(n.Value)
	}
}

// clip keeps a message on one line of a terminal.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// text takes a string. What YAML reads as something else is refused, as the cluster would refuse it.
func (c *checker) text(n *yaml.Node, at spot) (any, bool) {
	switch tag := n.ShortTag(); {
	case tag == "!!str" && n.Style == 0 && oldBoolean(n.Value):
		// YAML 1.1, which Kubernetes reads, takes these for booleans.
		c.report(placeOf(n), WrongType, at.path, "must be a string, and Kubernetes reads a bare %s as a boolean; write %q", n.Value, n.Value)
		return nil, false
	case tag == "!!str", tag == "!!timestamp":
		return n.Value, true
	case tag == "!!int", tag == "!!float", tag == "!!bool":
		c.report(placeOf(n), WrongType, at.path, "must be a string, not %s; %s", clip(n.Value), quotedAs(at.path, clip(n.Value)))
		return nil, false
	default:
		return c.wrongType(n, at, "a string")
	}
}

// quotedAs says what to write for a bare value: what would be refused for its range, too, is not proposed.
func quotedAs(path, value string) string {
	most, limits := 0, ""
	switch path {
	case drainAt:
		most, limits = drainMost, drainLimits
	case olderDrainAt:
		most, limits = drainOlderMost, fmt.Sprintf("%d to %d", drainLeast, drainOlderMost)
	}
	if n, err := strconv.Atoi(value); most == 0 || err == nil && n >= drainLeast && n <= most {
		return fmt.Sprintf("write %q", value)
	}
	return fmt.Sprintf(`write a whole number of seconds in quotes, %s, as in "30"`, limits)
}

// bytes takes bytes in base64, as JSON writes them.
func (c *checker) bytes(n *yaml.Node, at spot) (any, bool) {
	if _, err := base64.StdEncoding.DecodeString(n.Value); err != nil || n.ShortTag() != "!!str" {
		c.report(placeOf(n), Invalid, at.path, "%s is not in base64", strconv.Quote(clip(n.Value)))
		return nil, false
	}
	return n.Value, true
}

func oldBoolean(s string) bool {
	return slices.Contains([]string{"yes", "no", "on", "off"}, strings.ToLower(s))
}

func boolean(n *yaml.Node) (value, ok bool) {
	if n.ShortTag() == "!!bool" {
		return strings.EqualFold(n.Value, "true"), true
	}
	if n.ShortTag() == "!!str" && n.Style == 0 && oldBoolean(n.Value) {
		lower := strings.ToLower(n.Value)
		return lower == "yes" || lower == "on", true
	}
	return false, false
}

// number takes any number that JSON can write.
func number(n *yaml.Node) (f float64, ok bool) {
	if tag := n.ShortTag(); tag != "!!int" && tag != "!!float" {
		return 0, false
	}
	err := n.Decode(&f)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

func (c *checker) integer(n *yaml.Node, s *shape, at spot) (any, bool) {
	var i int64
	if err := n.Decode(&i); err != nil || float64(i) < s.min || float64(i) > s.max {
		if s.min < 0 && !strings.HasPrefix(n.Value, "-") { // whether it may be negative is the field's own matter
			c.report(placeOf(n), Invalid, at.path, "%s is out of range; it must be %.0f or less", clip(n.Value), s.max)
			return nil, false
		}
		c.report(placeOf(n), Invalid, at.path, "%s is out of range; it must be between %.0f and %.0f", clip(n.Value), s.min, s.max)
		return nil, false
	}
	return i, true
}

func (c *checker) enum(n *yaml.Node, s *shape, at spot) (any, bool) {
	if n.ShortTag() == "!!str" && slices.Contains(s.values, n.Value) {
		return n.Value, true
	}
	hint := ""
	if guess := nearest(n.Value, s.values); guess != "" {
		hint = fmt.Sprintf("; did you mean %s?", guess)
	}
	c.report(placeOf(n), Invalid, at.path, "must be one of %s, not %s%s", strings.Join(s.values, ", "), clip(n.Value), hint)
	return nil, false
}

func (c *checker) duration(n *yaml.Node, s *shape, at spot) (any, bool) {
	if _, err := strconv.ParseFloat(n.Value, 64); err == nil && n.Value != "0" {
		c.report(placeOf(n), Invalid, at.path, "%s has no unit; write \"%ss\" for seconds", clip(n.Value), clip(n.Value))
		return nil, false
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil {
		c.report(placeOf(n), Invalid, at.path, `%s is not a duration; write it as in "90s", "1m30s" or "500ms"`, strconv.Quote(clip(n.Value)))
		return nil, false
	}
	switch {
	case d >= s.least || d == 0 && s.zero != "":
	case s.zero != "":
		c.report(placeOf(n), Invalid, at.path, "%s is too short; it must be 0s, %s, or %s or more", n.Value, s.zero, s.least)
	default:
		c.report(placeOf(n), Invalid, at.path, "%s is too short; it must be %s or more, or be left out", n.Value, s.least)
	}
	return fmt.Sprintf("%d.%09ds", d/time.Second, max(0, d%time.Second)), true // as the JSON form of a Duration has it
}
