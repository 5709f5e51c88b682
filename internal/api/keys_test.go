package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/remora-backup/remora/internal/api"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
)

// someKey is a public key.
const someKey = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

// sealer reads and seals as in production; its tickets are plain digests, where there they are MACs.
type sealer struct{}

func (sealer) Recipients(pasted string) ([]string, error) {
	out, err := seal.ParseRecipients(pasted)
	if err != nil {
		kind := remora.KindInvalid
		if strings.Contains(pasted, "SECRET") {
			kind = remora.KindForbidden
		}
		return nil, &remora.Error{Kind: kind, Public: err.Error()}
	}
	return out, nil
}

func (sealer) Fingerprint(recipient string) string { return seal.Fingerprint(recipient) }

func (sealer) Challenge(id remora.ResourceID, recipients []string) (message, ticket string, err error) {
	const word = "open"
	message, err = seal.Letter([]byte(word), recipients...)
	return message, ticketOf(id, recipients, word), err
}

func (sealer) Answered(id remora.ResourceID, recipients []string, ticket, answer string) bool {
	return ticket == ticketOf(id, recipients, answer)
}

func ticketOf(id remora.ResourceID, recipients []string, word string) string {
	sum := sha256.Sum256([]byte(string(id) + strings.Join(recipients, " ") + word))
	return hex.EncodeToString(sum[:])
}

// opened is what the holder of a key reads in a challenge's message.
func opened(t *testing.T, message string, key age.Identity) string {
	t.Helper()
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(message)), key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// keys goes from the add-on's own key to the customer's alone, and back.
func (n *tenant) keys() {
	n.t.Helper()
	t := n.t
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	mine := []string{key.Recipient().String()}
	if k := into[api.Keys](t, n.do("GET", "/keys", nil, 200)); k.OpenedBy != "ours" || len(k.Recipients) != 0 || k.SetBy != "" {
		t.Errorf("%+v", k)
	}
	if k := into[api.Keys](t, n.do("PUT", "/keys", m{"opened_by": "both", "recipients": mine}, 200)); k.OpenedBy != "both" || k.Shown || len(k.Recipients) != 1 || k.Recipients[0].Fingerprint != seal.Fingerprint(mine[0]) || k.SetBy != "API token deploys" {
		t.Errorf("%+v", k)
	}
	c := into[api.Challenge](t, n.do("POST", "/keys/challenge", m{"recipients": mine}, 200))
	alone := m{"opened_by": "alone", "recipients": mine, "ticket": c.Ticket, "answer": opened(t, c.Message, key)}
	if p := n.do("PUT", "/keys", alone, 422).problem(t); !strings.Contains(p.Detail, "remora-backup-clean-1") {
		t.Errorf("%+v", p)
	}
	alone["confirm"] = "remora-backup-clean-1"
	if k := into[api.Keys](t, n.do("PUT", "/keys", alone, 200)); k.OpenedBy != "alone" || !k.Shown {
		t.Errorf("%+v", k)
	}
	if k := into[api.Keys](t, n.do("PUT", "/keys", m{"opened_by": "ours"}, 200)); k.OpenedBy != "ours" || len(k.Recipients) != 0 {
		t.Errorf("%+v", k)
	}
	n.do("POST", "/keys/own", m{"confirm": "another"}, 422)
	if k := into[api.OwnKey](t, n.do("POST", "/keys/own", m{"confirm": "remora-backup-clean-1"}, 200)); k.Key != "key" || k.Recipient != "age1" {
		t.Errorf("%+v", k)
	}
	for action, subject := range map[string]string{"set keys": "1 key of the customer’s alone: " + mine[0], "download key": "age1"} {
		if !n.logged(t, action, "API token deploys", subject) {
			t.Errorf("%s is not in the audit log", action)
		}
	}
}

// What cannot be set changes nothing, and nothing of it is sent back: what was sent may be a secret key.
func TestKeysThatCannotBeSet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n, neighbour := s.tenant(t), s.tenant(t)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	mine := []string{key.Recipient().String()}
	last := "q" // a letter that the key does not end with
	if strings.HasSuffix(mine[0], last) {
		last = "p"
	}
	theirs := into[api.Challenge](t, neighbour.do("POST", "/keys/challenge", m{"recipients": mine}, 200))
	others := into[api.Challenge](t, n.do("POST", "/keys/challenge", m{"recipients": []string{someKey, mine[0]}}, 200))
	ours := into[api.Challenge](t, n.do("POST", "/keys/challenge", m{"recipients": mine}, 200))
	word := opened(t, ours.Message, key)
	for name, body := range map[string]m{
		"none":                     {"opened_by": "both"},
		"alone without any":        {"opened_by": "alone", "confirm": "remora-backup-clean-1"},
		"ours with others":         {"opened_by": "ours", "recipients": mine},
		"a secret key":             {"opened_by": "both", "recipients": []string{key.String()}},
		"a wrong checksum":         {"opened_by": "both", "recipients": []string{mine[0][:61] + last}},
		"nobody":                   {"opened_by": "nobody", "recipients": mine},
		"no such name":             {"opened_by": "alone", "recipients": mine, "confirm": "another"},
		"a wrong answer":           {"opened_by": "both", "recipients": mine, "ticket": ours.Ticket, "answer": word + "x"},
		"an answer without ticket": {"opened_by": "both", "recipients": mine, "answer": word},
		"a neighbour's ticket":     {"opened_by": "both", "recipients": mine, "ticket": theirs.Ticket, "answer": word},
		"a ticket of other keys":   {"opened_by": "both", "recipients": mine, "ticket": others.Ticket, "answer": word},
	} {
		a := n.do("PUT", "/keys", body, http.StatusUnprocessableEntity)
		if p := a.problem(t); p.Code != "invalid" || bytes.Contains(a.body, []byte("AGE-SECRET-KEY-1")) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	n.do("POST", "/keys/challenge", m{"recipients": []string{key.String()}}, 422)
	n.do("POST", "/keys/challenge", m{"recipients": []string{}}, 422)
	if k := into[api.Keys](t, n.do("GET", "/keys", nil, 200)); k.OpenedBy != "ours" || k.SetBy != "" {
		t.Errorf("%+v", k)
	}
	if strings.Contains(s.log.String(), key.String()) {
		t.Error("a secret key is in the log")
	}
	// An administrator's token alone changes keys, and takes one.
	n.token = n.make("operates", remora.ScopeOperate)
	for path, body := range map[string]m{"/keys/own": {"confirm": "remora-backup-clean-1"}, "/keys/challenge": {"recipients": mine}} {
		n.do("POST", path, body, 403)
	}
	n.do("PUT", "/keys", m{"opened_by": "both", "recipients": mine}, 403)
}
