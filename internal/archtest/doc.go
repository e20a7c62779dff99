// Package archtest holds the code to the plan in docs/architecture.md, whose tables it reads: who may import
// whom, which modules a room may bring in, and the house rules that lint cannot say. It has tests only.
package archtest
