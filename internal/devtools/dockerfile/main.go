// Command dockerfile reads a Dockerfile as docker build does, with BuildKit's own parser and checks, and builds nothing.
//
//	dockerfile check FILE    says what docker build --check would, and ends with 1 where that is anything
//	dockerfile steps FILE    prints the instructions as JSON, for whoever runs them
//
// It is a module of its own, because BuildKit brings the clients of registries and clouds along.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/opencontainers/go-digest"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dockerfile:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: dockerfile check|steps FILE")
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	switch args[0] {
	case "check":
		return check(ctx, args[1], text, out)
	case "steps":
		return steps(text, out)
	}
	return fmt.Errorf("there is no command %s", args[0])
}

func check(ctx context.Context, name string, text []byte, out io.Writer) error {
	found, err := dockerfile2llb.DockerfileLint(ctx, text, dockerfile2llb.ConvertOpt{
		SourceMap:    &llb.SourceMap{Filename: name, Data: text, Language: "Dockerfile", Definition: &llb.Definition{}},
		MetaResolver: bare{},
	})
	if err != nil {
		return err
	}
	if err := found.PrintTo(out, nil); err != nil {
		return err
	}
	found.PrintErrorTo(out, nil)
	if n := len(found.Warnings); n > 0 || found.Error != nil {
		return fmt.Errorf("%s is not as it should be", name)
	}
	return nil
}

// bare knows of no image what is in it, so that none is asked for on the net. What a check would take from one, such as its
// variables, is not there.
type bare struct{}

func (bare) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte("{}"), nil
}

// step is one instruction.
type step struct {
	Line  int
	Name  string   // in lower case
	Flags []string // such as --from=build
	Args  []string // of a shell's line one
	JSON  bool     // whether the arguments were written as a list
}

func steps(text []byte, out io.Writer) error {
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return err
	}
	var all []step
	for _, n := range tree.AST.Children {
		if len(n.Heredocs) > 0 {
			return fmt.Errorf("line %d: a here-document is not told of", n.StartLine)
		}
		s := step{Line: n.StartLine, Name: strings.ToLower(n.Value), Flags: n.Flags, JSON: n.Attributes["json"]}
		for arg := n.Next; arg != nil; arg = arg.Next {
			s.Args = append(s.Args, arg.Value)
		}
		all = append(all, s)
	}
	return json.NewEncoder(out).Encode(all)
}
