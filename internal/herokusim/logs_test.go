package herokusim

import "testing"

func TestFramesAreTakenApart(t *testing.T) {
	t.Parallel()
	const one = "93 <190>1 2026-01-02T03:04:05+00:00 remora-backup app backup.1 - - event=backup.succeeded run=r1" // the documentation's
	const two = "67 <190>1 2026-01-02T03:04:05+00:00 remora-backup app a.1 - - x=söhne"
	if got, err := parseFrames([]byte(one + two)); err != nil || len(got) != 2 || got[1] != two[3:] {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{
		"94" + one[2:], "92" + one[2:], one[3:], one + "\n", "0" + one, "-1 x", "5 hello", "93 ", one + two[:30],
	} {
		if got, err := parseFrames([]byte(bad)); err == nil {
			t.Errorf("%q was taken as %q", bad, got)
		}
	}
}
