package keyring_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/redact"
)

// vectors are what a former release has sealed and signed. They are never made anew: a release that does not open them would
// not open what its own database holds, nor its customers' backups. The keys are for nothing else.
type vectors struct {
	Ring   string
	Sealed []struct {
		Context       []string
		Plain, Sealed string
	}
	MACs []struct{ Purpose, Data, MAC string }
	// Subkey is what is kept of a key that is retired.
	Subkey struct{ ID, Purpose, Subkey string }
}

func TestWhatWasSealedBeforeOpens(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil || len(v.Sealed) != 6 || len(v.MACs) != 4 {
		t.Fatal(err)
	}
	ring, err := keyring.Parse(redact.New(v.Ring))
	if err != nil {
		t.Fatal(err)
	}
	decode := func(s string) []byte {
		t.Helper()
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, x := range v.Sealed {
		if plain, err := ring.Open(decode(x.Sealed), x.Context...); err != nil || string(plain) != x.Plain {
			t.Errorf("%v: %q, %v", x.Context, plain, err)
		}
		if _, err := ring.Open(decode(x.Sealed), append(x.Context, "")...); err == nil {
			t.Errorf("%v: opens elsewhere too", x.Context)
		}
	}
	for _, x := range v.MACs {
		if !ring.CheckMAC(x.Purpose, []byte(x.Data), decode(x.MAC)) {
			t.Errorf("the MAC of %s", x.Purpose)
		}
	}
	sub, err := ring.Subkey(v.Subkey.ID, v.Subkey.Purpose)
	if err != nil || hex.EncodeToString([]byte(sub.Reveal())) != v.Subkey.Subkey {
		t.Error("what is kept of a retired key is another: ", err)
	}
	newest, _, _ := strings.Cut(v.Ring, ",")
	alone, err := keyring.Parse(redact.New(newest))
	if err != nil {
		t.Fatal(err)
	}
	old := v.MACs[0] // of k1, for manifests
	if alone.CheckMAC(old.Purpose, []byte(old.Data), decode(old.MAC)) || alone.Lacks(old.Purpose, decode(old.MAC)) != v.Subkey.ID {
		t.Error("a key that is not there checks")
	}
	alone.Remember(v.Subkey.ID, v.Subkey.Purpose, sub)
	if !alone.CheckMAC(old.Purpose, []byte(old.Data), decode(old.MAC)) || alone.Lacks(old.Purpose, decode(old.MAC)) != "" {
		t.Error("what is kept of a retired key does not check what it has signed")
	}
	if alone.CheckMAC(v.MACs[1].Purpose, []byte(v.MACs[1].Data), decode(v.MACs[1].MAC)) {
		t.Error("it checks what it was not kept for")
	}
	if _, err := alone.Open(decode(v.Sealed[0].Sealed), v.Sealed[0].Context...); err == nil {
		t.Error("what is kept of a retired key opens something")
	}
	for _, s := range []string{alone.String(), strings.Join(alone.IDs(), ",")} {
		if strings.Contains(s, "k1") {
			t.Error("a retired key is named as one of the ring: ", s)
		}
	}
}
