package pipeline

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A heap is looked at each time that it has grown by a tenth, and one of less than small bytes only when it comes to that, or
// has doubled.
const (
	aTenth = 10
	small  = 12 << 20
)

// CollectOften has garbage collected early, for as long as the process lives. What lives long in one that runs pipelines are few
// large buffers; at Go's default the heap would be let grow to twice their size before it is looked at, on a dyno of 512 MB. A
// tenth alone would have it looked at five times for each tiny backup and what a worker does beside it (GODEBUG=gctrace=1).
func CollectOften() {
	debug.SetGCPercent(aTenth)
	onCollection(func() {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/gogc:percent"}}
		metrics.Read(live)
		if percent := percentOf(live[0].Value.Uint64()); percent != live[1].Value.Uint64() {
			debug.SetGCPercent(int(percent)) //nolint:gosec // 100 at most
		}
	})
}

// percentOf is the collector's target (debug.SetGCPercent) where so many bytes live: Go's default at most.
func percentOf(live uint64) uint64 {
	if live >= small {
		return aTenth
	}
	return min(max(100*(small-live)/max(live, 1), aTenth), 100)
}

// onCollection has do called soon after each collection, or every other, by a goroutine of the runtime's.
func onCollection(do func()) {
	runtime.AddCleanup(&struct{ _ *int }{}, func(do func()) { // garbage at once, found by the next
		do()
		onCollection(do)
	}, do)
}
