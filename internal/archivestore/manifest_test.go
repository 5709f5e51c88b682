package archivestore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/redact"
)

// signed puts a manifest into the envelope that only whoever has the key can make.
func signed(tb testing.TB, keys MACer, inner []byte) []byte {
	tb.Helper()
	mac, err := keys.MAC(MACPurpose, inner)
	if err != nil {
		tb.Fatal(err)
	}
	all, err := json.Marshal(envelope{hex.EncodeToString(mac), inner})
	if err != nil {
		return nil // inner is no JSON
	}
	return all
}

func elsewhere(tb testing.TB) *keyring.Keyring {
	tb.Helper()
	keys, err := keyring.Parse(keyring.Generate("next"))
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

// A process whose ring is behind cannot tell whether a manifest is ours, and does not call it damaged. What it can tell it does.
func TestAKeyThatIsNotHereIsNoDamage(t *testing.T) {
	t.Parallel()
	ref := Ref{Resource: "01234567-89ab-cdef-0123-456789abcdef", Backup: "11111111-2222-4333-8444-555555555555", Epoch: 3}
	m := Manifest{
		Format: manifestFormat, Resource: ref.Resource, Backup: ref.Backup, Epoch: ref.Epoch, PlainSize: 10,
		Objects: []StoredObject{{Name: headName, Size: 20, PlainSize: 10}},
	}
	there := elsewhere(t)
	whole, err := m.encode(there)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(whole, ref, there); err != nil {
		t.Fatal(err)
	}
	behind, err := keyring.Parse(keyring.Generate("now"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(whole, ref, behind); !errors.Is(err, ErrUnknownKey) || errors.Is(err, ErrNotOurs) || !strings.Contains(err.Error(), "(next)") {
		t.Error(err)
	}
	forged := bytes.Replace(whole, []byte(`"plain_size":10`), []byte(`"plain_size":11`), 1)
	if _, err := decode(forged, ref, there); !errors.Is(err, ErrNotOurs) {
		t.Error(err)
	}
	if _, err := decode(bytes.Replace(whole, []byte(`"mac":"01`), []byte(`"mac":"02`), 1), ref, behind); !errors.Is(err, ErrNotOurs) { // no MAC of any key's
		t.Error(err)
	}
}

// Whatever lies where a manifest should: it is refused as not ours, signed or not, or it is exactly what was written for
// this backup, and adds up. A signature alone makes nobody's bytes a manifest: each input is tried as it comes and, as if
// our key had been stolen, signed.
func FuzzManifest(f *testing.F) {
	keys, err := keyring.Parse(redact.New("fuzz:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))
	if err != nil {
		f.Fatal(err)
	}
	ref := Ref{Resource: "01234567-89ab-cdef-0123-456789abcdef", Backup: "11111111-2222-4333-8444-555555555555", Epoch: 3}
	good := Manifest{
		Format: manifestFormat, Resource: ref.Resource, Backup: ref.Backup, Epoch: ref.Epoch, ServerVersion: "15.20", PlainSize: 30,
		Objects: []StoredObject{{Name: headName, Size: 20, PlainSize: 10, SHA256: "00", Opening: "00"}, {Name: bodyName(1), Size: 40, PlainSize: 20}},
	}
	whole, err := good.encode(keys)
	if err != nil {
		f.Fatal(err)
	}
	inner, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	other, err := good.encode(elsewhere(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(other)
	f.Add(inner)
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, all := range [][]byte{in, signed(t, keys, in)} {
			m, err := decode(all, ref, keys)
			if err != nil {
				if !errors.Is(err, ErrNotOurs) && !errors.Is(err, ErrUnknownKey) {
					t.Errorf("refused by %T: %v", err, err)
				}
				continue
			}
			if m.Resource != ref.Resource || m.Backup != ref.Backup || m.Epoch != ref.Epoch || len(m.Objects) == 0 || m.PlainSize < 0 {
				t.Errorf("taken for this backup's: %+v", m)
			}
			var e envelope
			if json.Unmarshal(all, &e) != nil || !bytes.Equal(signed(t, keys, e.Manifest), all) {
				t.Errorf("taken, and not what is signed: %q", all)
			}
		}
		if k, ok := ParseKey(string(in)); ok && k.key(string(in[strings.LastIndexByte(string(in), '/')+1:])) != string(in) {
			t.Errorf("%q is taken for a key", in)
		}
	})
}
