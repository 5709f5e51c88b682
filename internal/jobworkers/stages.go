package jobworkers

import (
	"log/slog"
	"time"

	"github.com/remora-backup/remora/internal/pipeline"
)

// The stages of a run, in their order; those of the archive itself are the pipeline's.
const (
	stageClaim      = "claim"      // the run is written down
	stageCredential = "credential" // Heroku is asked where the database is
	stageServer     = "server"     // its name is resolved, and the server asked who it is
	stageRecord     = "record"     // how the run ended is written down
)

func stageNames() []string {
	return append(append([]string{stageClaim, stageCredential, stageServer}, pipeline.Stages()...), stageRecord)
}

// stages are where a run's time goes. One ends where the next begins.
type stages struct {
	now   func() time.Time
	name  string
	since time.Time
	done  []stage
}

type stage struct {
	name string
	took time.Duration
}

func (s *stages) begin(name string) {
	s.end()
	s.name, s.since = name, s.now()
}

func (s *stages) end() {
	if s.name != "" {
		s.done = append(s.done, stage{s.name, s.now().Sub(s.since)})
		s.name = ""
	}
}

// total is the time of the stages that have ended.
func (s *stages) total() (all time.Duration) {
	for _, x := range s.done {
		all += x.took
	}
	return all
}

// attr is for the log: each stage's time, the last of them the one in which a run failed.
func (s *stages) attr() slog.Attr {
	var all []any
	for _, x := range s.done {
		all = append(all, slog.Duration(x.name, x.took.Round(time.Millisecond)))
	}
	return slog.Group("stages", all...)
}
