package dashboard_test

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/remora-backup/remora/internal/browsertest"
)

// screenshots is where TestPages writes what it sees; nowhere where it is empty.
var screenshots = flag.String("screenshots", "", "folder to write a picture of every page into")

// tab is a page in the browser, with the cookie of the tenant.
func (n *tenant) tab(t *testing.T, script bool) *browsertest.Tab {
	t.Helper()
	return browsertest.Open(t, n.http.URL, script, "remora", n.session)
}

// picture writes what the whole page looks like, where pictures are wanted.
func picture(b *browsertest.Tab, name string) {
	if *screenshots != "" {
		b.Picture(filepath.Join(*screenshots, name+".png"))
	}
}
