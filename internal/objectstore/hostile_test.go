package objectstore_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/objectstore"
)

// A customer's own store may say what it likes: of what it names no more is held, or said back to it, than S3's own would take.
func TestWhatAStoreNamesIsBounded(t *testing.T) {
	t.Parallel()
	const openUploads, list, part = "ListMultipartUploads", "ListObjectsV2", "a part's answer"
	long := strings.Repeat("A", 100_000)
	for name, c := range map[string]struct {
		at, answer string
		most       int // answers
	}{
		"uploads without a name, and no end":    {openUploads, `<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>x</NextKeyMarker>` + strings.Repeat("<Upload/>", 50_000) + `</ListMultipartUploadsResult>`, 20},
		"too many entries of uploads":           {openUploads, `<ListMultipartUploadsResult>` + strings.Repeat("<Upload/>", 100_000) + `</ListMultipartUploadsResult>`, 1},
		"an upload's long name":                 {openUploads, `<ListMultipartUploadsResult><Upload><Key>k</Key><UploadId>` + long + `</UploadId></Upload></ListMultipartUploadsResult>`, 1},
		"a long place where uploads go on":      {openUploads, `<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>` + long + `</NextKeyMarker></ListMultipartUploadsResult>`, 1},
		"too many entries of objects":           {list, `<ListBucketResult>` + strings.Repeat("<Contents/>", 100_000) + `</ListBucketResult>`, 1},
		"a long place where a list goes on":     {list, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>` + long + `</NextContinuationToken></ListBucketResult>`, 1},
		"the long name of an upload that began": {part, `<InitiateMultipartUploadResult><UploadId>` + long + `</UploadId></InitiateMultipartUploadResult>`, 1},
		"a part's long ETag":                    {part, `<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := small(t)
			cfg.Attempts = 1
			_, b, proxy := behind(t, cfg)
			said := 0
			proxy.Add(faultproxy.Rule{Do: func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				_, _ = io.Copy(io.Discard, r.Body)
				if q := r.URL.Query(); c.at == part && (q.Has("uploads") && r.Method == http.MethodGet || r.Method == http.MethodDelete) { // the abort
					_, _ = io.WriteString(w, "<ListMultipartUploadsResult/>")
					return
				}
				said++
				if r.Method == http.MethodPut {
					w.Header().Set("ETag", `"`+long[:1000]+`"`)
					return
				}
				_, _ = io.WriteString(w, c.answer)
			}})
			var err error
			switch c.at {
			case openUploads:
				_, err = b.OpenUploads(t.Context(), "")
			case list:
				err = b.List(t.Context(), "", func(objectstore.Object) error { return nil })
			case part:
				u := b.Create(t.Context(), "k")
				if _, err = u.Write(random(20, 5*mib)); err == nil {
					err = u.Finish()
				}
				_ = u.Abort()
			}
			if err == nil || said > c.most || len(fmt.Sprint(err)) > 500 {
				t.Errorf("%d answers, then %.300v", said, err)
			}
		})
	}
}
