package config

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// templated are the commands whose settings stand in a settings file, in the order in which they are said to read one.
var templated = []string{"web", "worker", "verifier", "deleter", "migrate", "manifest"}

// entry is one setting and who reads it.
type entry struct {
	name, fallback string
	required       bool
	helps          []string // as a rule one; several where processes mean different things by it
	readers        map[string][]string
}

// WriteTemplate writes a settings file to be filled in: every setting of the processes, with what it is, which of them read it, and
// what holds where it is left out. A shell and systemd read it alike.
func WriteTemplate(to io.Writer) error {
	parser, err := kong.New(&cli{})
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	var needed, others bytes.Buffer
	for _, e := range entries(parser.Model) {
		out := &others
		if e.required {
			out = &needed
		}
		_, _ = fmt.Fprintln(out)
		for _, help := range e.helps {
			_, _ = fmt.Fprintf(out, "# %s (%s)\n", help, strings.Join(e.readers[help], ", "))
		}
		if e.required {
			_, _ = fmt.Fprintf(out, "%s=\n", e.name)
		} else {
			_, _ = fmt.Fprintf(out, "#%s=%s\n", e.name, e.fallback)
		}
	}
	_, err = fmt.Fprintf(to, `# Settings of Remora Backup. One file serves all processes: each reads, from its environment, those that it is named beside.
# It holds every secret of the service: only who runs it may read it. A value with spaces or with any of & ; $ in it
# stands in single quotes.

# 1. Without these nothing works.
%s
# 2. These have a value already, which stands behind the #, or may be without one. Take the # away to say otherwise.
%s`, needed.String(), others.String())
	return err
}

func entries(model *kong.Application) (all []*entry) {
	by := map[string]*entry{}
	for _, name := range templated {
		i := slices.IndexFunc(model.Children, func(n *kong.Node) bool { return n.Name == name })
		for _, f := range model.Children[i].Flags {
			if len(f.Envs) == 0 || f.Hidden {
				continue
			}
			e := by[f.Envs[0]]
			if e == nil {
				e = &entry{name: f.Envs[0], fallback: f.Default, required: f.Required, readers: map[string][]string{}}
				if f.IsBool() {
					e.fallback = "false"
				}
				by[e.name], all = e, append(all, e)
			}
			if e.readers[f.Help] == nil {
				e.helps = append(e.helps, f.Help)
			}
			e.readers[f.Help] = append(e.readers[f.Help], name)
		}
	}
	return all
}
