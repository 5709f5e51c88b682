package dashboard

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/remora"
)

// How a page that follows something is kept up to date.
const (
	streamFor     = 10 * time.Minute // then the browser asks anew
	streamBeat    = 15 * time.Second // a sign of life, and a look at whether the session is still good
	streamWrite   = 10 * time.Second // how long one message may take to leave
	streamSession = 6                // at a time, of one session, which is a browser with so many tabs
	streamAll     = 500              // at a time, of this process
)

// seats counts the streams that run in this process, and those of each session.
type seats struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

// take returns what gives the seat back, or nil where there is none left.
func (s *seats) take(session string) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= streamAll || s.of[session] >= streamSession {
		return nil
	}
	s.all++
	s.of[session]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.of[session]--; s.of[session] == 0 {
			delete(s.of, session)
		}
	}
}

// view makes the part of a page that changes: its template and its struct, and whether it will change again soon.
type view func(r *http.Request, s remora.Session) (name string, page any, live bool, err error)

// following answers with the part of a page that changes: once, or to an EventSource again and again as it changes.
func (p *Pages) following(v view) http.HandlerFunc {
	return p.with(func(w http.ResponseWriter, r *http.Request, s remora.Session) error {
		name, page, _, err := v(r, s)
		if err != nil {
			return err
		}
		if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			return p.render(w, http.StatusOK, name, page)
		}
		leave := p.seats.take(p.Cookie.Token(r))
		if leave == nil {
			w.Header().Set("Retry-After", strconv.Itoa(int(streamBeat.Seconds())))
			return busy("Too many pages are being followed. This one is not kept up to date; load it again to see more.")
		}
		defer leave()
		p.stream(w, r, s, v)
		return nil
	})
}

// stream sends the part whenever it has changed, until it will not change any more, the visitor has left, the session has
// ended, or the server stops.
func (p *Pages) stream(w http.ResponseWriter, r *http.Request, s remora.Session, v view) {
	out := &events{w: w, conn: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no")
	tick, beat, end := time.NewTicker(p.LookAgain), time.NewTicker(streamBeat), time.NewTimer(streamFor)
	defer tick.Stop()
	defer beat.Stop()
	defer end.Stop()
	for out.err == nil {
		name, page, live, err := v(r, s)
		if err != nil {
			out.send("gone", "")
			return
		}
		if out.page(p, name, page); !live {
			out.send("end", "")
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-httpserver.Stopping(r.Context()):
			return // the browser connects again by itself, to another process
		case <-end.C:
			return
		case <-beat.C:
			out.send("", "")
			if _, err := p.Store.Session(r.Context(), p.Cookie.Token(r)); err != nil {
				out.send("gone", "")
				return
			}
		case <-tick.C:
		}
	}
}

// events writes server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type events struct {
	w    http.ResponseWriter
	conn *http.ResponseController
	last string
	err  error
}

// page sends a part that differs from the one sent before.
func (e *events) page(p *Pages, name string, page any) {
	var b bytes.Buffer
	if e.err = p.templates.ExecuteTemplate(&b, name, page); e.err != nil || b.String() == e.last {
		return
	}
	e.last = b.String()
	e.send("page", e.last)
}

// send writes one event; without a name it is a comment, which keeps routers between from giving up.
func (e *events) send(name, data string) {
	if e.err != nil {
		return
	}
	_ = e.conn.SetWriteDeadline(time.Now().Add(streamWrite)) // an error means that the connection knows none
	var b strings.Builder
	if name == "" {
		b.WriteString(":\n\n")
	} else {
		b.WriteString("event: " + name + "\n")
		for line := range strings.SplitSeq(strings.ReplaceAll(data, "\r", ""), "\n") {
			b.WriteString("data: " + line + "\n")
		}
		b.WriteString("\n")
	}
	if _, e.err = e.w.Write([]byte(b.String())); e.err == nil {
		e.err = e.conn.Flush()
	}
}
