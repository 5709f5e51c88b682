package dashboard

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/go-chi/chi/v5"
)

// assets are the static files by the names that pages give them, which carry a hash of what is in them: a changed file
// has another name, so that a browser may keep each for good.
type assets struct {
	named map[string]string // remora.css: remora-0123abcd.css
	files map[string]string // and back
}

func readAssets(files fs.FS) (assets, error) {
	a := assets{map[string]string{}, map[string]string{}}
	all, err := fs.ReadDir(files, "static")
	if err != nil {
		return a, err
	}
	for _, f := range all {
		content, err := fs.ReadFile(files, "static/"+f.Name())
		if err != nil {
			return a, err
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(f.Name())
		name := strings.TrimSuffix(f.Name(), ext) + "-" + hex.EncodeToString(sum[:4]) + ext
		a.named[f.Name()], a.files[name] = name, f.Name()
	}
	return a, nil
}

// path is where a page finds a static file.
func (a assets) path(name string) string { return "/static/" + a.named[name] }

// static serves what pages load, each file by its name: folders are not listed. By its plain name, which a page of
// another package's may know, it is kept for five minutes.
func (p *Pages) static(w http.ResponseWriter, r *http.Request) {
	name := chi.URLParam(r, "file")
	keep := "public, max-age=31536000, immutable"
	if file, ok := p.assets.files[name]; ok {
		name = file
	} else if _, ok := p.assets.named[name]; ok {
		keep = "public, max-age=300"
	} else {
		p.missing(w, r)
		return
	}
	w.Header().Set("Cache-Control", keep)
	http.ServeFileFS(w, r, files, "static/"+name) //nolint:gosec // one of the embedded files, as seen above
}
