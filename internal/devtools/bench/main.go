// Command bench measures a backup beside other ways to make one, as ratios of runs that took turns on one machine.
// make bench runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == "ours" {
		return ours(ctx)
	}
	b := &bench{}
	var chosen, variants string
	flag.IntVar(&b.rounds, "rounds", 5, "how often each variant runs")
	flag.Float64Var(&b.scale, "scale", 1, "size of the data sets; 1 is 300 to 400 MB each")
	flag.StringVar(&chosen, "sets", strings.Join(setNames, ","), "data sets to run")
	flag.StringVar(&variants, "variants", "", "variants to run beside the two that the ratios are of; default all")
	flag.StringVar(&b.out, "out", "", "a file for one JSON object a line")
	flag.StringVar(&b.uploader, "sdkupload", "bin/sdkupload", "the AWS SDK's uploader as a program")
	flag.StringVar(&b.program, "program", "bin/remora-demo", "the product's processes, allowed to dial this machine")
	flag.StringVar(&b.profiles, "profiles", "", "a directory that keeps the CPU profiles that the shares of a worker are read from")
	flag.Parse()
	b.sets = strings.Split(chosen, ",")
	if variants != "" {
		b.variants = strings.Split(variants, ",")
	}
	defer b.close()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	return b.measure(ctx)
}
