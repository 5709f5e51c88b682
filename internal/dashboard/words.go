package dashboard

import (
	"fmt"
	"html/template"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// functions are what templates say things with.
var functions = template.FuncMap{
	"bytes": bytesText, "ago": ago, "length": length, "took": took, "utc": utc, "until": until, "percent": percent,
	"sentence":  func(r remora.Reason) string { return r.Sentence() },
	"owneronly": remora.OwnerOnly, "actor": actorText, "phase": phase,
}

func bytesText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	v, unit := float64(n), 0
	for v >= 999.5 && unit < 5 {
		v /= 1000
		unit++
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %s", v, []string{"", "kB", "MB", "GB", "TB", "PB"}[unit])
	}
	return fmt.Sprintf("%.0f %s", v, []string{"", "kB", "MB", "GB", "TB", "PB"}[unit])
}

func length(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

func ago(now, t time.Time) string {
	if now.Sub(t) < 5*time.Second {
		return "just now"
	}
	return length(now.Sub(t)) + " ago"
}

func until(now, t time.Time) string {
	if !t.After(now) {
		return "now"
	}
	return "in " + length(t.Sub(now))
}

func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return "–"
	}
	return length(to.Sub(from))
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func percent(p *remora.Progress) int {
	if p == nil || p.TablesTotal == 0 {
		return 0
	}
	return 100 * p.TablesDone / p.TablesTotal
}

func phase(s remora.RunState) string {
	switch s {
	case remora.RunClaimed:
		return "connecting"
	case remora.RunConfirming:
		return "confirming what was stored"
	default:
		return "reading"
	}
}

func actorText(r remora.Reason) string {
	switch r.Actor() {
	case remora.ActorCustomer:
		return "This needs you."
	case remora.ActorUs:
		return "This is ours to mend."
	default:
		return "Nobody needs to act."
	}
}
