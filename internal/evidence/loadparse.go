package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Bounds on a load report: who reads one reads it from anybody.
const (
	MaxLoad    = 4 << 10 // bytes, as it comes
	MaxMetrics = 64      // of all kinds
)

// ErrLoad is what every error about a load report is.
var ErrLoad = errors.New("a load report that cannot be read")

// ParseLoadHeader reads a report as the field endpoint-load-metrics has it: in any of the three forms. It is an error, an
// ErrLoad, when it is longer than MaxLoad or has more than MaxMetrics, names anything that there is not, says something
// twice or says what is no number, not finite, or out of the bounds that its kind has.
func ParseLoadHeader(value []byte) (Load, error) {
	form, rest, _ := bytes.Cut(value, []byte{' '})
	if len(value) > MaxLoad {
		return Load{}, tooLong(len(value))
	}
	r := reader{seen: map[string]bool{}}
	var err error
	switch string(form) {
	case "TEXT":
		err = r.text(rest)
	case "JSON":
		err = r.json(rest)
	case "BIN":
		err = r.base64(bytes.TrimSpace(rest))
	default:
		err = errors.New(`it begins with none of "TEXT", "JSON" and "BIN"`)
	}
	return r.read(err)
}

// ParseLoadTrailer reads a report as the trailer endpoint-load-metrics-bin has it, padded or not. Errors are those of
// ParseLoadHeader; of fields that there are not, it takes no notice.
func ParseLoadTrailer(value []byte) (Load, error) {
	if len(value) > MaxLoad {
		return Load{}, tooLong(len(value))
	}
	r := reader{seen: map[string]bool{}}
	return r.read(r.base64(value))
}

func tooLong(n int) error { return fmt.Errorf("%w: it has %d bytes", ErrLoad, n) }

// A reader is a load in the making.
type reader struct {
	load    Load
	metrics int
	seen    map[string]bool
}

// read is what was read, unless err was met.
func (r *reader) read(err error) (Load, error) {
	if err != nil {
		return Load{}, fmt.Errorf("%w: %w", ErrLoad, err)
	}
	for _, f := range r.load.families() {
		slices.SortFunc(*f.metrics, func(a, b Metric) int { return byName(a, b.Name) })
	}
	return r.load, nil
}

// own takes one of a load's own numbers, by the name that it has as text.
func (r *reader) own(name string, v float64) error {
	switch {
	case r.seen[name]:
		return fmt.Errorf("%s twice", name)
	case !finite(v) || v < 0 || name == "mem_utilization" && v > 1:
		return fmt.Errorf("%s is %v", name, v)
	}
	if r.seen[name] = true; name == "rps" {
		if r.load.Requests == 0 { // the older of two names, and whole numbers only
			r.load.Requests = v
		}
		return nil
	}
	known := false
	r.load.numbers(func(_ int, its string, value *float64) bool {
		if known = its == name; known {
			*value = v
		}
		return !known
	})
	if !known {
		return fmt.Errorf("there is no %q", name)
	}
	return nil
}

// metric takes one of a family.
func (r *reader) metric(f *family, name string, v float64) error {
	full := f.prefix + name
	switch {
	case !plainName(name):
		return fmt.Errorf("%q is no name", full)
	case r.seen[full]:
		return fmt.Errorf("%s twice", full)
	case !finite(v) || f.within && (v < 0 || v > 1):
		return fmt.Errorf("%s is %v", full, v)
	case r.metrics == MaxMetrics:
		return fmt.Errorf("it has more than %d metrics", MaxMetrics)
	}
	r.metrics++
	r.seen[full] = true
	*f.metrics = append(*f.metrics, Metric{Name: name, Value: v})
	return nil
}

// text reads "cpu_utilization=0.7,named_metrics.foo=123"; a colon does as well.
func (r *reader) text(b []byte) error {
	for entry := range strings.SplitSeq(string(b), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		at := strings.IndexByte(entry, '=')
		if at < 0 {
			at = strings.IndexByte(entry, ':')
		}
		if at < 0 {
			return fmt.Errorf("%q has no value", entry)
		}
		name := strings.TrimSpace(entry[:at])
		v, err := number(strings.TrimSpace(entry[at+1:]))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := r.named(name, v); err != nil {
			return err
		}
	}
	return nil
}

// named takes a number by its whole name as text.
func (r *reader) named(name string, v float64) error {
	for _, f := range r.load.families() {
		if metric, ok := strings.CutPrefix(name, f.prefix); ok {
			return r.metric(&f, metric, v)
		}
	}
	if name == "rps" {
		return fmt.Errorf("there is no %q", name)
	}
	return r.own(name, v)
}

func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.ContainsAny(s, "xXpP_") { // a decimal number
		return 0, fmt.Errorf("%q is no number", s)
	}
	return v, nil
}

// json reads the message as JSON (https://protobuf.dev/programming-guides/json/): names in either spelling, numbers also
// in quotes.
func (r *reader) json(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err := object(d, func(key string) error {
		name := snake(key)
		for _, f := range r.load.families() {
			if name+"." == f.prefix {
				return object(d, func(metric string) error {
					v, err := value(d)
					if err != nil {
						return err
					}
					return r.metric(&f, metric, v)
				})
			}
		}
		v, err := value(d)
		if err != nil {
			return err
		}
		return r.own(name, v)
	})
	if err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

// object reads one, and has each of its values read.
func object(d *json.Decoder, value func(key string) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errors.New("it has no object where one must be"), err)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return errors.New("a key is no string")
		}
		if err := value(key); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func value(d *json.Decoder) (float64, error) {
	t, err := d.Token()
	if err != nil {
		return 0, err
	}
	switch v := t.(type) {
	case json.Number:
		return number(v.String())
	case string:
		return number(v)
	default:
		return 0, fmt.Errorf("%v is no number", t)
	}
}

// snake writes "cpuUtilization" as "cpu_utilization".
func snake(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if 'A' <= c && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}
