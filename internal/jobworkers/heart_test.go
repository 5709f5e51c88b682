package jobworkers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

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

// What decides over a finished archive is tried again, but not what was overtaken, nor for ever.
func TestWhatDecidesIsTriedAgain(t *testing.T) {
	t.Parallel()
	away, stale := errors.New("the connection was reset"), &remora.Error{Kind: remora.KindStale}
	for _, c := range []struct {
		answers []error
		want    error
		times   int
	}{
		{[]error{nil}, nil, 1}, {[]error{away, nil}, nil, 2}, {[]error{away, stale}, stale, 2}, {[]error{stale, nil}, stale, 1}, {[]error{away, away, away, nil}, away, 3},
	} {
		n := 0
		err := again(t.Context(), time.Nanosecond, func() error { n++; return c.answers[n-1] })
		if !errors.Is(err, c.want) || n != c.times {
			t.Errorf("%v: %v after %d", c.answers, err, n)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	if err := again(ended, time.Hour, func() error { n++; return away }); !errors.Is(err, away) || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}
