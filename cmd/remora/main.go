// Command remora is the product: the web process, the worker, and what the operator runs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/wiring"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := wiring.Run(ctx, os.Args[1:], os.Stdout, os.Stderr, dialer.Strict()); err != nil {
		fmt.Fprintln(os.Stderr, "remora:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}
