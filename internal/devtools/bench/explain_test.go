package main

import (
	"maps"
	"testing"
)

// What pprof prints of three samples: a table's rows, an object's bytes on their way, and the runtime's own.
const traces = `File: bench
Type: cpu
Duration: 1.05s, Total samples = 60ms ( 5.71%)
-----------+-------------------------------------------------------
      30ms   crypto/internal/fips140/sha256.blockSHANI
             github.com/remora-backup/remora/internal/pgarchive.(*counter).take
             github.com/remora-backup/remora/internal/pgarchive.(*recoder).send
-----------+-------------------------------------------------------
      20ms   crypto/internal/fips140/sha256.blockSHANI
             github.com/remora-backup/remora/internal/objectstore.(*Upload).Write
             filippo.io/age/internal/stream.(*EncryptWriter).Write
             github.com/remora-backup/remora/internal/seal.(*Writer).Write
-----------+-------------------------------------------------------
      10ms   runtime.futex
-----------+-------------------------------------------------------
`

func TestShares(t *testing.T) {
	t.Parallel()
	got, err := shares(traces)
	want := map[string]float64{"counting and digesting rows": 30, "digesting stored objects": 20, "scheduling, the rest": 10}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	if _, err := shares("-----------+\n 1.5 parsecs\n"); err == nil {
		t.Error("what pprof does not print is read")
	}
}
