package notify

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

func TestAPingIsACallWithoutABody(t *testing.T) {
	t.Parallel()
	var heard []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		heard = append(heard, r.Method+" "+r.URL.String()+" "+string(body))
		switch r.URL.Path {
		case "/moved/fail":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer srv.Close()
	s := sender(t)
	call := func(path string, kind remora.PingKind) (string, error) {
		to, err := remora.PingAddress(redact.New(srv.URL+path), kind)
		if err != nil {
			t.Fatal(err)
		}
		return s.Ping(t.Context(), to)
	}
	if said, err := call("/5e3d?rid=1", remora.PingFail); err != nil || said != "It answered 200 OK." {
		t.Error(said, err)
	}
	_, err := call("/moved", remora.PingFail)
	failed(t, err, "redirects", false)
	_, err = call("/broken", remora.PingSuccess)
	failed(t, err, "502", true)
	if want := []string{"POST /5e3d/fail?rid=1 ", "POST /moved/fail ", "POST /broken "}; len(heard) != 3 || heard[0] != want[0] || heard[1] != want[1] || heard[2] != want[2] {
		t.Errorf("%q", heard)
	}
	_, err = s.Ping(t.Context(), redact.New("http://10.0.0.1/x"))
	failed(t, err, "https", false)
	_, err = s.Ping(t.Context(), redact.New("https://10.0.0.1/x"))
	failed(t, err, "not public", false)
}
