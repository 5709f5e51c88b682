package jobworkers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/notify"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// CourierConfig is what a courier needs. It knows nothing of Heroku's API, of archives or of customers' databases.
type CourierConfig struct {
	Store   *postgres.Store
	Sender  *notify.Sender
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// PerResource is how many messages and pings of one resource are on their way at a time in this process, so that an
	// other side that never answers keeps nobody else's news waiting. Default 3.
	PerResource int
}

// Courier does the work of the queue of news. The web process has one, so that news goes out with every worker stopped.
type Courier struct {
	CourierConfig
	messages *prometheus.CounterVec
	seats    *seats
}

// NewCourier returns the courier. It does no I/O.
func NewCourier(cfg CourierConfig) (*Courier, error) {
	if cfg.Store == nil || cfg.Sender == nil || cfg.Log == nil || cfg.Metrics == nil {
		return nil, errors.New("jobworkers: a dependency is missing")
	}
	cfg.PerResource = cmp.Or(cfg.PerResource, 3)
	c := &Courier{CourierConfig: cfg, seats: &seats{most: cfg.PerResource, of: map[remora.ResourceID]int{}}, messages: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "remora_messages_total", Help: "Tries to deliver a message, by kind of channel and outcome.",
	}, []string{"channel", "outcome"})}
	cfg.Metrics.MustRegister(c.messages)
	for _, kind := range []remora.ChannelKind{remora.ChannelLogStream, remora.ChannelEmail, remora.ChannelWebhook, remora.ChannelSlack} {
		for _, outcome := range []remora.DeliveryState{remora.DeliverySent, remora.DeliveryQueued, remora.DeliveryFailed} {
			c.messages.WithLabelValues(string(kind), string(outcome))
		}
	}
	return c, nil
}

// Register adds the courier's workers to River's list, and those of every other kind of job: this process may lead, and a
// leader drops jobs of kinds that it does not know. It does not work their queues.
func (c *Courier) Register(to *river.Workers) {
	c.register(to)
	(*Workers)(nil).register(to)
	(*Verifier)(nil).Register(to)
	(*Deleter)(nil).Register(to)
}

func (c *Courier) register(to *river.Workers) {
	river.AddWorker(to, &planNews{Courier: c})
	river.AddWorker(to, &deliverNews{Courier: c})
	river.AddWorker(to, &ping{Courier: c})
}

// planNews makes messages of what waits to be told of a resource.
type planNews struct {
	river.WorkerDefaults[jobargs.PlanNews]
	*Courier
}

// Work implements river.Worker.
func (w *planNews) Work(ctx context.Context, job *river.Job[jobargs.PlanNews]) error {
	err := w.Store.PlanNews(ctx, job.Args.Resource)
	if err != nil {
		w.Log.ErrorContext(ctx, "news were not made into messages", "resource_id", job.Args.Resource, "attempt", job.Attempt, "error", err)
	}
	return err
}

// deliverNews tries to deliver one message. A message may arrive twice where the process is killed between its arrival
// and our note of it, and carries the same id then.
type deliverNews struct {
	river.WorkerDefaults[jobargs.DeliverNews]
	*Courier
}

// pauses are how long a message waits after each try, some 23 hours in all: a morning finds what a night has broken.
var pauses = []time.Duration{
	30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 14 * time.Hour,
}

// NextRetry implements river.Worker.
func (*deliverNews) NextRetry(job *river.Job[jobargs.DeliverNews]) time.Time {
	return nextTry(job.Attempt)
}

// nextTry is when what failed so many times is tried again.
func nextTry(tries int) time.Time {
	return time.Now().Add(pauses[min(max(tries, 1), len(pauses))-1])
}

// Work implements river.Worker.
func (w *deliverNews) Work(ctx context.Context, job *river.Job[jobargs.DeliverNews]) error {
	m, err := w.Store.ToDeliver(ctx, job.Args.Delivery)
	if errors.Is(err, postgres.ErrNothingToDo) {
		return nil
	}
	if err != nil {
		w.Log.ErrorContext(ctx, "message cannot be read", "delivery_id", job.Args.Delivery, "attempt", job.Attempt, "error", err)
		return err
	}
	var said string
	if !w.seats.hold(m.Resource.ID, func() { said, err = w.Sender.Send(ctx, m) }) {
		return river.JobSnooze(seatAgain)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // this process stops; another goes on
	}
	was := tried(m, said, err, job.Attempt)
	w.messages.WithLabelValues(string(m.Channel.Kind), string(was.State)).Inc()
	w.Log.InfoContext(ctx, "message", "resource_id", m.Resource.ID, "delivery_id", m.Delivery, "channel", m.Channel.Kind, "kind", m.Kind,
		"outcome", was.State, "attempt", job.Attempt, "error", err)
	done, cancel := cleanup(ctx)
	defer cancel()
	if failed := w.Store.SaveTried(done, m, was); failed != nil {
		w.Log.ErrorContext(ctx, "what became of a message was not written down", "delivery_id", m.Delivery, "error", failed)
		return failed
	}
	if was.State == remora.DeliveryQueued {
		return errAgain
	}
	return nil
}

// errAgain has River try again. What went wrong is in our own row and log.
var errAgain = errors.New("the message has not arrived yet")

// tried says what a try means. A test is tried once, since somebody waits for it; a channel that lost its last message
// gets two tries, so that a dead one takes little of what all share.
func tried(m remora.Message, said string, err error, attempt int) postgres.Tried {
	if err == nil {
		return postgres.Tried{State: remora.DeliverySent, Outcome: said}
	}
	most := len(pauses) + 1
	if m.Channel.Problem != "" {
		most = 2
	}
	if m.Kind == remora.DeliveryTest {
		most = 1
	}
	f := &notify.Failure{Sentence: "Something went wrong on our side.", Heals: true}
	errors.As(err, &f)
	if f.Heals && attempt < most {
		return postgres.Tried{State: remora.DeliveryQueued, Outcome: f.Sentence + " We try again."}
	}
	tries := "one try."
	if attempt > 1 {
		tries = fmt.Sprintf("%d tries.", attempt)
	}
	return postgres.Tried{State: remora.DeliveryFailed, Outcome: f.Sentence + " Given up after " + tries, Off: f.Off}
}
