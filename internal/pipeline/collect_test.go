package pipeline

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestPercentOf(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]uint64{0: 100, 1 << 20: 100, 6 << 20: 100, 8 << 20: 50, 10 << 20: 20, 11 << 20: 10, 12 << 20: 10, 13 << 20: 10, 1 << 30: 10} {
		if got := percentOf(live); got != want {
			t.Errorf("%d bytes live: %d %%, want %d", live, got, want)
		}
	}
}

// After each collection the target is what fits what lives now.
func TestCollectOften(t *testing.T) { //nolint:paralleltest // the collector is the process's
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	CollectOften()
	var kept []byte
	for _, large := range []bool{false, true, false} {
		if kept = nil; large {
			kept = make([]byte, 64<<20)
		}
		now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		for wrong := true; wrong; wrong = (now[0].Value.Uint64() == aTenth) != large { // until the test's own time is over
			runtime.GC()
			metrics.Read(now)
		}
		runtime.KeepAlive(kept)
	}
}
