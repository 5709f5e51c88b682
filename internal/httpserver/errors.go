package httpserver

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/remora"
)

var statuses = map[remora.Kind]int{
	remora.KindInvalid: http.StatusUnprocessableEntity, remora.KindPlanLimit: http.StatusUnprocessableEntity,
	remora.KindConflict: http.StatusConflict, remora.KindNotFound: http.StatusNotFound, remora.KindGone: http.StatusGone,
	remora.KindForbidden: http.StatusForbidden, remora.KindUnauthorized: http.StatusUnauthorized,
	remora.KindBusy: http.StatusTooManyRequests,
}

// Status is what an error is to a customer or a customer's program; false for what is ours to mend, which is a 500.
func Status(err error) (int, bool) {
	status, known := statuses[remora.KindOf(err)]
	if !known {
		return http.StatusInternalServerError, false
	}
	return status, true
}

// AskedFor is what a request asked for, and by which identifiers in its address, to be written down where one of them is not
// the asker's.
func AskedFor(r *http.Request) (request string, ids []string) {
	route := chi.RouteContext(r.Context())
	for _, id := range route.URLParams.Values {
		if _, err := remora.KnownID[string](id, ""); err == nil {
			ids = append(ids, id)
		}
	}
	return r.Method + " " + route.RoutePattern(), ids
}
