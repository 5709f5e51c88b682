package wiring

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/devtools/inbox"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/s3test"
)

// heroku answers as Heroku does whom it knows, by a clock that is off by so much.
func heroku(t *testing.T, off time.Duration, token, secret string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		answer := func(status int, body string) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
		switch {
		case r.URL.Path == "/account" && r.Header.Get("Authorization") == "Bearer "+token:
			answer(http.StatusOK, `{"email":"backups@remora.example"}`)
		case r.URL.Path == "/account":
			answer(http.StatusUnauthorized, `{"id":"unauthorized","message":"Invalid credentials provided."}`)
		case r.URL.Path == "/oauth/token" && r.FormValue("client_secret") == secret:
			answer(http.StatusBadRequest, `{"error":"invalid_grant","error_description":"Unknown grant."}`)
		case r.URL.Path == "/oauth/token":
			answer(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"Unknown client."}`)
		case r.URL.Path == "/readyz":
			answer(http.StatusOK, "ok\n")
		default:
			answer(http.StatusNotFound, "{}")
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// ofLocked are settings of a bucket that locks what is written to it for so many days, with keys of our own policies, or with blind ones
// that may not ask for that.
func ofLocked(t *testing.T, days int32, blind bool) map[string]string {
	t.Helper()
	cfg := s3test.Locked(t, types.ObjectLockRetentionModeCompliance, days)
	worker, deleter := s3test.As(t, cfg, "worker"), s3test.Key(cfg, "deleter")
	if blind {
		policy := `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::BUCKET","arn:aws:s3:::BUCKET/*"]},
			{"Effect":"Deny","Action":"s3:GetBucketObjectLockConfiguration","Resource":"arn:aws:s3:::BUCKET"}]}`
		s3test.Allow(t, cfg, map[string]string{"worker": policy, "deleter": policy})
	}
	return map[string]string{
		"S3_BUCKET": cfg.Bucket, "S3_ACCESS_KEY": worker.AccessKey, "S3_SECRET_KEY": worker.SecretKey.Reveal(),
		"DELETER_S3_ACCESS_KEY": deleter.AccessKey, "DELETER_S3_SECRET_KEY": deleter.SecretKey.Reveal(),
	}
}

// answering are settings of a store that answers in its own way what it locks.
func answering(t *testing.T, status int) map[string]string {
	t.Helper()
	proxy, err := faultproxy.NewHTTP(s3test.Config(t).Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	proxy.Add(faultproxy.Rule{
		Match: func(r *http.Request) bool { return r.URL.Query().Has("object-lock") },
		Do:    func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(status) },
	})
	return map[string]string{"S3_ENDPOINT": proxy.URL}
}

// The checkup says of each thing that is wrong what it is and what to do, names no secret, and of what is well that it is.
func TestCheckupSaysWhatIsWrong(t *testing.T) { //nolint:paralleltest // the environment is the process's
	empty := pgtest.Server(t).SuperuserURL("postgres")
	old := func(context.Context, []string, string) []pgdump.Client {
		return []pgdump.Client{{Major: 17, Version: "17.0", Dir: "/opt/17"}}
	}
	mixed := func(context.Context, []string, string) []pgdump.Client {
		return []pgdump.Client{{Major: 17, Version: "17.0", Dir: "/opt/17"}, {Major: 18, Version: "18.99", Dir: "/opt/18"}}
	}
	mail, err := inbox.Start(inbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer mail.Close()
	well := heroku(t, 0, "hidden-4", "hidden-3")
	env := settings(t)
	for k, v := range map[string]string{
		"HEROKU_API_URL": well, "HEROKU_ID_URL": well, "METRICS_TOKEN": "hidden-6", "SCRATCH_DIR": "/tmp/remora-scratch", "PORT": "5000",
		"ALLOW_OUTDATED_PG":     "true", // of what is installed here
		"DELETER_S3_ACCESS_KEY": env["S3_ACCESS_KEY"], "DELETER_S3_SECRET_KEY": env["S3_SECRET_KEY"],
		"SMTP_URL": "smtp://127.0.0.1:" + strconv.Itoa(mail.Port()), "MAIL_FROM": "a@example.com",
		"PUBLIC_URL": well, // without https, which is counted off below
	} {
		env[k] = v
	}
	for name, c := range map[string]struct {
		change map[string]string
		find   finder
		args   []string // default: all processes
		want   string   // a line, as a regular expression
		wrong  int
	}{
		"all is well": {nil, nil, nil, `^ok       settings   web has all that it needs\.
^ok       database   It answers, is at this release, and KEYRING opens what it holds\.
^ok       clock      This machine's clock agrees with our database's\.
^ok       bucket     The common key may write to it\.
^ok       bucket     The deleter's own key may look at it\.
^ok       bucket     Object Lock is off: who may delete versions
^ok       clients    There are pg_dump and pg_restore \d
^ok       servers    There are servers
^ok       mail       The mail server takes our sign-in; no mail was sent\.
^ok       heroku     SERVICE_TOKEN is good, and \S+@\S+'s, which
^ok       heroku     CLIENT_SECRET is known
^ok       clock      This machine's clock agrees with Heroku's\.
^ok       site       Web answers at PUBLIC_URL and is ready\.`, 0},
		"a lock":              {ofLocked(t, 28, false), nil, nil, `^ok       bucket     Object Lock keeps what is written to it for 28 days, in compliance mode\.$`, 0},
		"a lock for too long": {ofLocked(t, 29, false), nil, nil, `^warning  bucket     Object Lock keeps what is written to it for 29 days, and customers are promised .* Set its default retention to 28 days or fewer`, 0},
		"a lock of nothing":   {ofLocked(t, 0, false), nil, nil, `^warning  bucket     Object Lock is on, and locks nothing`, 0},
		"keys that may not ask": {ofLocked(t, 28, true), nil, nil, `^warning  bucket     The common key may not ask whether it locks .*copies of keys
^warning  bucket     The deleter's key may not ask for how long`, 0},
		"a store without locks": {answering(t, 501), nil, nil, `^ok       bucket     It does not say by Object Lock whether it locks .* must leave out k/`, 0},
		"a store that cannot say": {answering(t, 500), nil, nil, `^warning  bucket     With the common key it could not be asked whether it locks .*copies of keys(?s:.*)
^warning  bucket     Whether it locks what is written to it could not be asked`, 0},
		"no mail":         {map[string]string{"SMTP_URL": "", "MAIL_FROM": ""}, nil, nil, `^warning  mail       There is no mail server.* Set SMTP_URL and MAIL_FROM\.$`, 0},
		"one key for all": {map[string]string{"DELETER_S3_ACCESS_KEY": "", "DELETER_S3_SECRET_KEY": ""}, nil, nil, `^warning  bucket     The deleter takes the common key.* Set DELETER_S3_ACCESS_KEY`, 0},
		"missing settings": {map[string]string{"SSO_SALT": "", "CLIENT_SECRET": ""}, nil, nil, `^wrong    settings   web: settings are missing from the environment: SSO_SALT\.
^wrong    settings   worker: .*CLIENT_SECRET`, 2},
		"malformed settings":  {map[string]string{"LEASE": "1s"}, nil, nil, `^wrong    settings   worker: LEASE must be between 10s and 1h0m0s\.$`, 3},
		"only what is asked":  {map[string]string{"CLIENT_SECRET": ""}, nil, []string{"web", "deleter"}, `^ok       settings   deleter has all that it needs`, 0},
		"no database":         {map[string]string{"DATABASE_URL": "postgres://remora:hidden-0@127.0.0.1:1/remora"}, nil, nil, `^wrong    database   our database does not answer: check DATABASE_URL`, 1},
		"not migrated":        {map[string]string{"DATABASE_URL": empty}, nil, nil, `^wrong    database   \d+ migrations of this release are missing, the first is 0001_\w+\.sql\. Run remora migrate`, 1},
		"no such bucket":      {map[string]string{"S3_BUCKET": "nobodys"}, nil, nil, `^wrong    bucket     It cannot be used: .*Check S3_ENDPOINT`, 2},
		"no pg_dump":          {nil, func(context.Context, []string, string) []pgdump.Client { return nil }, nil, `^wrong    clients    There is no pg_dump on this machine\. Install`, 1},
		"majors are missing":  {nil, old, nil, `^warning  clients    There is none of 14, 15, 16, 18\. .*install the client of each\.$`, 0},
		"known holes":         {map[string]string{"ALLOW_OUTDATED_PG": "false"}, old, []string{"worker"}, `^wrong    clients    17\.0 in /opt/17 has known holes .* the process does not start\. Update it\.$`, 1},
		"allowed holes":       {nil, old, nil, `^warning  clients    17\.0 in /opt/17 has known holes .* as ALLOW_OUTDATED_PG says\. Update it\.$`, 0},
		"some have holes":     {map[string]string{"ALLOW_OUTDATED_PG": "false"}, mixed, []string{"worker"}, `^warning  clients    17\.0 in /opt/17 has known holes .* and is not used\. Update it\.$`, 0},
		"no mail server":      {map[string]string{"SMTP_URL": "smtp://u:hidden-7@127.0.0.1:1", "MAIL_FROM": "a@example.com"}, nil, nil, `^wrong    mail       It cannot be used: the mail server cannot be reached`, 1},
		"a revoked token":     {map[string]string{"SERVICE_TOKEN": "hidden-8"}, nil, nil, `^wrong    heroku     SERVICE_TOKEN is not, or no longer, good\. Make a new one`, 1},
		"another's token":     {map[string]string{"SERVICE_ACCOUNT": "other@remora.example"}, nil, nil, `^wrong    heroku     SERVICE_TOKEN is not of the account that SERVICE_ACCOUNT names`, 1},
		"a reset secret":      {map[string]string{"CLIENT_SECRET": "hidden-9"}, nil, nil, `^wrong    heroku     The token endpoint does not accept CLIENT_SECRET\.`, 1},
		"no Heroku":           {map[string]string{"HEROKU_API_URL": "http://127.0.0.1:1"}, nil, nil, `^wrong    heroku     Heroku's API cannot be asked: `, 1},
		"a clock that is off": {map[string]string{"HEROKU_API_URL": heroku(t, -10*time.Minute, "hidden-4", "hidden-3")}, nil, nil, `^wrong    clock      This machine's clock and Heroku's differ by (9m59s|10m\d+s)\. Set it`, 1},
		"nobody is woken":     {map[string]string{"METRICS_TOKEN": ""}, nil, nil, `^warning  metrics    There is no METRICS_TOKEN`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range env {
				t.Setenv(k, v)
			}
			for k, v := range c.change {
				t.Setenv(k, v)
			}
			find := c.find
			if find == nil {
				find = pgdump.Find
			}
			var out, log logtest.Buffer
			err := run(t.Context(), append([]string{"checkup"}, c.args...), &out, &log, dialer.Strict(), find)
			wrongs := strings.Count("\n"+out.String(), "\nwrong ")
			https := strings.Count(out.String(), "PUBLIC_URL does not begin with https://")
			if wrongs-https != c.wrong || (err != nil) != (wrongs > 0) {
				t.Errorf("%d are wrong: %v\n%s", wrongs, err, out.String())
			}
			for line := range strings.SplitSeq(c.want, "\n") {
				if !regexp.MustCompile("(?m)" + line).MatchString(out.String()) {
					t.Errorf("no %s in:\n%s", line, out.String())
				}
			}
			for _, text := range []string{out.String(), log.String()} {
				if strings.Contains(text, "hidden-") || strings.Contains(text, env["KEYRING"]) {
					t.Errorf("a secret is shown: %s", text)
				}
			}
		})
	}
}
