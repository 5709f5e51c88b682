package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// payload is a webhook's body, as https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
// wants it: a type, when it happened, and the data.
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	EventID    remora.EventID    `json:"event_id,omitempty"`
	ResourceID remora.ResourceID `json:"resource_id"`
	Addon      string            `json:"addon"`
	HelperApp  string            `json:"helper_app"`
	Database   *database         `json:"database,omitempty"`
	BackupID   remora.BackupID   `json:"backup_id,omitempty"`
	Reason     remora.Reason     `json:"reason,omitempty"`
	Trouble    bool              `json:"trouble"`
	Subject    string            `json:"subject"`
	Message    string            `json:"message"`
	Act        string            `json:"act"`
	Command    string            `json:"command"`
	URL        string            `json:"url"`
}

type database struct {
	ID       remora.DatabaseID `json:"id"`
	Addon    string            `json:"addon"`
	OwnerApp string            `json:"owner_app"`
}

// webhook sends one event, signed. The id is the message's own and stays the same when it is tried again.
func (s *Sender) webhook(ctx context.Context, m remora.Message) (string, error) {
	body, err := json.Marshal(s.payload(m))
	if err != nil {
		return "", &Failure{Sentence: "The message could not be written.", Cause: err}
	}
	id, at := "msg_"+string(m.Delivery), s.Now()
	signature, err := sign(m.Secret, id, at, body)
	if err != nil {
		return "", &Failure{Sentence: "The channel's secret cannot be read. Remove the channel and add it again."}
	}
	return s.post(ctx, m.Address, http.Header{
		"Content-Type": {"application/json"}, "Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {signature},
	}, body)
}

func (s *Sender) payload(m remora.Message) payload {
	p := payload{Type: "remora.test", Timestamp: m.At, Data: data{ResourceID: m.Resource.ID, Addon: m.Resource.Name, HelperApp: m.Resource.HelperApp}}
	w := s.testWords(m)
	if m.Kind == remora.DeliveryNews && len(m.News) > 0 {
		n := m.News[0]
		w = wordsOf(about{&s.Site, m.Resource, n})
		p.Type, p.Timestamp = "remora."+string(n.Event.Kind), n.Event.At
		p.Data.EventID, p.Data.BackupID, p.Data.Reason, p.Data.Trouble = n.ID, n.Event.Backup, n.Event.Reason, n.Event.Kind.Trouble()
		if n.Event.Database != "" {
			p.Data.Database = &database{n.Event.Database, n.Addon, n.OwnerApp}
		}
	}
	p.Data.Subject, p.Data.Message, p.Data.Act, p.Data.Command, p.Data.URL = w.Subject, w.What, w.Act, w.Command, w.Link
	return p
}

// sign is the specification's symmetric signature, version 1: HMAC-SHA-256 over id, time and body.
func sign(secret redact.Secret, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret.Reveal(), "whsec_"))
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}
