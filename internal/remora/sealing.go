package remora

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sealing is whose keys a resource's archives are sealed to. The zero value is the resource's own, which we keep.
type Sealing struct {
	Recipients []string  `json:"recipients"` // the customer's own, each of whose keys opens an archive
	Alone      bool      `json:"alone"`      // they alone do: the resource's own key does not, and we cannot
	Shown      bool      `json:"shown"`      // whoever set it has opened a message that was sealed to them
	SetBy      string    `json:"set_by"`
	SetAt      time.Time `json:"set_at"` // zero where nobody has set anything
}

// Same tells whether both open archives for the same keys.
func (s Sealing) Same(as Sealing) bool {
	return s.Alone == as.Alone && slices.Equal(s.Recipients, as.Recipients)
}

// Says is the setting in the audit log's words: whoever swaps one key for another is seen there.
func (s Sealing) Says() string {
	if len(s.Recipients) == 0 {
		return s.count()
	}
	return s.count() + ": " + strings.Join(s.Recipients, ", ")
}

func (s Sealing) count() string {
	n := fmt.Sprintf("%d keys of the customer’s", len(s.Recipients))
	if len(s.Recipients) == 1 {
		n = "1 key of the customer’s"
	}
	switch {
	case s.Alone:
		return n + " alone"
	case len(s.Recipients) > 0:
		return n + " and ours"
	}
	return "ours alone"
}

// ErrAlone is the answer to whoever asks for what is inside of an archive that only its owner's keys open.
var ErrAlone = &Error{Kind: KindConflict, Public: "This backup is sealed to your own keys alone: we cannot open it. Its page has the line by which you can."}
