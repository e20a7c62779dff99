// Package effects shows that every field of configuration that is applied changes traffic. It has tests only: each
// loads YAML as crossfade does, serves it on loopback, sends requests, changes one field, and sends them again.
package effects
