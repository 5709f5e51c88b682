package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
)

// Sealer knows keys.
type Sealer interface {
	// Recipients reads public keys, one a line. Errors: KindInvalid; KindForbidden where a secret key is among them.
	Recipients(pasted string) ([]string, error)
	// Fingerprint names a public key.
	Fingerprint(recipient string) string
	// Challenge seals a message to recipients, in letters, and a ticket by which Answered knows what it says.
	Challenge(id remora.ResourceID, recipients []string) (message, ticket string, err error)
	Answered(id remora.ResourceID, recipients []string, ticket, answer string) bool
}

// Who can open archives.
const (
	openedByUs    = "ours"
	openedByBoth  = "both"
	openedByOwner = "alone"
)

// Recipient is a public key of the customer's.
type Recipient struct {
	Key         string `json:"key" doc:"As age writes it."`
	Fingerprint string `json:"fingerprint" doc:"By which a backup names the keys that open it."`
}

// Keys is whose keys archives are sealed to from the next backup on.
type Keys struct {
	OpenedBy   string          `json:"opened_by" enum:"ours,both,alone" doc:"ours: by the add-on's own key, which we keep; both: by each of the recipients' keys, too; alone: by those alone, and we cannot."`
	Recipients List[Recipient] `json:"recipients"`
	Shown      bool            `json:"shown" doc:"Whoever set it has opened a message that was sealed to the recipients."`
	SetBy      string          `json:"set_by,omitempty" doc:"Left out where nobody has set anything."`
	SetAt      time.Time       `json:"set_at,omitzero"`
}

func (a *API) keysOf(s remora.Sealing) Keys {
	out := Keys{OpenedBy: openedByUs, Shown: s.Shown, SetBy: s.SetBy, SetAt: s.SetAt}
	switch {
	case s.Alone:
		out.OpenedBy = openedByOwner
	case len(s.Recipients) > 0:
		out.OpenedBy = openedByBoth
	}
	out.Recipients = listOf(s.Recipients, func(key string) Recipient { return Recipient{key, a.Sealer.Fingerprint(key)} })
	return out
}

// KeysRequest is whose keys archives are to be sealed to.
type KeysRequest struct {
	OpenedBy   string       `json:"opened_by" enum:"ours,both,alone" doc:"As in Keys."`
	Recipients List[string] `json:"recipients,omitempty" maxItems:"10" doc:"Public keys, as age writes them. None with ours."`
	Ticket     string       `json:"ticket,omitempty" maxLength:"200" doc:"Of the challenge that answer answers."`
	Answer     string       `json:"answer,omitempty" maxLength:"60" doc:"What the challenge's message says, which shows that you hold one of the keys. It may be left out; then nobody knows before a backup is needed."`
	Confirm    string       `json:"confirm,omitempty" maxLength:"100" doc:"The add-on's name. Needed with alone: without those keys nobody can open what is made from then on."`
}

// ChallengeRequest is which keys to seal a message to.
type ChallengeRequest struct {
	Recipients List[string] `json:"recipients" minItems:"1" maxItems:"10" doc:"Public keys, as age writes them."`
}

// Challenge is a message for the holder of a key to open.
type Challenge struct {
	Message string `json:"message" doc:"In letters. age --decrypt opens it; what it says is another word each time."`
	Ticket  string `json:"ticket" doc:"Send it back with what the message says. It is good for these recipients alone."`
}

// OwnKeyRequest asks for the add-on's own key.
type OwnKeyRequest struct {
	Confirm string `json:"confirm" maxLength:"100" doc:"The add-on's name: you will keep the key as you keep the database."`
}

// OwnKey is the key of the add-on.
type OwnKey struct {
	Key       string `json:"key" doc:"The secret key, as age and remora open read it. Whoever has it and a backup's files has the data."`
	Recipient string `json:"recipient" doc:"Its public half."`
}

