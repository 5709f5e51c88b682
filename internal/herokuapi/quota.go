package herokuapi

import (
	"crypto/sha256"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/redact"
)

// Heroku gives an account a pool of 4,500 calls and fills it by 75 a minute; every answer says what is left
// (https://devcenter.heroku.com/articles/platform-api-reference#rate-limits).
const (
	poolGains = 75 // calls
	poolEvery = time.Minute
)

// warnEvery is how often at most a spent quota is said in the log.
const warnEvery = 10 * time.Minute

// account stands for whose quota a call counts against: it is known by the token, of which no copy is kept. The token
// endpoint, which takes none, is one of its own.
type account [sha256.Size]byte

func accountOf(token redact.Secret) account { return sha256.Sum256([]byte(token.Reveal())) }

// quota is what Heroku's answers have said of how much more may be asked. All who use a client share it; what another
// process asks is known only by the answers.
type quota struct {
	now     func() time.Time
	reserve int
	log     *slog.Logger

	mu     sync.Mutex
	closed map[account]time.Time // after a 429: no call before
	low    map[account]time.Time // below the reserve: no call that can wait before
	warned time.Time
}

func newQuota(cfg Config) *quota {
	return &quota{now: cfg.Now, reserve: cfg.Reserve, log: cfg.Log, closed: map[account]time.Time{}, low: map[account]time.Time{}}
}

// wait tells how long an account must not be called.
func (q *quota) wait(a account, patient bool) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	wait := q.closed[a].Sub(now)
	if patient {
		wait = max(wait, q.low[a].Sub(now))
	}
	return max(wait, 0)
}

// learn takes from an answer what it says of the account's quota. It returns how long Heroku wants no call, 0 where it
// did not refuse this one for that.
func (q *quota) learn(a account, resp *http.Response) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.forget(now)
	if left, err := strconv.Atoi(resp.Header.Get("RateLimit-Remaining")); err == nil {
		if left < q.reserve {
			// What is missing, and a minute's gain more, so that what has waited does not come call by call.
			q.low[a] = now.Add(time.Duration(q.reserve-left+poolGains) * poolEvery / poolGains)
			q.warn(now, "Heroku's quota is down to its reserve: checks wait, so that runs can read credentials", "remaining", left, "reserve", q.reserve)
		} else {
			delete(q.low, a)
		}
	}
	if resp.StatusCode != http.StatusTooManyRequests {
		return 0
	}
	wait := retryAfter(resp, now)
	if wait == 0 {
		wait = poolEvery
	}
	if until := now.Add(wait); until.After(q.closed[a]) {
		q.closed[a] = until
	}
	q.warn(now, "Heroku refuses calls for a while: the quota is spent", "wait", wait)
	return wait
}

// forget drops what has passed, so that what is kept is only of accounts in trouble.
func (q *quota) forget(now time.Time) {
	for _, m := range []map[account]time.Time{q.closed, q.low} {
		for a, until := range m {
			if !until.After(now) {
				delete(m, a)
			}
		}
	}
}

func (q *quota) warn(now time.Time, msg string, args ...any) {
	if now.Sub(q.warned) >= warnEvery {
		q.warned = now
		q.log.Warn(msg, args...)
	}
}

// retryAfter reads Retry-After, in seconds or as a date; 0 where it says nothing, or more than a day.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	text := resp.Header.Get("Retry-After")
	wait := time.Duration(0)
	if s, err := strconv.Atoi(text); err == nil {
		wait = time.Duration(min(s, 24*3600+1)) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	if wait < 0 || wait > 24*time.Hour {
		return 0
	}
	return wait
}
