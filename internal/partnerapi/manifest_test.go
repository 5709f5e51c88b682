package partnerapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/partnerapi"
	"github.com/remora-backup/remora/internal/remora"
)

var offer = partnerapi.Offer{ID: "remora-backup", PublicURL: "https://remora.example.com", Regions: []string{"us", "eu"}}

// The manifest is what Heroku's documentation asks for, and we answer where it says.
func TestManifestIsWhatHerokuIsToldAndWhatWeDo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := offer.WriteManifest(&out); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/addon-manifest.json") // written by hand, from Heroku's page on the format
	if err != nil {
		t.Fatal(err)
	}
	var m, w map[string]any
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, w) {
		t.Errorf("%s", out.String())
	}
	production := m["api"].(map[string]any)["production"].(map[string]any)
	s := newService(t)
	id := newID()
	base := strings.TrimPrefix(production["base_url"].(string), offer.PublicURL)
	if a := s.call(http.MethodPost, base, provisionBody(id)); a.Code != http.StatusAccepted {
		t.Errorf("a provision at %s: %d", base, a.Code)
	}
	if a := s.call(http.MethodDelete, base+"/"+id, ""); a.Code != http.StatusNoContent {
		t.Errorf("a removal at %s: %d", base, a.Code)
	}
	if a := s.call(http.MethodPost, strings.TrimPrefix(production["sso_url"].(string), offer.PublicURL), ""); a.Code != http.StatusForbidden {
		t.Errorf("a sign-on without a token: %d", a.Code)
	}
}

// What Heroku would refuse is said before it is sent there.
func TestManifestNamesTheSettingThatHerokuWouldRefuse(t *testing.T) {
	t.Parallel()
	for setting, o := range map[string]partnerapi.Offer{
		"ADDON_ID":      {ID: "Remora_Backup", PublicURL: offer.PublicURL, Regions: offer.Regions},
		"PUBLIC_URL":    {ID: offer.ID, PublicURL: "http://remora.example.com", Regions: offer.Regions},
		"ADDON_REGIONS": {ID: offer.ID, PublicURL: offer.PublicURL, Regions: []string{"eu"}},
	} {
		var out bytes.Buffer
		if err := o.WriteManifest(&out); err == nil || !strings.HasPrefix(err.Error(), setting+" must ") || strings.Contains(err.Error(), "\n") || out.Len() > 0 {
			t.Errorf("%s: %v %s", setting, err, out.String())
		}
	}
}

func TestPlansForThePortal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := partnerapi.WritePlans(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, p := range remora.Plans() {
		if !strings.HasPrefix(lines[i+1], p.Slug+" ") || !strings.Contains(lines[i+1], p.Name) || !strings.Contains(lines[i+1], remora.Bytes(p.StoredBytes)) {
			t.Errorf("%s: %q", p.Slug, lines[i+1])
		}
	}
	if len(lines) != len(remora.Plans())+1 || !strings.Contains(out.String(), "15.00") || !strings.Contains(out.String(), "every 6 hours") {
		t.Error(out.String())
	}
}