func (a *API) keyOperations(h huma.API) {
	type now struct{ Body Keys }
	read := func(ctx context.Context, c caller) (*now, error) {
		s, err := a.Store.Sealing(ctx, c.resource)
		return &now{a.keysOf(s)}, err
	}
	add(h, a, huma.Operation{
		OperationID: "getKeys", Method: http.MethodGet, Path: "/keys", Tags: []string{tagKeys},
		Summary: "Whose keys archives are sealed to", Description: "From the next backup on. Each backup says which keys open it.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, _ *empty) (*now, error) { return read(ctx, c) })

	type request struct{ Body KeysRequest }
	add(h, a, huma.Operation{
		OperationID: "setKeys", Method: http.MethodPut, Path: "/keys", Tags: []string{tagKeys},
		Summary: "Set whose keys archives are sealed to", Description: "From the next backup on; what was made until then stays as it is. Your channels are told. Where the customer's keys alone open a backup, it is verified as ever, while it is made, but never restored and compared, and links give the sealed files.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *request) (*now, error) {
		to, err := a.sealing(ctx, c, in.Body)
		if err == nil {
			err = a.Store.SetSealing(ctx, c.resource, to, c.person())
		}
		if err != nil {
			return nil, err
		}
		return read(ctx, c)
	})

	type sealed struct{ Body ChallengeRequest }
	type message struct{ Body Challenge }
	add(h, a, huma.Operation{
		OperationID: "makeKeyChallenge", Method: http.MethodPost, Path: "/keys/challenge", Tags: []string{tagKeys},
		Summary: "Seal a message to keys, to be opened by who holds one", Description: "It changes nothing. Send the ticket and what the message says with setKeys.",
	}, remora.ScopeAdmin, func(_ context.Context, c caller, in *sealed) (*message, error) {
		to, err := a.recipients(in.Body.Recipients)
		if err != nil {
			return nil, err
		}
		text, ticket, err := a.Sealer.Challenge(c.resource, to)
		return &message{Challenge{text, ticket}}, err
	})

	type confirmed struct{ Body OwnKeyRequest }
	type own struct{ Body OwnKey }
	add(h, a, huma.Operation{
		OperationID: "takeOwnKey", Method: http.MethodPost, Path: "/keys/own", Tags: []string{tagKeys},
		Summary: "Download the key of the add-on", Description: "It opens every backup that is not sealed to the customer's own keys alone, without us, and cannot be taken back. Your channels are told who downloaded it.",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *confirmed) (*own, error) {
		if err := a.confirmed(ctx, c, in.Body.Confirm); err != nil {
			return nil, err
		}
		key, recipient, err := a.Store.TakeKey(ctx, c.resource, c.person())
		return &own{OwnKey{key.Reveal(), recipient}}, err
	})
}

// sealing reads what is asked for. Errors: KindInvalid.
func (a *API) sealing(ctx context.Context, c caller, in KeysRequest) (to remora.Sealing, err error) {
	if in.OpenedBy == openedByUs {
		if len(in.Recipients) > 0 {
			return to, remora.Invalid("Where we alone open archives there are no other keys. Leave recipients out, or say both.")
		}
		return to, nil
	}
	to.Alone = in.OpenedBy == openedByOwner
	if to.Recipients, err = a.recipients(in.Recipients); err != nil {
		return to, err
	}
	if in.Answer != "" {
		if to.Shown = a.Sealer.Answered(c.resource, to.Recipients, in.Ticket, in.Answer); !to.Shown {
			return to, remora.Invalid("That is not what the message of this ticket says. Get a new one for these recipients, and open that.")
		}
	}
	if to.Alone {
		err = a.confirmed(ctx, c, in.Confirm)
	}
	return to, err
}

// recipients reads public keys. Errors: KindInvalid, also where one is a secret key: it is no larger scope that is missing.
func (a *API) recipients(keys []string) ([]string, error) {
	out, err := a.Sealer.Recipients(strings.Join(keys, "\n"))
	if remora.KindOf(err) == remora.KindForbidden {
		err = &remora.Error{Kind: remora.KindInvalid, Public: remora.Public(err, ""), Cause: err}
	}
	return out, err
}

// confirmed refuses what the add-on was not named for. Errors: KindInvalid.
func (a *API) confirmed(ctx context.Context, c caller, name string) error {
	r, err := a.Store.Resource(ctx, c.resource)
	if err != nil {
		return err
	}
	if name != r.Name {
		return remora.Invalid("Nothing was done. Send the add-on's name, %s, as confirm, to say that you mean it.", r.Name)
	}
	return nil
}
