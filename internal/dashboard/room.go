package dashboard

import (
	"fmt"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// retryAfter is when whoever was refused should ask again.
const retryAfter = 10 * time.Second

// room counts the downloads that run in this process and refuses those that are too many.
type room struct {
	all, perResource, perLink int

	mu   sync.Mutex
	runs int
	of   map[string]int // of a resource's id and of a link's token; nothing where none runs
}

// enter admits a download, which must leave. Errors: KindBusy.
func (r *room) enter(id remora.ResourceID, token string) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	const again = "Wait until one has ended, or try again in a while."
	switch {
	case r.of[token] >= r.perLink:
		return nil, busy("%d downloads are running by this link already. "+again, r.of[token])
	case r.of[string(id)] >= r.perResource:
		return nil, busy("%d downloads of this add-on's backups are running already. "+again, r.of[string(id)])
	case r.runs >= r.all:
		return nil, busy("Too many downloads are running. Try again in a while.")
	}
	r.add(id, token, 1)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.add(id, token, -1)
	}, nil
}

func (r *room) add(id remora.ResourceID, token string, n int) {
	r.runs += n
	for _, key := range []string{string(id), token} {
		if r.of[key] += n; r.of[key] == 0 {
			delete(r.of, key)
		}
	}
}

func busy(format string, args ...any) error {
	return &remora.Error{Kind: remora.KindBusy, Public: fmt.Sprintf(format, args...)}
}
