package proof_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/proof"
)

// Names in another encoding are asked for in it, also after they were stored as JSON, which has no bytes.
func TestNamesInOtherEncodings(t *testing.T) {
	t.Parallel()
	c, err := customer()
	if err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			d := database{Cluster: c, name: fmt.Sprintf("shop_%d", numbered.Add(1))}
			d.admin = c.SuperuserURL(d.name)
			err := run(c.SuperuserURL("postgres"), "CREATE DATABASE "+d.name+" OWNER shop TEMPLATE template0 ENCODING '"+encoding+"' LOCALE 'C'")
			if err == nil {
				err = run(d.admin, "ALTER SCHEMA public OWNER TO shop", "SET client_encoding = 'LATIN1'", // taken as it is in SQL_ASCII
					"CREATE TABLE \"M\xfcller\" AS SELECT 1 AS \"Stra\xdfe\", 'caf\xe9' AS drink", "CREATE SEQUENCE \"z\xe4hler\"", "SELECT setval('\"z\xe4hler\"', 12)")
			}
			if err != nil {
				t.Fatal(err)
			}
			a := d.archive(t)
			stored := func(change func(*pgarchive.Contents)) proof.Archive {
				text, err := json.Marshal(a.Contents)
				if err != nil {
					t.Fatal(err)
				}
				b := a
				b.Contents = &pgarchive.Contents{}
				if err := json.Unmarshal(text, b.Contents); err != nil {
					t.Fatal(err)
				}
				change(b.Contents)
				return b
			}
			wants(t, prove(t, stored(func(*pgarchive.Contents) {})), proof.Passed)
			name := map[string]string{"LATIN1": "M\u00fcller", "SQL_ASCII": "M\uFFFDller"}[encoding]
			wants(t, prove(t, stored(func(c *pgarchive.Contents) { c.Tables[0].Rows++ })), proof.Differs, "table public."+name+" has 1 rows in the copy; 2 were read")
		})
	}
}
