package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/remora-backup/remora/internal/remora"
)

// slack posts to an incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/
func (s *Sender) slack(ctx context.Context, m remora.Message) (string, error) {
	l := s.letter(m)
	var b strings.Builder
	b.WriteString("*" + mrkdwn(l.Subject) + "*")
	for _, w := range l.All {
		if len(l.All) > 1 {
			b.WriteString("\n\n*" + mrkdwn(w.Subject) + "*")
		}
		b.WriteString("\n" + mrkdwn(w.What) + "\n" + mrkdwn(w.Act) + "\n`" + mrkdwn(strings.ReplaceAll(w.Command, "`", "'")) + "`\n<" + mrkdwn(w.Link) + "|Open the page>")
	}
	body, err := json.Marshal(map[string]string{"text": b.String()})
	if err != nil {
		return "", &Failure{Sentence: "The message could not be written.", Cause: err}
	}
	return s.post(ctx, m.Address, http.Header{"Content-Type": {"application/json"}}, body)
}

// mrkdwn escapes the three characters that mean something to Slack
// (https://docs.slack.dev/messaging/formatting-message-text/#escaping).
func mrkdwn(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
