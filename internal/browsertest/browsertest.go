// Package browsertest looks at pages with a real Chromium, which is started once per test process and ends with it.
package browsertest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browser is the one Chromium of all tests of a process, started by the first that needs it.
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

// Close ends the browser, where one was started. Call it from TestMain, after the tests.
func Close() {
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

// Patience is how long a tab lives, and so how long anything is waited for: a busy machine is slow, and a test that fails
// for that tells nothing.
const Patience = 5 * time.Minute

// Tab is a page in the browser, with cookies of its own and nobody else's. It is a context, which ends with the test or
// after Patience. Whatever goes wrong ends the test.
type Tab struct {
	context.Context
	t    testing.TB
	base string

	mu    sync.Mutex
	words []word
	pages []string // that were opened
}

// word is what was said on the console, and about which address.
type word struct{ says, at string }

// Open makes a tab for the site at base, with JavaScript or without, and with the cookies, which are name and value by turns.
func Open(t testing.TB, base string, script bool, cookies ...string) *Tab {
	t.Helper()
	ctx, closed := chromedp.NewContext(chromium(), chromedp.WithNewBrowserContext())
	t.Cleanup(closed)
	ctx, cancel := context.WithTimeout(ctx, Patience)
	t.Cleanup(cancel)
	b := &Tab{Context: ctx, t: t, base: base}
	b.Do(chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !script})
		for i := 0; i < len(cookies) && err == nil; i += 2 {
			httpOnly := true
			_, err = cdp.Call(ctx, tg, network.SetCookie, network.SetCookieParams{Name: cookies[i], Value: cookies[i+1], URL: base, HTTPOnly: &httpOnly})
		}
		return err
	}))
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.words = append(b.words, word{string(m.Type) + ": " + m.Text, m.URL})
			b.mu.Unlock()
		}
	}()
	return b
}

// Do takes steps in the page.
func (b *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// Open goes to a page of the site, or to a whole address.
func (b *Tab) Open(path string) {
	b.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = b.base + path
	}
	b.opened(path)
	b.Do(chromedp.Navigate(path))
}

// Look makes the window so large, light or dark. Nothing moves in it, so that a click meets what it is meant for.
func (b *Tab) Look(width, height int64, scheme string) {
	b.t.Helper()
	b.Do(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error {
		_, err := cdp.Call(ctx, tg, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return err
	}))
}

// Eval runs a script in the page.
func Eval[T any](b *Tab, script string, opts ...chromedp.EvaluateOption) T {
	b.t.Helper()
	v, err := chromedp.Run(b, chromedp.Evaluate[T](script, opts...))
	if err != nil {
		b.t.Fatalf("%s: %v", script[:min(len(script), 80)], err)
	}
	return v
}

// Await waits until the page says the words; a page that is being loaded does not yet.
func (b *Tab) Await(words string) {
	b.t.Helper()
	said, err := json.Marshal(words)
	if err != nil {
		b.t.Fatal(err)
	}
	script := `document.body !== null && document.body.innerText.includes(` + string(said) + `)`
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		there, err := chromedp.Run(b, chromedp.Evaluate[bool](script))
		if err == nil && there {
			return
		}
		select {
		case <-poll.C:
		case <-b.Done():
			b.t.Fatalf("%q does not come: %v\n%s", words, err, b.last())
		}
	}
}

// last is what the page says once its time is over.
func (b *Tab) last() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context), 10*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// Press clicks what the selector finds, waits for the page that follows, and returns its status.
func (b *Tab) Press(selector string) int {
	b.t.Helper()
	answer, err := chromedp.RunResponse(b, chromedp.Click(chromedp.CSS(selector)))
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", selector, err, b.last())
	}
	b.opened(answer.URL)
	return int(answer.Status)
}

func (b *Tab) opened(page string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pages = append(b.pages, bare(page))
}

// bare is an address without the place on its page.
func bare(address string) string {
	address, _, _ = strings.Cut(address, "#")
	return address
}

// Fill gives a field of a form a value.
func (b *Tab) Fill(selector, value string) {
	b.t.Helper()
	b.Do(chromedp.SetValue(chromedp.CSS(selector), value))
}

// Text is what a part of the page says.
func (b *Tab) Text(selector string) string {
	b.t.Helper()
	s, err := chromedp.Run(b, chromedp.Text(chromedp.CSS(selector)))
	if err != nil {
		b.t.Fatalf("%s: %v", selector, err)
	}
	return s
}

// Clean checks what every page must be: nothing on the console, nothing that is wider than the window, and no violation of
// any of axe-core's rules, or of the named ones.
func (b *Tab) Clean(name string, rules ...string) {
	b.t.Helper()
	b.Fits(name)
	text, err := axe()
	if err != nil {
		b.t.Fatal("axe-core (make setup/test installs it): ", err)
	}
	if Eval[bool](b, `typeof axe === "undefined"`) {
		Eval[chromedp.Void](b, text)
	}
	only, err := json.Marshal(rules)
	if err != nil {
		b.t.Fatal(err)
	}
	found := Eval[string](b, `axe.run(document, {resultTypes: ["violations"], ...(`+string(only)+` ? {runOnly: `+string(only)+`} : {})}).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html + " " + n.failureSummary)}))))`, chromedp.EvalAwaitPromise)
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

// Fits checks that the page is Quiet and nothing of it wider than the window.
func (b *Tab) Fits(name string) {
	b.t.Helper()
	b.Quiet(name)
	if wide := Eval[int](b, `document.documentElement.scrollWidth - window.innerWidth`); wide > 0 {
		b.t.Errorf("%s: %d pixels wider than the window", name, wide)
	}
}

// Quiet checks that nothing is on the console, but for the status of the pages themselves.
func (b *Tab) Quiet(name string) {
	b.t.Helper()
	b.mu.Lock()
	words, pages := slices.Clone(b.words), slices.Clone(b.pages)
	b.mu.Unlock()
	for _, w := range words {
		if !strings.Contains(w.says, ": Failed to load resource") || !slices.Contains(pages, bare(w.at)) {
			b.t.Errorf("%s: on the console: %s %s", name, w.says, w.at)
		}
	}
}

// Picture writes what the whole page looks like into a file.
func (b *Tab) Picture(file string) {
	b.t.Helper()
	png, err := chromedp.Run(b, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(file, png, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
