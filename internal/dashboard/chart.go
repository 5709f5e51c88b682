package dashboard

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// chart is a line over time, drawn on the server: coordinates of an SVG of chartWidth by chartHeight.
type chart struct {
	Title, Says string // Says is for those who do not see it
	Line, Area  string // of points, and of a path below them
	Dots        []dot
	Marks       []mark // of the value axis
	From, To    time.Time
	Last        string
}

// Begin and End are what stands at the ends of the time axis; of one day, times.
func (c *chart) Begin() string {
	if day(c.From) == day(c.To) {
		return day(c.From) + ", " + clock(c.From)
	}
	return day(c.From)
}

// End is the other one.
func (c *chart) End() string {
	if day(c.From) == day(c.To) {
		return clock(c.To)
	}
	return day(c.To)
}

type dot struct {
	X, Y float64
	Says string
}

type mark struct {
	Y, TextY float64
	Says     string
}

// The measures of a chart, in units of its view box.
const (
	chartWidth, chartHeight                  = 640.0, 170.0
	chartLeft, chartRight, chartTop, chartUp = 62.0, 10.0, 12.0, 24.0 // what is left free around the line
)

// draw draws values over time, oldest first; at least two.
func draw(title string, at []time.Time, values []float64, say func(float64) string) *chart {
	least, most := values[0], values[0]
	for _, v := range values {
		least, most = min(least, v), max(most, v)
	}
	top := nice(most)
	span := at[len(at)-1].Sub(at[0]).Seconds()
	y := func(v float64) float64 { return chartHeight - chartUp - v/top*(chartHeight-chartUp-chartTop) }
	c := &chart{Title: title, From: at[0], To: at[len(at)-1], Last: say(values[len(values)-1])}
	var line strings.Builder
	for i, v := range values {
		share := float64(i) / float64(len(values)-1)
		if span > 0 {
			share = at[i].Sub(at[0]).Seconds() / span
		}
		d := dot{round(chartLeft + share*(chartWidth-chartLeft-chartRight)), round(y(v)), at[i].UTC().Format("2 Jan 2006 15:04 UTC") + ": " + say(v)}
		c.Dots = append(c.Dots, d)
		fmt.Fprintf(&line, "%g,%g ", d.X, d.Y)
	}
	c.Line = strings.TrimSpace(line.String())
	base := chartHeight - chartUp
	c.Area = fmt.Sprintf("M%g,%g L%s L%g,%g Z", c.Dots[0].X, base, strings.ReplaceAll(c.Line, " ", " L"), c.Dots[len(c.Dots)-1].X, base)
	for _, share := range []float64{0, .5, 1} {
		c.Marks = append(c.Marks, mark{round(y(top * share)), round(y(top*share)) + 4, say(top * share)})
	}
	c.Says = fmt.Sprintf("%s of the last %d good backups: %s at first, %s at last, between %s and %s.", title, len(values), say(values[0]), c.Last, say(least), say(most))
	return c
}

// nice is the next number of the form 1, 2 or 5 times a power of ten, where an axis ends.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if v <= f*unit {
			return f * unit
		}
	}
	return 10 * unit
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

// stripLength is how many runs a strip shows.
const stripLength = 30

// strip is a database's last backups side by side, oldest first. Says is the same in words, and stands below.
type strip struct {
	Says string
	Bars []bar
}

type bar struct {
	X, Y, Height float64
	State        remora.BackupState
	Says         string
}

// Strip draws the newest backups: a good one is tall, one with a hole is half as tall, one that came to nothing is low.
func (c card) Strip() strip {
	newest := c.Backups[:min(len(c.Backups), stripLength)]
	var s strip
	counts := map[remora.BackupState]int{}
	for i, b := range newest {
		counts[b.State]++
		height := 30.0
		switch {
		case b.State.Good() || b.State == remora.BackupExpired || b.State == remora.BackupDeleted:
		case b.State == remora.BackupIncomplete || !b.State.Ended():
			height = 18
		default:
			height = 9
		}
		s.Bars = append(s.Bars, bar{float64(10*(stripLength-1-i)) + 1, 32 - height, height, b.State, string(b.State) + ", " + b.QueuedAt.UTC().Format("2 Jan 2006 15:04 UTC")})
	}
	var parts []string
	for _, state := range []remora.BackupState{
		remora.BackupProven, remora.BackupVerified, remora.BackupIncomplete, remora.BackupFailed, remora.BackupCanceled,
		remora.BackupRunning, remora.BackupQueued, remora.BackupExpired, remora.BackupDeleted,
	} {
		if counts[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
		}
	}
	s.Says = fmt.Sprintf("The last %d backups, newest on the right: %s.", len(newest), strings.Join(parts, ", "))
	if len(newest) == 1 {
		s.Says = "The only backup so far: " + parts[0] + "."
	}
	return s
}
