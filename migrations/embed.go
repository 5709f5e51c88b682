// Package migrations holds the numbered SQL files that make our own database, for the release phase, the
// tests and the demo alike. They go forward only, and each is safe for the release before it.
package migrations

import "embed"

// Files are the migrations, in goose's form.
//
//go:embed *.sql
var Files embed.FS
