package remora_test

import (
	"testing"

	"github.com/remora-backup/remora/internal/remora"
)

func TestEveryRegionHasAPool(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]remora.Pool{
		"amazon-web-services::us-east-1": remora.PoolUS, "amazon-web-services::us-west-2": remora.PoolUS, "us": remora.PoolUS, "": remora.PoolUS,
		"amazon-web-services::eu-west-1": remora.PoolEU, "amazon-web-services::eu-central-1": remora.PoolEU, "eu": remora.PoolEU, "eu-west-2": remora.PoolEU,
		"amazon-web-services::ap-northeast-1": remora.PoolUS, "europa": remora.PoolUS, "moon::europe-1": remora.PoolUS,
	} {
		if got := remora.PoolOf(region); got != want || !got.Known() {
			t.Errorf("%q: %s", region, got)
		}
	}
	if remora.Pool("moon").Known() || remora.Pool("").Known() {
		t.Error("a pool that is none")
	}
}
