package objectstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// What an error of this package can be, for errors.Is.
var (
	ErrExists   = errors.New("objectstore: the object is there already")
	ErrNotFound = errors.New("objectstore: no such object or upload")
	ErrFull     = errors.New("objectstore: the store has no room left")
	ErrDenied   = errors.New("objectstore: the key may not do that")
	ErrTooLarge = errors.New("objectstore: the object has as many parts as it may have")
	ErrMismatch = errors.New("objectstore: the store does not hold what was sent")
	ErrRange    = errors.New("objectstore: the store sends an object from its start where a later part was asked for")
)

// mostKey is how many bytes of a key an error prints: a stranger's store lists what it likes.
const mostKey = 200

// readable is what an S3 error's code is made of. Another is not repeated to anybody.
var readable = regexp.MustCompile(`^[A-Za-z0-9._-]{1,60}$`)

// Error is a request that the store refused or that did not reach it. It prints no address, no header and
// none of the store's prose, which can quote a request.
type Error struct {
	Op     string // S3's name of the operation
	Key    string // of the object or prefix; may be empty
	Code   string // S3's error code; empty where there was no answer, UnreadableCode where it is none
	Status int    // HTTP's; 0 where there was no answer
	kind   error  // one of the sentinels, or nil
	cause  error  // what went wrong in transport, or nil
}

func (e *Error) Error() string {
	msg := "objectstore: " + e.Op
	if e.Key != "" {
		msg += " " + e.Key[:min(len(e.Key), mostKey)]
	}
	if e.Code != "" || e.Status != 0 {
		msg += fmt.Sprintf(": %d %s", e.Status, e.Code)
	}
	switch {
	case e.cause != nil:
		msg += ": " + e.cause.Error()
	case e.Code == "" && e.kind != nil:
		msg += ": " + strings.TrimPrefix(e.kind.Error(), "objectstore: ")
	}
	return msg
}

// Unwrap lets errors.Is see the kind, and a context's end.
func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// Operations are S3's names of what is asked for.
func Operations() []string {
	return []string{
		"HeadObject", "GetObject", "PutObject", "DeleteObject", "ListObjectsV2",
		"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload", "ListMultipartUploads",
		"GetObjectLockConfiguration",
	}
}

// Outcomes of one request, from a fixed set. A request that is answered with what it was asked to find out, that an object is
// there already or is not, is answered.
func Outcomes() []string {
	return []string{"ok", "denied", "full", "busy", "mismatch", "silent", "canceled", "refused"}
}

func outcome(err error) string {
	var e *Error
	switch {
	case err == nil || errors.Is(err, ErrExists) || errors.Is(err, ErrNotFound):
		return "ok"
	case errors.Is(err, ErrDenied):
		return "denied"
	case errors.Is(err, ErrFull):
		return "full"
	case errors.Is(err, ErrMismatch):
		return "mismatch"
	case errors.Is(err, context.Canceled):
		return "canceled" // by us
	case errors.As(err, &e) && e.Status == 0:
		return "silent" // no answer came
	case errors.As(err, &e) && e.transient():
		return "busy"
	}
	return "refused"
}

// IsStore tells whether an error is the store's: an answer, or silence, of the service itself.
func IsStore(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

func fail(op, key string, err error) error {
	var e *Error
	if errors.As(err, &e) { // it has its name
		return e
	}
	e = &Error{Op: op, Key: key}
	var api smithy.APIError
	if errors.As(err, &api) {
		if e.Code = api.ErrorCode(); e.Code != "" && !readable.MatchString(e.Code) {
			e.Code = "UnreadableCode"
		}
	}
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) {
		e.Status = resp.HTTPStatusCode()
	}
	e.kind = kindOf(e.Code, e.Status)
	if op == "GetObject" && e.Status == 412 {
		e.kind = ErrMismatch // its condition is that the object is still the same
	}
	if e.Code == "" {
		e.cause = transport(err)
	}
	return e
}

func kindOf(code string, status int) error {
	switch {
	case status == 412 || code == "PreconditionFailed":
		return ErrExists
	case code == "NoSuchBucket":
		return nil // a setting is wrong, which is no answer to "is it there?"
	case status == 404 || code == "NoSuchKey" || code == "NoSuchUpload" || code == "NotFound":
		return ErrNotFound
	case status == 507 || slices.Contains([]string{"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull"}, code):
		return ErrFull
	case status == 401 || status == 403:
		return ErrDenied
	}
	return nil
}

// transport finds the innermost useful error: url.Error prints the whole address, the SDK's own wrappers
// print the host again.
func transport(err error) error {
	var u *url.Error
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &u):
		return u.Err
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// transient tells whether the same request can succeed a moment later. An answer that never came or could
// not be read is; so is a body damaged on its way.
func (e *Error) transient() bool {
	switch {
	case e.kind != nil:
		return false
	case e.Status == 0, e.Status == 200, e.Status == 408, e.Status == 429, e.Status >= 500:
		return true
	}
	return slices.Contains([]string{
		"BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch",
		"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict", "RequestTimeTooSkewed",
	}, e.Code)
}
