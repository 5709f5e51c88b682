package jobworkers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/pipeline"
	"github.com/remora-backup/remora/internal/remora"
)

// A server that says that it has a small database and sends for ever is left when there is more than the plan's largest
// database can come to.
func TestAnEndlessDatabaseIsLeft(t *testing.T) {
	t.Parallel()
	for _, plan := range remora.Plans() {
		ctx, stop := context.WithCancelCause(t.Context())
		h := heart{lost: stop, most: mostStored(plan)}
		h.progress(pipeline.Progress{Out: 2 * plan.LargestDatabase})
		if ctx.Err() != nil {
			t.Errorf("%s: %v", plan.Slug, context.Cause(ctx))
		}
		h.progress(pipeline.Progress{Out: 2*plan.LargestDatabase + 1})
		var f *remora.Failure
		if !errors.As(context.Cause(ctx), &f) || f.Reason != remora.ReasonTooLarge || !strings.Contains(f.Detail, remora.Bytes(2*plan.LargestDatabase)) {
			t.Errorf("%s: %v", plan.Slug, context.Cause(ctx))
		}
	}
}
