package herokusim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
)

// logToken is what opens an app's log to an add-on. The address that carries it is given at provision.
func logToken(x *addon) string { return "t." + x.ID }

// logInput is where an app's log takes an add-on's lines.
func (s *Sim) logInput(x *addon) string {
	u, err := url.Parse(s.cfg.URL)
	if err != nil {
		return ""
	}
	if u.Hostname() == "localhost" { // a name that only this machine's own file has is no name of the Internet
		u.Host = "127.0.0.1:" + u.Port()
	}
	u.User, u.Path = url.UserPassword("token", logToken(x)), "/logs"
	return u.String()
}

// LogLines are what add-ons wrote to an app's log, oldest first, each a whole RFC 5424 message.
func (s *Sim) LogLines(inApp string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.logs[inApp]...)
}

const mostLog = 1 << 20

// takeLog is Logplex's input for add-ons: https://devcenter.heroku.com/articles/add-on-provider-log-integration. Like the
// real one it takes nothing but whole frames of announced length.
func (s *Sim) takeLog(w http.ResponseWriter, r *http.Request) {
	_, token, _ := r.BasicAuth()
	s.mu.Lock()
	defer s.mu.Unlock()
	var from *addon
	for _, x := range s.addons {
		if logToken(x) == token {
			from = x
		}
	}
	if from == nil {
		fail(w, http.StatusForbidden, "forbidden", "No such log input.")
		return
	}
	if r.Header.Get("Content-Type") != "application/logplex-1" || r.ContentLength < 0 || r.ContentLength > mostLog || r.Header.Get("User-Agent") == "" {
		fail(w, http.StatusBadRequest, "bad_request", "Want application/logplex-1 with a Content-Length and a User-Agent.")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, mostLog))
	if err != nil {
		return
	}
	lines, err := parseFrames(body)
	if count := r.Header.Get("Logplex-Msg-Count"); err == nil && count != "" && count != strconv.Itoa(len(lines)) {
		err = fmt.Errorf("%s messages were announced, %d came", count, len(lines))
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	if s.logs == nil {
		s.logs = map[string][]string{}
	}
	s.logs[from.App.Name] = append(s.logs[from.App.Name], lines...)
	w.WriteHeader(http.StatusNoContent)
}

// message is RFC 5424's: priority, version, time, host, app, process, message id, no structured data, text.
var message = regexp.MustCompile(`^<(1[0-8][0-9]|19[01]|[0-9]{1,2})>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d) [!-~]{1,255} [!-~]{1,48} [!-~]{1,128} [!-~]{1,32} - [^\r\n]*$`)

// parseFrames takes octet-counted messages apart (RFC 6587, 3.4.1).
func parseFrames(body []byte) ([]string, error) {
	var lines []string
	for len(body) > 0 {
		count, rest, found := bytes.Cut(body, []byte(" "))
		n, err := strconv.Atoi(string(count))
		if !found || err != nil || n <= 0 || n > len(rest) || strings.HasPrefix(string(count), "0") {
			return nil, fmt.Errorf("frame %d has no length that fits", len(lines)+1)
		}
		line := string(rest[:n])
		if !message.MatchString(line) {
			return nil, fmt.Errorf("frame %d is no RFC 5424 message: %.200q", len(lines)+1, line)
		}
		lines, body = append(lines, line), rest[n:]
	}
	return lines, nil
}

// logSession is one heroku logs.
type logSession struct {
	app   string
	lines int
	tail  bool
}

// openLog begins one: the CLI reads the address that it is given, which is good by itself.
func (s *Sim) openLog(w http.ResponseWriter, r *http.Request, _ principal, a *app) {
	in := struct {
		Lines int
		Tail  bool
	}{Lines: 100}
	if !decode(r, &in) {
		fail(w, 422, "invalid_params", "The body cannot be read.")
		return
	}
	if s.sessions == nil {
		s.sessions = map[string]logSession{}
	}
	id := random(32)
	s.sessions[id] = logSession{a.Name, in.Lines, in.Tail}
	reply(w, 201, object{"id": id, "logplex_url": s.cfg.URL + "/log-sessions/" + id, "created_at": time.Now().UTC()})
}

// showLog streams a session's lines as Logplex does, and goes on while they come where the tail was asked for.
func (s *Sim) showLog(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	session, ok := s.sessions[chi.URLParam(r, "session")]
	s.mu.Unlock()
	if !ok {
		missing(w, "log session")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	seen := max(0, len(s.LogLines(session.app))-session.lines)
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		all := s.LogLines(session.app)
		for i, line := range all[seen:] {
			if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", seen+i+1, shown(line)); err != nil {
				return
			}
		}
		seen = len(all)
		if err := http.NewResponseController(w).Flush(); err != nil || !session.tail {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-again.C:
		}
	}
}

// shown is a message as heroku logs prints it: time app[process]: text.
func shown(line string) string {
	f := strings.SplitN(line, " ", 8) // priority and version, time, host, app, process, message id, no data, text
	return fmt.Sprintf("%s %s[%s]: %s", f[1], f[3], f[4], f[7])
}
