package config_test

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/config"
)

// The settings file that is printed has a place for each setting of each process, once, and saying in it what holds anyway changes
// nothing. It sets the environment, and so is not parallel.
func TestTheTemplateIsWhatTheProcessesRead(t *testing.T) {
	var out bytes.Buffer
	if err := config.WriteTemplate(&out); err != nil {
		t.Fatal(err)
	}
	needed, others := map[string]bool{}, map[string]string{}
	for line := range strings.Lines(out.String()) {
		name, value, set := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "#")), "=")
		if !set || strings.HasPrefix(line, "# ") {
			continue
		}
		if _, twice := others[name]; twice || needed[name] {
			t.Errorf("%s is there twice", name)
		}
		if strings.HasPrefix(line, "#") {
			others[name] = value
		} else {
			needed[name] = true
		}
	}
	before := map[string]config.Settings{}
	processes := []string{"web", "worker", "verifier", "deleter", "migrate", "manifest"}
	set(t, nil)
	for _, process := range processes {
		var help bytes.Buffer
		_, _ = config.Load([]string{process, "--help"}, &help)
		for _, m := range regexp.MustCompile(`\(\$([A-Z0-9_]+)\)`).FindAllStringSubmatch(strings.Join(strings.Fields(help.String()), " "), -1) {
			if _, optional := others[m[1]]; !optional && !needed[m[1]] {
				t.Errorf("%s reads %s, which has no place in the file", process, m[1])
			}
		}
		s, err := config.Load([]string{process}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		before[process] = s
	}
	for name, value := range others {
		t.Setenv(name, value)
	}
	for _, process := range processes {
		s, err := config.Load([]string{process}, io.Discard)
		if now, was := fmt.Sprintf("%+v", s), fmt.Sprintf("%+v", before[process]); err != nil || now != was {
			t.Errorf("%s: %v\n%s\n%s", process, err, now, was)
		}
	}
	for name := range needed { // and what is said to be needed is
		t.Setenv(name, "")
		missed := false
		for _, process := range processes {
			_, err := config.Load([]string{process}, io.Discard)
			missed = missed || err != nil && strings.Contains(err.Error(), name)
		}
		if !missed {
			t.Errorf("nothing needs %s", name)
		}
	}
}
