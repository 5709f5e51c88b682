package dashboard_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// screenshots is where TestPages writes what it sees; nowhere where it is empty.
var screenshots = flag.String("screenshots", "", "folder to write a picture of every page into")

// browser is the one Chromium of all tests, started by the first that needs it.
var browser struct {
	once  sync.Once
	ctx   context.Context
	close func()
}

// chromium returns the browser's context.
func chromium() context.Context {
	browser.once.Do(func() {
		program := "chromium"
		if _, err := exec.LookPath(program); err != nil {
			program = "google-chrome"
		}
		opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program),
			chromedp.NoSandbox, // which root may not have; what is shown is our own
			chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true), chromedp.Flag("hide-scrollbars", true))
		allocator, end := chromedp.NewExecAllocator(context.Background(), opts...)
		ctx, closed := chromedp.NewContext(allocator)
		if err := chromedp.Do(ctx); err != nil {
			panic("Chromium does not start; make setup/test installs it: " + err.Error())
		}
		browser.ctx, browser.close = ctx, func() { _ = chromedp.Cancel(ctx); closed(); end() }
	})
	return browser.ctx
}

// closeBrowser ends the browser, where one was started.
func closeBrowser() {
	if browser.close != nil {
		browser.close()
	}
}

// axe is axe-core's text, which setup.sh installs.
var axe = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(cache, "remora", "axe-*", "node_modules", "axe-core", "axe.min.js"))
	if err != nil || len(found) == 0 {
		return "", os.ErrNotExist
	}
	text, err := os.ReadFile(found[len(found)-1])
	return string(text), err
})

// tab is a page in the browser, with the cookie of the tenant and nobody else's.
type tab struct {
	context.Context
	t    *testing.T
	site *site
	said func() []string // the console's words so far, without those about the page's own status
	mu   sync.Mutex
	at   string // the page that was opened
}

func (n *tenant) tab(t *testing.T, script bool) *tab {
	t.Helper()
	ctx, closed := chromedp.NewContext(chromium(), chromedp.WithNewBrowserContext())
	t.Cleanup(closed)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	b := &tab{Context: ctx, t: t, site: n.site}
	b.do(chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		if _, err := cdp.Call(ctx, tg, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !script}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, tg, network.SetCookie, network.SetCookieParams{Name: "remora", Value: n.session, URL: n.http.URL, HTTPOnly: ptr(true)})
		return err
	}))
	var words []string
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			if !strings.HasPrefix(m.Text, "Failed to load resource") || m.URL != b.at {
				words = append(words, string(m.Type)+": "+m.Text+" "+m.URL)
			}
			b.mu.Unlock()
		}
	}()
	b.said = func() []string {
		b.mu.Lock()
		defer b.mu.Unlock()
		return append([]string(nil), words...)
	}
	return b
}

func ptr[T any](v T) *T { return &v }

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// open goes to a page of the site.
func (b *tab) open(path string) {
	b.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = b.site.http.URL + path
	}
	b.mu.Lock()
	b.at = path
	b.mu.Unlock()
	b.do(chromedp.Navigate(path))
}

// look makes the window so large, light or dark.
func (b *tab) look(width, height int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// eval runs a script in the page.
func eval[T any](b *tab, script string, opts ...chromedp.EvaluateOption) T {
	b.t.Helper()
	v, err := chromedp.Run(b, chromedp.Evaluate[T](script, opts...))
	if err != nil {
		b.t.Fatalf("%s: %v", script[:min(len(script), 80)], err)
	}
	return v
}

// clean checks what every page must be: nothing on the console, nothing that is wider than the window, and no violation of
// any of axe-core's rules, or of the named ones.
func (b *tab) clean(name string, rules ...string) {
	b.t.Helper()
	b.fits(name)
	text, err := axe()
	if err != nil {
		b.t.Fatal("axe-core (make setup/test installs it): ", err)
	}
	if eval[bool](b, `typeof axe === "undefined"`) {
		eval[chromedp.Void](b, text)
	}
	only, err := json.Marshal(rules)
	if err != nil {
		b.t.Fatal(err)
	}
	found := eval[string](b, `axe.run(document, {resultTypes: ["violations"], ...(`+string(only)+` ? {runOnly: `+string(only)+`} : {})}).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html + " " + n.failureSummary)}))))`, chromedp.EvalAwaitPromise)
	var violations []struct {
		ID, Help string
		Nodes    []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range violations {
		b.t.Errorf("%s: axe: %s, %s\n%s", name, v.ID, v.Help, strings.Join(v.Nodes, "\n"))
	}
}

// fits checks that nothing is on the console, and nothing wider than the window.
func (b *tab) fits(name string) {
	b.t.Helper()
	for _, m := range b.said() {
		b.t.Errorf("%s: on the console: %s", name, m)
	}
	if wide := eval[int](b, `document.documentElement.scrollWidth - window.innerWidth`); wide > 0 {
		b.t.Errorf("%s: %d pixels wider than the window", name, wide)
	}
}

// picture writes what the whole page looks like, where pictures are wanted.
func (b *tab) picture(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	png, err := chromedp.Run(b, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
