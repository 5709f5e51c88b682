package notify

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Callable tells somebody who saves an address whether its host may be called, as it resolves now. It is for his sake: each call asks again,
// at the moment of dialling. What cannot be resolved, in 3 s at most, may be tomorrow. Errors: KindInvalid.
func Callable(ctx context.Context, policy dialer.Policy, resolver dialer.Resolver, address redact.Secret) error {
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Hostname() == "" { // which is told elsewhere, and the error quotes the address
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var refused *dialer.RefusedError
	if _, err := policy.Resolve(ctx, resolver, u.Hostname()); errors.As(err, &refused) {
		return remora.Invalid("This address leads to a network that is not public, which we call nobody in. Give one that is reached from the internet.")
	}
	return nil
}
