package wiring

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/sandbox"
)

// current leaves out the programs with known holes that a customer's server or archive could use, unless the operator has
// allowed them, and says so either way. what and mend are for the error where none is left.
func (p process) current(ctx context.Context, found []pgdump.Client, allowed bool, what, mend string) ([]pgdump.Client, error) {
	var good, old []pgdump.Client
	for _, c := range found {
		if c.Outdated() {
			old = append(old, c)
		} else {
			good = append(good, c)
		}
	}
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_outdated_programs", Help: "PostgreSQL majors here whose programs have known holes; they are used only with ALLOW_OUTDATED_PG."})
	gauge.Set(float64(len(old)))
	p.metrics.MustRegister(gauge)
	switch {
	case len(old) == 0:
		return good, nil
	case allowed:
		p.log.ErrorContext(ctx, "these PostgreSQL programs have known holes that a customer's server or archive can use, and are used all the same, as ALLOW_OUTDATED_PG says: update them", "versions", versions(old))
		return found, nil
	case len(good) == 0:
		return nil, fmt.Errorf("every %s on this machine has known holes that a customer's server or archive can use (%s): %s", what, versions(old), mend)
	}
	p.log.ErrorContext(ctx, "these PostgreSQL programs have known holes that a customer's server or archive can use, and are not used: update them", "versions", versions(old))
	return good, nil
}

// sandbox finds out what children can be kept from here, and says what not.
func (p process) sandbox(ctx context.Context) sandbox.Sandbox {
	box := sandbox.Detect(ctx)
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "remora_sandbox_missing", Help: "What children that work for customers are not kept from here: 0 is a complete sandbox. The log at the start names it."})
	gauge.Set(float64(len(box.Missing)))
	p.metrics.MustRegister(gauge)
	if len(box.Missing) > 0 {
		p.log.ErrorContext(ctx, "the sandbox is not complete: what a customer's server or archive may take over is not kept from everything", "sandbox", box.String())
	}
	return box
}
