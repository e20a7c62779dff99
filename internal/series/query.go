package series

import (
	"cmp"
	"fmt"
)

// By says into which curves what passed a service is taken apart.
type By string

// The ways.
const (
	Whole    By = "whole"    // one curve
	Version  By = "version"  // one for each version
	Endpoint By = "endpoint" // one for each endpoint, the busiest alone; the others together
)

// MostCurves is how many endpoints have curves of their own in one answer.
const MostCurves = 50

// A Query asks for curves.
type Query struct {
	Service string // "reviews:9080"
	Outside bool   // what came in from outside, instead of a service
	By      By     // "" is Whole
	From    int64  // Unix seconds at which the first step begins; rounded down to whole steps
	To      int64  // likewise, at which the last has ended
	Step    int    // in seconds
	Source  string // "" is what is kept; "prometheus" asks there
}

// Check returns what is wrong with q, in words for who asked, or "" with its zero values filled in and its times rounded.
func (q *Query) Check() string {
	q.By = cmp.Or(q.By, Whole)
	q.Step = cmp.Or(q.Step, 1)
	if wrong := q.what(); wrong != "" {
		return wrong
	}
	switch {
	case q.Step < 1 || q.Step > 24*3600:
		return fmt.Sprintf("step is %d; it is a number of seconds, 1 to 86400", q.Step)
	case q.From < 0 || q.From >= q.To:
		return fmt.Sprintf("from is %d and to is %d; they are Unix seconds, from before to", q.From, q.To)
	}
	step := int64(q.Step)
	if (q.To-1)/step-q.From/step >= MostSteps {
		return fmt.Sprintf("that is more than %d steps; take a longer one", MostSteps)
	}
	q.From -= q.From % step
	q.To += (step - q.To%step) % step
	return ""
}

// what returns what is wrong with what is asked for.
func (q *Query) what() string {
	switch {
	case q.By != Whole && q.By != Version && q.By != Endpoint:
		return fmt.Sprintf("by is %q; it is whole, version or endpoint", q.By)
	case q.Outside && (q.Service != "" || q.By != Whole):
		return "outside is all that came in from outside: it takes neither a service nor by"
	case !q.Outside && q.Service == "":
		return "service is missing"
	}
	return ""
}

// MostSteps bounds the steps of one answer.
const MostSteps = 4000

// Steps returns how many steps q has, once it is checked.
func (q *Query) Steps() int { return int((q.To - q.From) / int64(q.Step)) }
