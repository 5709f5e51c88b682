package pipeline

import (
	"runtime"
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

// After a few collections the target is what fits what lives now. It stays so for all tests of this package.
func TestCollectOften(t *testing.T) { //nolint:paralleltest // the collector is the process's
	CollectOften()
	var kept []byte
	for _, large := range []bool{false, true, false} {
		if kept = nil; large {
			kept = make([]byte, 64<<20)
		}
		now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		for tries := 0; tries == 0 || (now[0].Value.Uint64() == aTenth) != large; tries++ {
			if tries == 1000 {
				t.Fatalf("large: %t, and the target is %d %%", large, now[0].Value.Uint64())
			}
			runtime.GC()
			metrics.Read(now)
		}
		runtime.KeepAlive(kept)
	}
}
