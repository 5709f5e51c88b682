package notify

import (
	"context"
	"net/http"

	"github.com/remora-backup/remora/internal/redact"
)

// Ping calls a customer's own watch, with nothing in the request but its address. It goes by the same rules as a webhook: the
// host is checked when it is dialled, redirects are not followed, time and answer are bounded. Errors: *Failure.
func (s *Sender) Ping(ctx context.Context, to redact.Secret) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.Timeout)
	defer cancel()
	return s.post(ctx, to, http.Header{}, nil)
}
