package opstest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/s3test"
)

// The image has the clients of every major that a service should have, its processes are nobody's who may do more, and a stop
// reaches the process itself.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "deploy/Dockerfile")
	stages := regexp.MustCompile(`(?m)^FROM `).Split(text, -1)[1:]
	stage := func(name string) string {
		t.Helper()
		i := slices.IndexFunc(stages, func(s string) bool { return strings.Contains(strings.SplitN(s, "\n", 2)[0], " AS "+name) })
		if i < 0 {
			t.Fatalf("there is no stage %s", name)
		}
		return stages[i]
	}
	for _, major := range pgdump.Majors() {
		if !regexp.MustCompile(fmt.Sprintf(`\bpostgresql-client-%d\b`, major)).MatchString(stage("clients")) {
			t.Errorf("there is no client of %d", major)
		}
		if !regexp.MustCompile(fmt.Sprintf(`\bpostgresql-%d\b`, major)).MatchString(stage("verifier")) {
			t.Errorf("the verifier has no server of %d", major)
		}
		if !strings.Contains(read(t, "deploy/heroku/aptfile.sh"), fmt.Sprint(major)) {
			t.Errorf("the Aptfile has no client of %d", major)
		}
	}
	if !strings.HasPrefix(stages[len(stages)-1], "clients AS remora") {
		t.Error("what is built without a target is not the small image")
	}
	for _, name := range []string{"verifier", "remora"} {
		if !regexp.MustCompile(`(?m)^USER [1-9]\d+$`).MatchString(stage(name)) {
			t.Errorf("%s runs as root, or as a name that a platform cannot check", name)
		}
		if !regexp.MustCompile(`(?m)^CMD \["remora", "\w+"\]$`).MatchString(stage(name)) {
			t.Errorf("%s: a shell stands between a stop and the process", name)
		}
	}
	if strings.Contains(text, "\nENTRYPOINT") {
		t.Error("an entry point stands before the processes that heroku.yml names")
	}
	if a, b := strings.Count(text, "apt-get update"), strings.Count(text, "rm -rf /var/lib/apt/lists/*"); a != b {
		t.Errorf("%d lists of packages are fetched and %d removed", a, b)
	}
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	if !strings.Contains(stage("build"), "golang:"+goVersion+"-") {
		t.Errorf("it is not built by Go %s, as go.mod asks", goVersion)
	}
	allowed := read(t, "deploy/Dockerfile.dockerignore")
	for _, m := range regexp.MustCompile(`(?m)^COPY (\w\S*)( \S+\.sum)? \S+$`).FindAllStringSubmatch(stage("build"), -1) {
		for _, what := range strings.Fields(m[1] + m[2]) {
			if !strings.Contains(allowed, "\n!"+what+"\n") {
				t.Errorf("%s is copied and not let in", what)
			}
		}
	}
}

// Every process of the Procfile is one of heroku.yml's, and the other way round; both bring our database up to a release before
// it goes live.
func TestHerokuStartsTheSameBothWays(t *testing.T) {
	t.Parallel()
	container := read(t, "deploy/heroku/heroku.yml")
	for line := range strings.Lines(read(t, "Procfile")) {
		name, command, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if !strings.Contains(container, name+": "+command+"\n") && !regexp.MustCompile(name+`:\n +image: \w+\n +command:\n +- `+command+`\n`).MatchString(container) {
			t.Errorf("deploy/heroku/heroku.yml does not have %s", strings.TrimSpace(line))
		}
	}
}

// The Helper App holds the add-on and runs nothing.
func TestHelperAppRunsNothing(t *testing.T) {
	t.Parallel()
	var app struct {
		Addons    []struct{ Plan string }
		Formation map[string]any
		Env       map[string]any
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/helper-app/app.json")), &app); err != nil {
		t.Fatal(err)
	}
	if len(app.Addons) != 1 || len(app.Formation) != 0 || len(app.Env) != 0 {
		t.Errorf("%+v", app)
	}
	if _, err := remora.PlanOf(app.Addons[0].Plan); err != nil || !strings.HasPrefix(app.Addons[0].Plan, "remora-backup:") {
		t.Error(app.Addons[0].Plan, err)
	}
	if _, err := os.Stat(filepath.Join(root, "deploy/helper-app/Procfile")); err == nil {
		t.Error("it has a process")
	}
	for _, name := range []string{"detect", "compile", "release"} {
		if info, err := os.Stat(filepath.Join(root, "deploy/helper-app/bin", name)); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("bin/%s: %v", name, err)
		}
	}
}

