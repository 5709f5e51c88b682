package jobworkers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// A run asks Heroku for all that it needs at once: here no question is answered before both have come.
func TestACredentialIsReadInOneWait(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	both := make(chan struct{})
	heroku := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2 {
			close(both)
		}
		select {
		case <-both:
		case <-r.Context().Done(): // it was waited for in vain
			return
		}
		answer := `{"REMORA_URL": "postgres://remora_ro@h/d"}`
		if strings.HasSuffix(r.URL.Path, "/addon-attachments") {
			answer = `[{"name": "REMORA", "namespace": "credential:remora_ro", "addon": {"id": "pg"}}]`
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(heroku.Close)
	client, err := herokuapi.New(herokuapi.Config{APIURL: heroku.URL, IDURL: heroku.URL, HTTP: heroku.Client()})
	if err != nil {
		t.Fatal(err)
	}
	w := &Workers{Config: Config{Heroku: client, ServiceToken: redact.New("token")}}
	url, err := w.credentialOf(t.Context(), remora.Database{AddonID: "pg", Attachment: "REMORA", Credential: "remora_ro"}, "shop-backups")
	if err != nil || url.Reveal() != "postgres://remora_ro@h/d" {
		t.Error(err)
	}
}
