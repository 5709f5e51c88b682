package config_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/config"
	"github.com/remora-backup/remora/internal/keyring"
)

// These set the environment, and so are not parallel.
func set(t *testing.T, change map[string]string) {
	t.Helper()
	all := map[string]string{
		"DATABASE_URL": "postgres://u:CANARY@h/d", "KEYRING": keyring.Generate("k1").Reveal(), "ADDON_PASSWORD": "CANARY", "SSO_SALT": "CANARY",
		"SERVICE_ACCOUNT": "s@example.com", "PUBLIC_URL": "https://remora.example/", "S3_ENDPOINT": "https://s3.example", "S3_BUCKET": "b",
		"S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "CANARY", "CLIENT_SECRET": "CANARY", "SERVICE_TOKEN": "CANARY", "PORT": "5000", "BIND": "",
	}
	for k, v := range change {
		all[k] = v
	}
	for k, v := range all {
		t.Setenv(k, v)
	}
}

func TestLoad(t *testing.T) {
	set(t, nil)
	s, err := config.Load([]string{"web"}, io.Discard)
	if err != nil || s.Command != config.Web || s.Site.ServiceAccount != "s@example.com" || s.Site.PublicURL != "https://remora.example" || s.Partner.AddonID != "remora-backup" || s.Keys == nil {
		t.Errorf("%+v %v", s, err)
	}
	s, err = config.Load([]string{"worker"}, io.Discard)
	if err != nil || s.Work.Memory != 512 || s.Heroku.APIURL != "https://api.heroku.com" || s.Heroku.ClientSecret.Reveal() != "CANARY" {
		t.Errorf("%+v %v", s, err)
	}
	s, err = config.Load([]string{"verifier"}, io.Discard)
	if err != nil || s.Command != config.Verifier || s.Verify.Proofs != 1 || s.Verify.ScratchDisk != 20480 || s.Store.Bucket != "b" || s.Keys == nil {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := config.Load([]string{"--help"}, io.Discard); !errors.Is(err, config.ErrHelp) {
		t.Error(err)
	}
	var help strings.Builder
	if _, err := config.Load([]string{"web", "--help"}, &help); !errors.Is(err, config.ErrHelp) {
		t.Error(err)
	}
	_, flags, _ := strings.Cut(strings.Join(strings.Fields(help.String()), " "), "Flags:")
	if n := strings.Count(flags, "=SECRET "); n == 0 || strings.Count(flags, "A secret: from the environment only.") != n {
		t.Errorf("not every secret is said to be one: %s", flags)
	}
}

// E-mail is set up whole or not at all.
func TestMailIsSetUpWholeOrNotAtAll(t *testing.T) {
	for name, c := range map[string]struct{ url, from, want string }{
		"neither": {"", "", ""}, "both": {"smtp://u:CANARY@h:587", "Remora <a@example.com>", ""},
		"no sender": {"smtp://u:CANARY@h:587", "", "SMTP_URL and MAIL_FROM"}, "no server": {"", "a@example.com", "SMTP_URL and MAIL_FROM"},
	} {
		t.Run(name, func(t *testing.T) {
			set(t, map[string]string{"SMTP_URL": c.url, "MAIL_FROM": c.from})
			s, err := config.Load([]string{"web"}, io.Discard)
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "CANARY")) {
				t.Errorf("%v", err)
			}
			if err == nil && (s.Mail.SMTPURL.Reveal() != c.url || s.Rounds.TickEvery == 0) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What is missing on the command line is said, and never passes for settings of another command.
func TestTheCommandLineIsChecked(t *testing.T) {
	set(t, nil)
	for _, args := range [][]string{{"table"}, {"table", "FILE"}, {"table", "FILE", "public.orders"}, {"table", "-o", "OUT"}} {
		if s, err := config.Load(args, io.Discard); err == nil {
			t.Errorf("%v: %+v", args, s.Command)
		}
	}
	for _, args := range [][]string{{"audit"}, {"audit", "check"}, {"audit", "check", "a", "b"}} {
		if s, err := config.Load(args, io.Discard); err == nil {
			t.Errorf("%v: %+v", args, s.Command)
		}
	}
	for _, resource := range []string{"", "some-id"} {
		s, err := config.Load(append([]string{"audit", "verify"}, strings.Fields(resource)...), io.Discard)
		if err != nil || s.Command != config.VerifyAudit || s.Audit.Resource != resource || s.Keys == nil || s.Database.IsZero() {
			t.Errorf("%+v %v", s, err)
		}
	}
	s, err := config.Load([]string{"table", "-o", "OUT", "FILE", "public.orders"}, io.Discard)
	if err != nil || s.Command != config.FetchTable || s.Table.To != "OUT" {
		t.Errorf("%+v %v", s, err)
	}
}

// Every setting is a flag too, and wins over the environment; a secret is none, and is not told.
func TestASecretIsNotTakenFromTheCommandLine(t *testing.T) {
	set(t, map[string]string{"PORT": "5055"})
	if s, err := config.Load([]string{"web", "--port=5066"}, io.Discard); err != nil || s.Site.Port != 5066 {
		t.Errorf("%+v %v", s.Site, err)
	}
	for process, flags := range map[string]string{
		"web": "--keyring --database-url --addon-password --sso-salt --s3-secret-key --smtp-url --metrics-token --operator-password", "worker": "--client-secret --service-token",
		"deleter": "--deleter-s3-secret-key", "open": "--secret-key --session",
	} {
		for flag := range strings.FieldsSeq(flags) {
			args := []string{process, flag + "=CANARY"}
			if process == "open" {
				args = append(args, "-i", "KEY", "FROM")
			}
			if _, err := config.Load(args, io.Discard); err == nil || !strings.Contains(err.Error(), "is a secret") || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%v: %v", args, err)
			}
		}
	}
	if err := os.Unsetenv("DATABASE_URL"); err != nil { // which set puts back
		t.Fatal(err)
	}
	if _, err := config.Load([]string{"web", "--keyring=CANARY"}, io.Discard); err == nil || !strings.Contains(err.Error(), "KEYRING is a secret") || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("beside a setting that is missing: %v", err)
	}
}

// A wrong or missing setting is named, its value never is.
func TestProblemsAreNamed(t *testing.T) {
	for setting, c := range map[string]struct{ command, value string }{
		"PUBLIC_URL": {"web", "nonsense"}, "KEYRING": {"web", "k1:CANARY"}, "DATABASE_URL": {"migrate", ""}, "SERVICE_TOKEN": {"worker", ""},
		"PORT": {"web", "CANARY"}, "CONCURRENCY": {"worker", "-1"}, "PER_SERVER": {"worker", "0"}, "MEMORY_MB": {"worker", "64"}, "LEASE": {"worker", "1s"}, "TICK_EVERY": {"worker", "CANARY"}, "SWEEP_EVERY": {"worker", "-1m"}, "CHECK_EVERY": {"worker", "0s"},
		"PROOFS": {"verifier", "0"}, "SCRATCH_DIR": {"verifier", "relative"}, "SCRATCH_MEMORY_MB": {"verifier", "1"}, "SCRATCH_DISK_MB": {"verifier", "1"},
		"S3_ENDPOINT": {"worker", "foo"}, "HEROKU_API_URL": {"worker", "api.heroku.com"}, "LINK_GOOD": {"web", "-1h"}, "SERVICE_ACCOUNT": {"web", "backups"},
		"OPERATOR_PASSWORD": {"web", "CANARY-of-19-chars."}, "POOLS": {"verifier", "us,moon"},
	} {
		t.Run(setting, func(t *testing.T) {
			set(t, map[string]string{setting: c.value})
			_, err := config.Load([]string{c.command}, io.Discard)
			if err == nil || !strings.Contains(strings.ToUpper(strings.ReplaceAll(err.Error(), "-", "_")), setting) {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), "CANARY") && setting == "KEYRING" {
				t.Errorf("the value is told: %v", err)
			}
		})
	}
}

// The manifest and the checkup need fewer settings than what they are about.
func TestCommandsOfTheOperator(t *testing.T) {
	set(t, map[string]string{"ADDON_PASSWORD": "", "DATABASE_URL": ""})
	s, err := config.Load([]string{"manifest"}, io.Discard)
	if err != nil || s.Command != config.Manifest || s.Offer.PublicURL != "https://remora.example" || s.Offer.AddonID != "remora-backup" || len(s.Offer.Regions) != 2 {
		t.Errorf("%+v %v", s.Offer, err)
	}
	for _, name := range []string{"checkup", "doctor"} {
		if s, err := config.Load([]string{name}, io.Discard); err != nil || s.Command != config.Checkup || len(s.Checkup) != 4 {
			t.Errorf("%+v %v", s, err)
		}
		if s, err := config.Load([]string{name, "web", "deleter"}, io.Discard); err != nil || s.Command != config.Checkup || len(s.Checkup) != 2 || s.Checkup[1] != config.Deleter {
			t.Errorf("%+v %v", s, err)
		}
		if _, err := config.Load([]string{name, "nurse"}, io.Discard); err == nil {
			t.Error("it looks at a process that is none")
		}
	}
}
