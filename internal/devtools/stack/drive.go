package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/herokusim"
	"github.com/remora-backup/remora/internal/remora"
)

// cliVersion is the one that was tried.
const cliVersion = "11.10.0"

// CLI finds the real Heroku CLI, where make puts it or as REMORA_HEROKU_CLI names it.
func CLI() (string, error) {
	if p := os.Getenv("REMORA_HEROKU_CLI"); p != "" {
		return p, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	p := filepath.Join(cache, "remora", "heroku-"+cliVersion, "node_modules", ".bin", "heroku")
	if _, err := os.Stat(p); err != nil {
		return "", errors.New("there is no Heroku CLI: make test and make demo install it")
	}
	return p, nil
}

// CLIEnv is the whole environment of the real Heroku CLI, whose own folder home is, as herokusim.CLIEnv has it.
func CLIEnv(cli, home, url, key string) []string {
	return append([]string{
		"PATH=" + filepath.Dir(cli) + ":" + os.Getenv("PATH"), "HOME=" + home, "XDG_DATA_HOME=" + home, "XDG_CACHE_HOME=" + home, "XDG_CONFIG_HOME=" + home,
		"TERM=dumb", "NO_COLOR=1", "CI=1",
	}, herokusim.CLIEnv(url, key)...)
}

// Heroku runs the real Heroku CLI against the simulator and returns what it printed.
func (s *Stack) Heroku(ctx context.Context, args ...string) (string, error) {
	cli, err := CLI()
	if err != nil {
		return "", err
	}
	home := filepath.Join(s.dir, "cli")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, cli, args...) //nolint:gosec // the CLI
	cmd.Env = CLIEnv(cli, home, s.SimURL, "demo-api-key")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("heroku %s: %w: %s", strings.Join(args, " "), err, out.String())
	}
	return out.String(), nil
}

// Connect does what a customer does, from addons:create to the first look at the database, and tells step of each part,
// which does it.
func (s *Stack) Connect(ctx context.Context, step func(what string, do func() error) error) (*Visitor, error) {
	heroku := func(args ...string) error {
		return step("$ heroku "+strings.Join(args, " "), func() error {
			_, err := s.Heroku(ctx, args...)
			return err
		})
	}
	for _, args := range [][]string{
		{"addons:create", "remora-backup:mako", "-a", HelperApp},
		{"access:add", Service, "-a", HelperApp},
		{"pg:credentials:create", Addon, "--name", Credential, "-a", ShopApp},
	} {
		if err := heroku(args...); err != nil {
			return nil, err
		}
	}
	if err := step("granting the credential what it may read, as the database's owner", func() error { return s.Grants(ctx) }); err != nil {
		return nil, err
	}
	if err := heroku("addons:attach", Addon, "--credential", Credential, "-a", HelperApp); err != nil {
		return nil, err
	}
	visitor, err := s.SignOn(ctx)
	if err != nil {
		return nil, fmt.Errorf("sign on: %w", err)
	}
	_, err = visitor.Post(ctx, "/dashboard/check", nil)
	return visitor, err
}

// Visitor is a person in a browser, signed on through Heroku.
type Visitor struct {
	stack  *Stack
	client *http.Client
}

// SignOn opens the add-on as the customer does: Heroku's form is posted to us.
func (s *Stack) SignOn(ctx context.Context) (*Visitor, error) { return s.SignOnTo(ctx, HelperApp) }

// SignOnTo opens the add-on of another app.
func (s *Stack) SignOnTo(ctx context.Context, app string) (*Visitor, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	v := &Visitor{s, &http.Client{Jar: jar, Timeout: time.Minute}}
	form := url.Values{}
	for k, value := range s.Sim.SignOn(s.Sim.AddonID("remora-backup", app), time.Now()) {
		form.Set(k, value)
	}
	_, err = v.Post(ctx, "/heroku/sso", form)
	return v, err
}

