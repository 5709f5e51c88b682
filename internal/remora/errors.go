package remora

import (
	"errors"
	"fmt"
)

// Kind is what an error means to the one who asked.
type Kind string

// The kinds of errors that reach an edge. Anything that is not an *Error is KindInternal: outside it shows
// one stock sentence and the request id.
const (
	KindInternal     Kind = "internal"
	KindInvalid      Kind = "invalid"      // the request or a setting is wrong; 422 or 400
	KindNotFound     Kind = "not_found"    // no such thing, or not yours; 404
	KindGone         Kind = "gone"         // it was here and has been removed; 410
	KindForbidden    Kind = "forbidden"    // known, and not allowed; 403
	KindUnauthorized Kind = "unauthorized" // not known; 401
	KindConflict     Kind = "conflict"     // not in this state; 409
	KindPlanLimit    Kind = "plan_limit"   // the plan does not include it; 422
	KindBusy         Kind = "busy"         // too much at a time; 429
	KindStale        Kind = "stale"        // this run has been overtaken by a later one and may finish nothing
)

// Error carries a sentence for the person and a cause for us. Public is complete, ends with a period and
// says what to do; Cause never reaches a page.
type Error struct {
	Kind   Kind
	Public string
	Cause  error
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("%s: %s", e.Kind, e.Public)
	}
	return fmt.Sprintf("%s: %s: %v", e.Kind, e.Public, e.Cause)
}

func (e *Error) Unwrap() error { return e.Cause }

// KindOf returns the kind of the outermost *Error in err's chain, or KindInternal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}

// Public returns the sentence for the person, or fallback where err carries none.
func Public(err error, fallback string) string {
	var e *Error
	if errors.As(err, &e) && e.Public != "" {
		return e.Public
	}
	return fallback
}

// Invalid is a refusal in one sentence.
func Invalid(format string, args ...any) error {
	return &Error{Kind: KindInvalid, Public: fmt.Sprintf(format, args...)}
}

// NotFound is the one answer for what does not exist and for what belongs to somebody else.
func NotFound(what string) error {
	return &Error{Kind: KindNotFound, Public: "There is no such " + what + "."}
}
