// Package e2e keeps the promises of the whole system under test, one test per promise, with the shipped
// binaries as separate processes, real sockets and real load. It knows what a user knows: commands, YAML,
// counters, process ids. Build with -tags integration; tests run one after the other, on the default ports.
//
// What is asserted are counts and ratios, never durations. CROSSFADE_FULL=1 takes the windows that the README
// speaks of instead of short ones of the same fractions; CROSSFADE_SEED repeats a random run.
package e2e
