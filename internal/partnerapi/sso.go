package partnerapi

import (
	"crypto/sha1" //nolint:gosec // Heroku's older token; see verify
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// window is how far a sign-on's timestamp may be from now.
const window = 5 * time.Minute

var errSignOn = &remora.Error{Kind: remora.KindForbidden, Public: "This sign-on is not valid any more. Open the add-on again from Heroku."}

// signOn turns Heroku's signed form post into a session, once.
func (a *API) signOn(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.turnAway(w, r, err)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		a.turnAway(w, r, errSignOn)
		return
	}
	s, used, err := verify(form, a.SSOSalt.Reveal(), a.Now())
	if err != nil {
		a.turnAway(w, r, err)
		return
	}
	token := remora.NewToken()
	if err := a.Store.OpenSession(r.Context(), s, token, used); err != nil {
		a.turnAway(w, r, err)
		return
	}
	a.Cookie.Set(w, token)
	http.Redirect(w, r, a.Home, http.StatusSeeOther)
}

// verify checks Heroku's signature. The SHA-256 token, over resource, salt, time, user and e-mail, decides
// where it is present; else the SHA-1 one, which leaves user and e-mail unsigned, so that they are not taken.
// It returns what identifies the sign-on, to be used once.
func verify(form url.Values, salt string, now time.Time) (remora.Session, string, error) {
	field := func(name string) string { return form.Get(name) }
	for name, values := range form {
		if len(values) != 1 || strings.HasSuffix(name, "[]") {
			return remora.Session{}, "", errSignOn
		}
	}
	id, err := remora.ParseResourceID(field("resource_id"))
	stamp, terr := strconv.ParseInt(field("timestamp"), 10, 64)
	if errors.Join(err, terr) != nil || strconv.FormatInt(stamp, 10) != field("timestamp") {
		return remora.Session{}, "", errSignOn
	}
	if d := now.Sub(time.Unix(stamp, 0)); d > window || d < -window {
		return remora.Session{}, "", errSignOn
	}
	s := remora.Session{Resource: id}
	// What was signed is what was sent, so the id goes in as it came.
	signed := field("resource_id") + ":" + salt + ":" + field("timestamp")
	token := field("user_scoped_resource_token")
	var want string
	if token != "" {
		sum := sha256.Sum256([]byte(signed + ":" + field("user_id") + ":" + field("email")))
		want = hex.EncodeToString(sum[:])
		s.UserID, s.Email = field("user_id"), field("email")
	} else {
		sum := sha1.Sum([]byte(signed)) //nolint:gosec // as above
		token, want = field("resource_token"), hex.EncodeToString(sum[:])
	}
	if subtle.ConstantTimeCompare([]byte(token), []byte(want)) != 1 {
		return remora.Session{}, "", errSignOn
	}
	return s, string(id) + ":" + token, nil
}

// turnAway tells a person, in plain text, that they are not signed on.
func (a *API) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusForbidden
	if remora.KindOf(err) == remora.KindInternal {
		status = http.StatusInternalServerError
		a.Log.ErrorContext(r.Context(), "sign-on failed", "request_id", w.Header().Get("X-Request-ID"), "error", err)
	}
	http.Error(w, remora.Public(err, "Something went wrong on our side. Open the add-on again from Heroku in a minute."), status)
}