// Session is what the visitor's cookies say, which opens the pages.
func (v *Visitor) Session() (string, error) {
	at, err := url.Parse(v.stack.WebURL)
	if err != nil {
		return "", err
	}
	all := v.client.Jar.Cookies(at)
	if len(all) != 1 {
		return "", fmt.Errorf("%d cookies", len(all))
	}
	return all[0].Value, nil
}

// Get returns a page.
func (v *Visitor) Get(ctx context.Context, path string) (string, error) {
	return v.do(ctx, http.MethodGet, path, nil)
}

// Post sends a form and returns the page that follows.
func (v *Visitor) Post(ctx context.Context, path string, form url.Values) (string, error) {
	return v.do(ctx, http.MethodPost, path, form)
}

func (v *Visitor) do(ctx context.Context, method, path string, form url.Values) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, v.stack.WebURL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	page, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 400 {
		err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return string(page), err
}

var shownLink = regexp.MustCompile(`<pre class="link">([^<]+)</pre>`)

// Link makes a download link on a backup's page and returns it as the page shows it.
func (v *Visitor) Link(ctx context.Context, b remora.BackupID) (string, error) {
	page, err := v.Post(ctx, "/dashboard/backups/"+string(b)+"/links", nil)
	if err != nil {
		return "", err
	}
	m := shownLink.FindStringSubmatch(page)
	if m == nil {
		return "", errors.New("the page shows no link")
	}
	return html.UnescapeString(m[1]), nil
}

// Await looks at the newest backup until ok is content with it.
func (s *Stack) Await(ctx context.Context, ok func(remora.Backup) bool, watch func(remora.Backup)) (remora.Backup, error) {
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	var last remora.Backup
	for {
		if id := s.Sim.AddonID("remora-backup", HelperApp); id != "" {
			o, err := s.Store.Overview(ctx, remora.ResourceID(id))
			if err == nil && len(o.Backups) > 0 {
				last = o.Backups[0]
				if watch != nil {
					watch(last)
				}
				if ok(last) {
					return last, nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("waited in vain: the newest backup is %s (%s %s): %w", last.State, last.Reason, last.Detail, ctx.Err())
		case <-poll.C:
		}
	}
}

// AwaitProof waits until a backup was restored by a verifier, or could not be.
func (s *Stack) AwaitProof(ctx context.Context, b remora.Backup) (last remora.Proof, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // of a machine that has much else to do
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	id := remora.ResourceID(s.Sim.AddonID("remora-backup", HelperApp))
	for {
		all, err := s.Store.Proofs(ctx, id, b.ID)
		if err == nil && len(all) > 0 {
			if last = all[0]; last.State.Ended() {
				return last, nil
			}
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("waited in vain: the newest proof is %q (%s %s): %w", last.State, last.Reason, last.Detail, ctx.Err())
		case <-poll.C:
		}
	}
}

// Empty makes a new database of the customer's, with nothing in it but what Heroku puts there, and returns its address.
func (s *Stack) Empty(ctx context.Context, name string) (string, error) {
	err := Exec(ctx, s.Customer.SuperuserURL("postgres"), "CREATE DATABASE "+name+" OWNER "+s.Owner)
	if err == nil {
		err = Exec(ctx, s.Customer.SuperuserURL(name), herokusim.OwnObjects(s.Owner)...)
	}
	return s.OwnerURL(name), err
}

// Restore fetches a link and has stock pg_restore put it into a new, empty database of the customer's, as its
// owner. It returns the database's address.
func (s *Stack) Restore(ctx context.Context, link, name string) (string, error) {
	to, err := s.Empty(ctx, name)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the link answers %s", resp.Status)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.Customer.BinDir(), "pg_restore"), "--no-owner", "--no-acl", "--exit-on-error", "-d", to) //nolint:gosec // our own server
	cmd.Stdin = resp.Body
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pg_restore: %w: %s", err, out)
	}
	return to, nil
}
