// Package settings reads, checks, changes and writes the documents of a configuration for people who edit them on a page: one
// document at a time, with everything else in its file as it was.
package settings
