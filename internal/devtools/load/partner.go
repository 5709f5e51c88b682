package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// answers is how long calls of the Partner API took.
type answers struct {
	Calls  int     `json:"calls"`
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms"`
	Most   float64 `json:"most_ms"`
}

func (a *answers) String() string {
	return fmt.Sprintf("Partner API: %d calls, median %.0f ms, p99 %.0f ms, at most %.0f ms", a.Calls, a.Median, a.P99, a.Most)
}

// Heroku's calls: so many a second, for so long.
const (
	callsASecond = 25
	calling      = 8 * time.Second
)

// partner is Heroku for a while: half of its calls provision, half change the plan of somebody whose backups are due. It calls
// at its rate whether or not it was answered.
func (l *load) partner(ctx context.Context) (*answers, error) {
	var ids []string
	if err := l.counts.pool.QueryRow(ctx, "SELECT array_agg(id::text) FROM (SELECT id FROM resources WHERE region = $1 LIMIT 1000) x", europe).Scan(&ids); err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var errs []error
	every := time.NewTicker(time.Second / callsASecond)
	defer every.Stop()
	for i := range int(calling.Seconds() * callsASecond) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-every.C:
		}
		wg.Go(func() {
			begun := time.Now()
			err := l.call(ctx, i, ids[i*7%len(ids)])
			mu.Lock()
			defer mu.Unlock()
			took, errs = append(took, time.Since(begun)), append(errs, err)
		})
	}
	wg.Wait()
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return &answers{len(took), ms(took[len(took)/2]), ms(took[len(took)*99/100]), ms(took[len(took)-1])}, errors.Join(errs...)
}

func (l *load) call(ctx context.Context, i int, id string) error {
	method, path, body := http.MethodPut, "/"+id, `{"plan":"hammerhead"}`
	if i%2 == 0 {
		method, path = http.MethodPost, ""
		body = fmt.Sprintf(`{"uuid":%q,"name":"remora-backup-x","plan":"mako","region":"us","oauth_grant":{"code":"c","type":"authorization_code","expires_at":"2126-05-01T10:05:00-07:00"}}`, remora.NewID[remora.ResourceID]())
	}
	status, answer, err := l.Partner(ctx, l.WebURL, method, path, body)
	if err == nil && status >= 300 {
		err = fmt.Errorf("%s %s: %d %s", method, path, status, answer)
	}
	return err
}
