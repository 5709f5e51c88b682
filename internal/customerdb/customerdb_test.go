package customerdb_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func TestServerAndRefusals(t *testing.T) {
	c, err := localpg.Start(t.Context(), localpg.Config{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop() //nolint:errcheck // the test is over
	conn, err := pgx.Connect(t.Context(), c.SuperuserURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test's own
	if _, err := conn.Exec(t.Context(), "CREATE ROLE reader LOGIN PASSWORD 'canary-pw'; CREATE ROLE full LOGIN PASSWORD 'canary-pw' CONNECTION LIMIT 0"); err != nil {
		t.Fatal(err)
	}
	_, port := c.Addr()
	good := customerdb.Target{
		Credential: credential.Credential{Host: "db.example", Port: uint16(port), User: "reader", Password: redact.New("canary-pw"), Database: "postgres"},
		Addr:       netip.MustParseAddr("127.0.0.1"), AppName: "remora-test",
	}
	plain, err := localpg.Start(t.Context(), localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Stop()                      //nolint:errcheck // the test is over
	t.Setenv("PGHOST", "/must/not/be/read") // and so this test is not parallel
	t.Setenv("PGOPTIONS", "-c nonsense=1")
	t.Setenv("PGPASSWORD", "another")
	session, err := customerdb.Open(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := session.Server(); s.Major < 13 || !strings.HasPrefix(s.Version, fmt.Sprint(s.Major)) || s.Size < 1<<20 || s.Standby {
		t.Fatalf("%+v", s)
	}
	if _, err := conn.Exec(t.Context(), "ANALYZE pg_catalog.pg_attribute, pg_catalog.pg_description"); err != nil {
		t.Fatal(err)
	}
	again, err := customerdb.Open(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := again.Server(); s.Size < 1<<20 || s.Columns < 1000 || s.Comments < 1000 {
		t.Errorf("%+v", s)
	}
	for name, c := range map[string]struct {
		change func(*customerdb.Target)
		want   remora.Reason
	}{
		"password": {func(t *customerdb.Target) { t.Credential.Password = redact.New("canary-wrong") }, remora.ReasonLoginRefused},
		"role":     {func(t *customerdb.Target) { t.Credential.User = "nobody" }, remora.ReasonLoginRefused},
		"database": {func(t *customerdb.Target) { t.Credential.Database = "missing" }, remora.ReasonDatabaseMissing},
		"limit":    {func(t *customerdb.Target) { t.Credential.User = "full" }, remora.ReasonTooManyConnections},
		"port":     {func(t *customerdb.Target) { t.Credential.Port = 1 }, remora.ReasonUnreachable},
	} {
		bad := good
		c.change(&bad)
		_, err := customerdb.Open(t.Context(), bad)
		var f *remora.Failure
		if !errors.As(err, &f) || f.Reason != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		if out := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(out, "canary") {
			t.Errorf("%s: %s", name, out)
		}
	}
	_, port = plain.Addr()
	good.Credential.Port = uint16(port)
	_, err = customerdb.Open(t.Context(), good)
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonTLSRequired {
		t.Error(err)
	}
}
