package retention_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

var update = flag.Bool("update", false, "write the golden files again")

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// history is what there is of a database.
type history struct {
	backups []remora.Backup
	locks   []remora.BackupID
}

func (h *history) add(at time.Time, s remora.BackupState) {
	h.backups = append(h.backups, remora.Backup{ID: remora.BackupID(fmt.Sprintf("%05d", len(h.backups))), State: s, QueuedAt: at, StartedAt: at})
}

// every adds backups from so long ago until so long ago; state may say what the n-th became.
func every(step, from, to time.Duration, state func(n int) remora.BackupState) history {
	var h history
	for n, at := 0, now.Add(-from); !at.After(now.Add(-to)); n, at = n+1, at.Add(step) {
		s := remora.BackupVerified
		if state != nil {
			s = state(n)
		}
		h.add(at, s)
	}
	return h
}

const day = 24 * time.Hour

func histories() map[string]history {
	all := map[string]history{
		"daily":  every(day, 500*day-9*time.Hour, 9*time.Hour, nil),
		"hourly": every(time.Hour, 45*day, 0, nil), // over the end of summer time in Europe and the Americas
		"six-hours-some-failed": every(6*time.Hour, 40*day, time.Hour, func(n int) remora.BackupState {
			return []remora.BackupState{remora.BackupVerified, remora.BackupFailed, remora.BackupVerified, remora.BackupCanceled, remora.BackupProven}[n%5]
		}),
		"failing-for-two-months": every(day, 120*day, 0, func(n int) remora.BackupState {
			if n < 60 {
				return remora.BackupVerified
			}
			return remora.BackupFailed
		}),
		"incomplete-now-and-then": every(12*time.Hour, 60*day, 0, func(n int) remora.BackupState {
			if n%3 == 0 || n%4 == 0 {
				return remora.BackupIncomplete
			}
			return remora.BackupVerified
		}),
		"always-incomplete": every(day, 90*day, 0, func(int) remora.BackupState { return remora.BackupIncomplete }),
		"monthly":           every(30*day, 2400*day, day, nil),
		"empty":             {},
		"one-old":           every(day, 800*day, 800*day, nil),
	}
	many := every(day, 30*day, day, nil) // then a day of many clicks
	for n := range 12 {
		many.add(now.Add(-time.Duration(120-10*n)*time.Minute), remora.BackupVerified)
	}
	all["many-in-a-day"] = many
	locked := every(day, 100*day, time.Hour, func(n int) remora.BackupState {
		if n == 40 {
			return remora.BackupProven
		}
		return remora.BackupVerified
	})
	locked.locks = []remora.BackupID{"00003", "00050"}
	all["two-locked"] = locked
	live := every(day, 10*day, day, nil) // one was begun before midnight and is being made
	live.add(now.Add(-13*time.Hour), remora.BackupRunning)
	all["one-running"] = live
	return all
}

func policies() map[string]remora.Retention {
	return map[string]remora.Retention{
		"nothing":       {Zone: "UTC"},
		"last-5":        {Last: 5, Zone: "UTC"},
		"days-7":        {Days: 7, Zone: "UTC"},
		"daily-7":       {Daily: 7, Zone: "UTC"},
		"grandfather":   {Daily: 7, Weekly: 4, Monthly: 12, Yearly: 3, Zone: "Europe/Berlin"},
		"hourly":        {Hourly: 30, Daily: 14, Zone: "America/New_York"},
		"weeks-kolkata": {Weekly: 6, Monthly: 2, Zone: "Asia/Kolkata"},
		"default-mako":  remora.DefaultRetention(plan("mako")),
	}
}

func plan(slug string) remora.Plan {
	p, err := remora.PlanOf(slug)
	if err != nil {
		panic(err)
	}
	return p
}

// Every policy on every history, as pages of reasons that a person has read. The plan is without caps, but for two.
func TestGolden(t *testing.T) {
	t.Parallel()
	for pname, r := range policies() {
		for hname, h := range histories() {
			compare(t, pname+"_"+hname, r, remora.Plan{Name: "none"}, h)
		}
	}
	long := remora.Retention{Last: 500, Zone: "UTC"}
	for _, slug := range []string{"test", "mako"} {
		for hname, h := range histories() {
			compare(t, "plan-"+slug+"_"+hname, long, plan(slug), h)
		}
	}
}

func compare(t *testing.T, name string, r remora.Retention, p remora.Plan, h history) {
	t.Helper()
	got := page(t, r, p, h)
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; read it, then go test -update. It is now:\n%s", file, got)
	}
}

// page writes verdicts down. Backups one after another with the same fate for the same reasons are one line.
func page(t *testing.T, r remora.Retention, p remora.Plan, h history) string {
	t.Helper()
	verdicts, err := retention.Decide(r, p, now, h.backups, h.locks)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "keeps %s, by the clocks of %s\n", retention.Words(r), r.Zone)
	if p.KeepDays > 0 {
		fmt.Fprintf(&b, "plan: at most %d days and %d backups\n", p.KeepDays, p.KeepCount)
	}
	counts := map[retention.Fate]int{}
	for _, v := range verdicts {
		counts[v.Fate]++
	}
	fmt.Fprintf(&b, "%d kept, %d removed, %d not counted\n\n", counts[retention.Kept], counts[retention.Removed], counts[retention.NotCounted])
	for i := 0; i < len(verdicts); {
		n := 1
		for i+n < len(verdicts) && line(verdicts[i+n]) == line(verdicts[i]) {
			n++
		}
		fmt.Fprint(&b, stamp(retention.At(verdicts[i].Backup)))
		if n > 1 {
			fmt.Fprintf(&b, " to %s, %d of them", stamp(retention.At(verdicts[i+n-1].Backup)), n)
		}
		fmt.Fprintf(&b, ": %s\n", line(verdicts[i]))
		i += n
	}
	return b.String()
}

func stamp(t time.Time) string { return t.UTC().Format("Mon 2006-01-02 15:04") }

func line(v retention.Verdict) string {
	out := fmt.Sprintf("%s, %s", v.Backup.State, v.Fate)
	for i, r := range v.Reasons {
		out += []string{": ", "; "}[min(i, 1)] + r.String()
	}
	if at, ok := v.Until(); ok {
		out += fmt.Sprintf(" (until %s or later)", stamp(at))
	}
	return out
}

// BenchmarkDecide decides on ten thousand backups of one database, as its page does.
func BenchmarkDecide(b *testing.B) {
	backups := make([]remora.Backup, 10_000)
	for i := range backups {
		at := now.Add(-time.Duration(i) * 6 * time.Hour)
		backups[i] = remora.Backup{ID: remora.NewID[remora.BackupID](), State: remora.BackupVerified, QueuedAt: at, StartedAt: at.Add(time.Minute), EndedAt: at.Add(2 * time.Minute)}
		if i%10 == 3 {
			backups[i].State = remora.BackupIncomplete
		}
	}
	plan, err := remora.PlanOf("great-white")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := retention.Decide(remora.DefaultRetention(plan), plan, now, backups, nil); err != nil {
			b.Fatal(err)
		}
	}
}