// The bucket's rules are an S3 client's own words, reach what we store and no more, and end what was deleted within the 30 days that a
// removal promises, one of which is for the key and one for the store to come to it; copies of keys within the first. They expire nothing that was not deleted.
func TestTheBucketsRulesEndWhatWasDeleted(t *testing.T) {
	t.Parallel()
	theirs := regexp.MustCompile("(?s)```json\n(\\{\\s+\"Rules\".*?)```").FindStringSubmatch(read(t, "docs/own-bucket.md"))
	if theirs == nil {
		t.Fatal("docs/own-bucket.md has no rules")
	}
	for rules, most := range map[string]map[string]int32{ // days, by what the keys begin with
		read(t, "deploy/bucket-lifecycle.json"): {archivestore.Prefix: archivestore.VersionDays, archivestore.KeysPrefix: 1},
		theirs[1]:                               {"PREFIX/": archivestore.VersionDays},
	} {
		var life types.BucketLifecycleConfiguration
		in := json.NewDecoder(strings.NewReader(rules))
		in.DisallowUnknownFields()
		if err := in.Decode(&life); err != nil {
			t.Fatal(err)
		}
		ends, aborts := map[string]bool{}, false
		for _, r := range life.Rules {
			if r.Status != types.ExpirationStatusEnabled || r.Filter == nil || most[aws.ToString(r.Filter.Prefix)] == 0 {
				t.Errorf("%s: of another place, or not in force", aws.ToString(r.ID))
			}
			if r.Expiration != nil && (r.Expiration.Days != nil || r.Expiration.Date != nil) || len(r.Transitions) > 0 {
				t.Errorf("%s takes what nobody has deleted", aws.ToString(r.ID))
			}
			if n := r.NoncurrentVersionExpiration; n != nil {
				days, at := aws.ToInt32(n.NoncurrentDays), aws.ToString(r.Filter.Prefix)
				ends[at] = ends[at] || days > 0 && days <= most[at] && n.NewerNoncurrentVersions == nil && r.Expiration != nil && aws.ToBool(r.Expiration.ExpiredObjectDeleteMarker)
			}
			aborts = aborts || r.AbortIncompleteMultipartUpload != nil
		}
		for at := range most {
			if !ends[at] || !aborts {
				t.Errorf("a bucket that keeps versions keeps what was deleted under %s for ever, or uploads that nobody ended stay", at)
			}
		}
	}
	// And the lock that is advised holds none of them up.
	var lock types.ObjectLockConfiguration
	in := json.NewDecoder(strings.NewReader(read(t, "deploy/bucket-lock.json")))
	in.DisallowUnknownFields()
	if err := in.Decode(&lock); err != nil {
		t.Fatal(err)
	}
	if r := lock.Rule.DefaultRetention; lock.ObjectLockEnabled != types.ObjectLockEnabledEnabled || r.Mode != types.ObjectLockRetentionModeCompliance || r.Years != nil || aws.ToInt32(r.Days) < 1 || aws.ToInt32(r.Days) > archivestore.VersionDays {
		t.Errorf("%+v", r)
	}
}

// What a process's key may do with versions and locks: to ask, and, of copies of keys alone, to lock them for a day at most. So none
// of them deletes a version, passes a lock or shortens one.
func TestNoKeyPassesALock(t *testing.T) {
	t.Parallel()
	may := map[string]string{
		"worker s3:GetBucketObjectLockConfiguration": "arn:aws:s3:::BUCKET", "deleter s3:GetBucketObjectLockConfiguration": "arn:aws:s3:::BUCKET",
		"worker s3:GetObjectRetention": "arn:aws:s3:::BUCKET/r/*", "worker s3:PutObjectRetention": "arn:aws:s3:::BUCKET/k/*",
	}
	found := map[string]string{}
	for _, process := range s3test.Processes {
		var policy struct {
			Statement []struct {
				Effect    string
				Action    any
				Resource  string
				Condition map[string]map[string]any
			}
		}
		if err := json.Unmarshal([]byte(read(t, "deploy/storage/"+process+".json")), &policy); err != nil {
			t.Fatal(err)
		}
		bounded := false
		for _, s := range policy.Statement {
			actions, many := s.Action.([]any)
			if !many {
				actions = []any{s.Action}
			}
			for _, a := range actions {
				action, _ := a.(string)
				switch {
				case strings.Contains(action, "*"):
					t.Errorf("%s: %s is anything", process, action)
				case s.Effect == "Deny" && action == "s3:PutObjectRetention":
					bounded = s.Resource == "arn:aws:s3:::BUCKET/*" && s.Condition["NumericGreaterThan"]["s3:object-lock-remaining-retention-days"] == "1"
				case s.Effect == "Allow" && regexp.MustCompile("Version|Retention|Lock|LegalHold|Lifecycle|Policy|Acl").MatchString(action):
					found[process+" "+action] = s.Resource
				}
			}
		}
		if process == "worker" && !bounded {
			t.Error("the worker may lock copies of keys for as long as it likes")
		}
	}
	if !maps.Equal(found, may) {
		t.Errorf("may %v", found)
	}
}
