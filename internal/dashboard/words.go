package dashboard

import (
	"encoding/hex"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// functions are what templates say things with.
var functions = template.FuncMap{
	"bytes": bytesText, "ago": ago, "length": length, "took": took, "utc": utc, "until": until, "percent": percent,
	"frameOf": frameOf, "when": when, "share": share, "clock": clock, "clocks": clocks, "day": day, "thousands": thousands, "brief": brief,
	"wholly": whollyOf, "wrongAt": wrongAt,
	"pieces":    func(name string) []string { return strings.SplitAfter(name, "_") }, // between which a long name may break
	"sentence":  func(r remora.Reason) string { return r.Sentence() },
	"number":    func(d time.Weekday) int { return int(d) },
	"owneronly": remora.OwnerOnly, "actor": actorText, "phase": phaseText, "hex": hex.EncodeToString, "untilOf": untilOf,
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

// brief is the beginning of a reason's sentence, for a row of a table; its page has all of it.
func brief(r remora.Reason) string {
	s := r.Sentence()
	if i := strings.IndexAny(s, ".:;"); i >= 0 {
		s = s[:i] + "."
	}
	return s
}

// when is a time as pages tell it, relative, with the exact one for who asks.
func when(now, t time.Time) template.HTML {
	words := ago(now, t)
	if t.After(now) {
		words = until(now, t)
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.UTC().Format(time.RFC3339), utc(t), words)) //nolint:gosec // of times alone
}

// share is how much of a limit is used, in percent, at most 100.
func share(used, limit int64) int64 {
	if limit <= 0 {
		return 0
	}
	return min(100, (100*used+limit-1)/limit)
}

// clock is a time of the day, as plans are made by; day is a date.
func clock(t time.Time) string { return t.UTC().Format("15:04 UTC") }
func day(t time.Time) string   { return t.UTC().Format("2 Jan 2006") }

// clocks is a time of the day by the clocks of a schedule's zone and in UTC.
func clocks(zone string, t time.Time) string {
	local, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "UTC" {
		return "at " + clock(t)
	}
	return "at " + t.In(local).Format("15:04") + " in " + zone + ", " + clock(t)
}

// thousands writes a count with its thousands apart, by a space that no line breaks at.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func percent(p *remora.Progress) int {
	if p == nil || p.TablesTotal == 0 {
		return 0
	}
	return 100 * p.TablesDone / p.TablesTotal
}

func phaseText(s remora.RunState) string {
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
