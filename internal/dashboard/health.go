package dashboard

import "github.com/remora-backup/remora/internal/remora"

// health is how a database stands, in one word.
type health struct {
	State string // a class of the style sheet, and the word
	Says  string
}

// fresh is the one state in which nobody need look closer.
const fresh = string(remora.Fresh)

// Health is how the database stands.
func (c card) Health() health {
	switch {
	case c.State == remora.DatabaseRefused:
		return health{"refused", "It is not backed up: what is attached must not be used."}
	case c.State == remora.DatabaseDetached:
		return health{"detached", "It is not backed up any more: no credential is attached."}
	case c.Pause != nil:
		return health{"paused", "Its schedule is paused: nothing is backed up until somebody resumes it."}
	case c.Freshness == nil:
		return health{string(remora.Never), "There is no verified backup yet."}
	}
	return health{string(c.Freshness.State), c.Freshness.Says()}
}
