package jobworkers

import (
	"errors"
	"io"
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
	url, err := credentialFrom(t, func(w http.ResponseWriter, r *http.Request) {
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
	})
	if err != nil || url.Reveal() != "postgres://remora_ro@h/d" {
		t.Error(err)
	}
}

// Whichever question is refused, the other one is not waited for, and the refusal is what is told.
func TestARefusedCredentialIsToldAtOnce(t *testing.T) {
	t.Parallel()
	for _, refused := range []string{"/addon-attachments", "/config-vars"} {
		_, err := credentialFrom(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, refused) {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body) // only then the server sees that its client has gone
			<-r.Context().Done()
		})
		var f *remora.Failure
		if !errors.As(err, &f) || f.Reason != remora.ReasonNotShared {
			t.Errorf("%s: %v", refused, err)
		}
	}
}

func credentialFrom(t *testing.T, answer http.HandlerFunc) (redact.Secret, error) {
	t.Helper()
	heroku := httptest.NewServer(answer)
	t.Cleanup(heroku.Close)
	client, err := herokuapi.New(herokuapi.Config{APIURL: heroku.URL, IDURL: heroku.URL, HTTP: heroku.Client()})
	if err != nil {
		t.Fatal(err)
	}
	w := &Workers{Config: Config{Heroku: client, ServiceToken: redact.New("token")}}
	return w.credentialOf(t.Context(), remora.Database{AddonID: "pg", Attachment: "REMORA", Credential: "remora_ro"}, "shop-backups")
}
