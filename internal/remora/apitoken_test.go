package remora_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/remora"
)

func TestAnAPISecretIsKnownByItsForm(t *testing.T) {
	t.Parallel()
	secret := remora.NewAPISecret()
	token := secret.Reveal()
	if !strings.HasPrefix(token, "remora_") || !remora.IsAPISecret(token) || strings.Contains(fmt.Sprintf("%v %+v %#v %s", secret, secret, secret, secret), token[8:]) {
		t.Error("not as it should be")
	}
	other := []byte(token)
	other[20] ^= 1 // stays a digit or a letter from a to f, or is none: wrong in both cases
	for _, bad := range []string{"", "remora_", token[1:], token + "0", strings.ToUpper(token), " " + token, string(other), "remora_" + remora.NewToken() + "00000000"} {
		if remora.IsAPISecret(bad) {
			t.Errorf("%q", bad)
		}
	}
}

func TestEachScopeIncludesTheOnesBefore(t *testing.T) {
	t.Parallel()
	all := remora.APIScopes()
	for i, have := range all {
		for k, need := range all {
			if have.Allows(need) != (k <= i) {
				t.Errorf("%s allows %s: %v", have, need, have.Allows(need))
			}
		}
		if have.Allows("") || have.Allows("owner") || have.Says() == "" {
			t.Error(have)
		}
	}
	if remora.APIScope("owner").Allows(remora.ScopeRead) || remora.APIScope("").Allows(remora.ScopeRead) {
		t.Error("what is no scope allows something")
	}
}
