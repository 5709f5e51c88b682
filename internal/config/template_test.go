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
	if err := config.WriteTemplate(&out, "all"); err != nil {
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

// A process's file and the common one have between them all that the process reads, and no secret of another's.
func TestAProcessesFileHasItsOwnSettings(t *testing.T) {
	t.Parallel()
	place := regexp.MustCompile(`(?m)^#?([A-Z0-9_]+)=`)
	files := map[string]map[string]bool{}
	for _, whose := range []string{"common", "web", "worker", "verifier", "deleter"} {
		s, err := config.Load([]string{"settings", whose}, io.Discard)
		if err != nil || s.Command != config.Template || s.Template != whose {
			t.Fatal(s.Command, s.Template, err)
		}
		var out bytes.Buffer
		if err := config.WriteTemplate(&out, whose); err != nil {
			t.Fatal(err)
		}
		files[whose] = map[string]bool{}
		for _, m := range place.FindAllStringSubmatch(out.String(), -1) {
			files[whose][m[1]] = true
		}
	}
	reads := func(process string) map[string]bool {
		var help bytes.Buffer
		_, _ = config.Load([]string{process, "--help"}, &help)
		all := map[string]bool{}
		for _, m := range regexp.MustCompile(`\(\$([A-Z0-9_]+)\)`).FindAllStringSubmatch(strings.Join(strings.Fields(help.String()), " "), -1) {
			all[m[1]] = true
		}
		return all
	}
	for _, process := range []string{"web", "worker", "verifier", "deleter"} {
		all := reads(process)
		for name := range all {
			if files["common"][name] == files[process][name] {
				t.Errorf("%s reads %s, which is in both of its files or in none", process, name)
			}
		}
		for name := range files["common"] {
			if !all[name] {
				t.Errorf("%s does not read %s, which is said to be common", process, name)
			}
		}
		manifest := reads("manifest")
		for name := range files[process] {
			if !all[name] && (process != "web" || !manifest[name]) {
				t.Errorf("%s does not read %s", process, name)
			}
		}
		if !files[process]["S3_SECRET_KEY"] {
			t.Errorf("%s cannot have a storage key of its own", process)
		}
	}
	for name := range reads("migrate") {
		if !files["common"][name] {
			t.Errorf("a migration reads %s", name)
		}
	}
}
