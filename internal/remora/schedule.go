package remora

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Daily is the schedule every database has from its first attachment on: once a day at a minute of the day,
// in UTC.
type Daily struct {
	Minute int // 0 to 1439
}

// quietFrom and quietMinutes bound the hours in which default schedules are spread: 02:00 to 08:00 UTC is
// night in the Americas and early morning in Europe, where Heroku's two common regions are.
const (
	quietFrom    = 2 * 60
	quietMinutes = 6 * 60
)

// DefaultDaily spreads databases over the quiet hours, each at a minute of its own that never changes, so
// that midnight is no herd.
func DefaultDaily(id DatabaseID) Daily {
	sum := sha256.Sum256([]byte("daily\x00" + string(id)))
	return Daily{Minute: quietFrom + int(binary.BigEndian.Uint32(sum[:4])%quietMinutes)}
}

// Next is the first occurrence after t, in UTC.
func (d Daily) Next(t time.Time) time.Time {
	t = t.UTC()
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, d.Minute, 0, 0, time.UTC)
	if !day.After(t) {
		day = day.AddDate(0, 0, 1)
	}
	return day
}
