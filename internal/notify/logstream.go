package notify

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// logLines writes to the Helper App's own log on Heroku, as https://devcenter.heroku.com/articles/add-on-provider-log-integration
// wants it. A refusal may heal: Heroku changes the address, and we read it again.
func (s *Sender) logLines(ctx context.Context, m remora.Message) (string, error) {
	lines := s.lines(m)
	said, err := s.post(ctx, m.Address, http.Header{
		"Content-Type": {"application/logplex-1"}, "Logplex-Msg-Count": {strconv.Itoa(len(lines))},
	}, frames(lines))
	if f, refused := err.(*Failure); refused && f.Cause == nil { //nolint:errorlint // post returns no other
		f.Heals = true
	}
	return said, err
}

// logLine is one line of the log.
type logLine struct {
	at      time.Time
	trouble bool
	text    string
}

// frames are the lines as RFC 5424 messages, each with its length in octets before it (RFC 6587, 3.4.1), and nothing
// between them.
func frames(lines []logLine) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		priority := 190 // local7.info
		if l.trouble {
			priority = 188 // local7.warning
		}
		msg := fmt.Sprintf("<%d>1 %s remora-backup app remora.1 - - %s", priority, l.at.UTC().Format("2006-01-02T15:04:05-07:00"), l.text)
		fmt.Fprintf(&b, "%d %s", len(msg), msg)
	}
	return b.Bytes()
}

func (s *Sender) lines(m remora.Message) []logLine {
	if m.Kind == remora.DeliveryTest {
		w := s.testWords(m)
		return []logLine{{m.At, false, pairs("event", "test", "addon", m.Resource.Name, "message", w.What, "page", w.Link)}}
	}
	out := make([]logLine, len(m.News))
	for i, n := range m.News {
		e := n.Event
		w := wordsOf(about{&s.Site, m.Resource, n})
		out[i] = logLine{e.At, e.Kind.Trouble(), pairs(
			"event", string(e.Kind), "addon", m.Resource.Name, "database", n.Addon, "app", n.OwnerApp, "backup", string(e.Backup), "reason", string(e.Reason),
			"message", w.What, "act", w.Act, "next", w.Command, "page", w.Link,
		)}
	}
	return out
}

// pairs writes key=value, quoted where a value has a blank or what a terminal would obey, and leaves out what is empty.
func pairs(all ...string) string {
	var out []string
	for i := 0; i+1 < len(all); i += 2 {
		v := line(all[i+1])
		if v == "" {
			continue
		}
		if quoted := strconv.Quote(v); quoted != `"`+v+`"` || strings.ContainsAny(v, " =") {
			v = quoted
		}
		out = append(out, all[i]+"="+v)
	}
	return strings.Join(out, " ")
}
