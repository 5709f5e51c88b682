// Package remora holds our words and decisions: what a resource, a database, a backup and a run are, which
// states they go through, why a backup fails and who must act, what a plan allows, when a schedule is due.
//
// It does no I/O and imports redact and a UUID type only, so that every rule of the product
// can be read, and tested, in one place.
package remora
