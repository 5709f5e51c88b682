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
// what holds where it is left out. A shell and systemd read it alike. whose is all, for one file; or common for what all processes
// read, and a process for what it reads beside that: so each can be given nothing but its own secrets.
func WriteTemplate(to io.Writer, whose string) error {
	parser, err := kong.New(&cli{})
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	var needed, others bytes.Buffer
	for _, e := range entries(parser.Model) {
		if !e.in(whose) {
			continue
		}
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
	_, err = fmt.Fprintf(to, `# Settings of Remora Backup. %s
# It holds secrets of the service: only who runs it may read it. A value with spaces or with any of & ; $ in it
# stands in single quotes.

# 1. Without these nothing works.
%s
# 2. These have a value already, which stands behind the #, or may be without one. Take the # away to say otherwise.
%s`, heads[whose], needed.String(), others.String())
	return err
}

// heads say what a file is for.
var heads = map[string]string{
	"all":      "One file serves all processes: each reads, from its environment, those that it is named beside.",
	"common":   "These are read by all processes; each has a file of its own beside it.",
	"web":      "These are web's, beside the common ones.",
	"worker":   "These are the worker's, beside the common ones.",
	"verifier": "These are the verifier's, beside the common ones.",
	"deleter":  "These are the deleter's, beside the common ones.",
}

// in tells whether the setting stands in that file. The manifest is made of web's. A storage key is read by all and each may have its
// own, so it is not common.
func (e *entry) in(whose string) bool {
	readers := map[string]bool{}
	for _, names := range e.readers {
		for _, name := range names {
			readers[name] = true
		}
	}
	common := readers["web"] && readers["worker"] && readers["verifier"] && readers["deleter"] && e.name != "S3_ACCESS_KEY" && e.name != "S3_SECRET_KEY"
	switch whose {
	case "all":
		return true
	case "common":
		return common
	case "web":
		return !common && (readers["web"] || readers["manifest"])
	default:
		return !common && readers[whose]
	}
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
