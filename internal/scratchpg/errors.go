package scratchpg

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLState is the server's code for an error, or "".
func SQLState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
