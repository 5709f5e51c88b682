package dashboard

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/remora"
)

// RemovalStore is what a removed add-on's receipt needs.
type RemovalStore interface {
	// Receipt returns what became of a removed add-on. KindNotFound for an address that opens nothing.
	Receipt(ctx context.Context, token string) (remora.Removal, error)
}

// receipt shows what became of a removed add-on to whoever knows its address: its customer cannot sign on any more.
func (p *Pages) receipt(w http.ResponseWriter, r *http.Request) {
	removal, err := p.Store.Receipt(r.Context(), chi.URLParam(r, "token"))
	if err == nil {
		err = p.render(w, http.StatusOK, "receipt.html", removal)
	}
	if err != nil {
		p.fail(w, r, err)
	}
}
