package partnerapi

import (
	"crypto/sha1" //nolint:gosec // Heroku's older token; see verify
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/remora"
)

// window is how far a sign-on's timestamp may be from now.
const window = 5 * time.Minute

var errSignOn = &remora.Error{Kind: remora.KindForbidden, Public: "This sign-on is not valid any more. Open the add-on again from Heroku."}

// signOn turns Heroku's signed form post into a session, once.
func (a *API) signOn(w http.ResponseWriter, r *http.Request) {
	s, used, err := a.signed(r)
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

// signed reads the form. Its address may carry anything; only the body counts.
func (a *API) signed(r *http.Request) (remora.Session, string, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return remora.Session{}, "", errSignOn
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return remora.Session{}, "", errSignOn
	}
	return verify(form, a.SSOSalt.Reveal(), a.Now())
}

// verify checks Heroku's signature. The SHA-256 token, over resource, salt, time, user and e-mail, decides
// where it is present; else the SHA-1 one, which leaves user and e-mail unsigned, so that they are not taken.
//
// It returns what identifies the sign-on, to be used once. That is the resource and the second, not the token:
// a form carries both tokens, and each would be good once more after the other. Two members who open one
// resource in the same second are the price; the later one is told to click again.
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
	if subtle.ConstantTimeCompare([]byte(token), []byte(want)) != 1 || !printable(s.UserID) || !printable(s.Email) {
		return remora.Session{}, "", errSignOn
	}
	return s, string(id) + ":" + field("timestamp"), nil
}

// turnAway tells a person that they are not signed on, and what to do.
func (a *API) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusForbidden
	if remora.KindOf(err) == remora.KindInternal {
		status = http.StatusInternalServerError
		a.Log.ErrorContext(r.Context(), "sign-on failed", "request_id", httpserver.RequestID(r.Context()), "error", err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = turnedAway.Execute(w, remora.Public(err, "Something went wrong on our side. Open the add-on again from Heroku in a minute; request "+httpserver.RequestID(r.Context())+".")) // the connection may be gone
}

// turnedAway has the dashboard's style sheet; without it the page reads as well.
var turnedAway = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not signed on · Remora Backup</title>
<link rel="stylesheet" href="/static/remora.css">
</head>
<body>
<header class="bar"><span class="brand"><img src="/static/mark.svg" alt="" width="42" height="28">Remora Backup</span></header>
<main class="narrow">
<section class="card empty"><img src="/static/mark.svg" alt="" width="144" height="96">
<h1>Not signed on</h1>
<p class="lead">{{.}}</p>
<pre>heroku addons:open remora-backup -a YOUR-HELPER-APP</pre>
</section>
</main>
</body>
</html>
`))
