package faultproxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
)

func TestHTTPFaults(t *testing.T) {
	t.Parallel()
	served := make(chan string, 20)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served <- r.URL.Path
		_, _ = io.WriteString(w, r.Host+strings.Repeat("x", 1000))
	}))
	t.Cleanup(target.Close)
	p, err := faultproxy.NewHTTP(target.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	get := func(path string) (int, string, error) {
		resp, err := http.Get(p.URL + path) //nolint:noctx // a test
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close() //nolint:errcheck // read to its end
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
	if _, body, err := get("/"); err != nil || !strings.HasPrefix(body, strings.TrimPrefix(p.URL, "http://")) {
		t.Errorf("the Host header did not pass: %.40s %v", body, err)
	}
	<-served
	at := func(path string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.URL.Path == path }
	}
	p.Add(faultproxy.Rule{Match: at("/answer"), Skip: 1, Times: 1, Do: faultproxy.Answer(503, "busy")})
	for i, want := range []int{200, 503, 200} {
		if got, _, err := get("/answer"); err != nil || got != want {
			t.Errorf("request %d: %d, %v", i+1, got, err)
		}
	}
	<-served
	<-served
	for path, do := range map[string]faultproxy.Fault{"/cut": faultproxy.Cut(0), "/drop": faultproxy.DropReply(), "/cutreply": faultproxy.CutReply(10)} {
		p.Add(faultproxy.Rule{Match: at(path), Do: do})
		if _, body, err := get(path); err == nil || len(body) > 10 {
			t.Errorf("%s: got %d bytes, %v", path, len(body), err)
		}
		if reached := len(served) > 0; reached != (path != "/cut") {
			t.Errorf("%s: the server was reached: %v", path, reached)
		} else if reached {
			for len(served) > 0 {
				<-served
			}
		}
	}
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	p.Add(faultproxy.Rule{Match: at("/hold"), Do: faultproxy.Hold(arrived, release)})
	ended := make(chan error, 1)
	go func() {
		_, _, err := get("/hold")
		ended <- err
	}()
	<-arrived
	if len(served) > 0 {
		t.Error("a held request reached the server")
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	p.Clear()
	if _, _, err := get("/cut"); err != nil {
		t.Error(err)
	}
}

// echo answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}

func TestTCPFaults(t *testing.T) {
	t.Parallel()
	p, err := faultproxy.NewTCP(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, bufio.NewReader(c)
	}
	say := func(c net.Conn, r *bufio.Reader) error {
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			return err
		}
		_, err := r.ReadString('\n')
		return err
	}
	c, r := dial()
	if err := say(c, r); err != nil {
		t.Fatal(err)
	}
	p.Delay(5 * time.Millisecond)
	begin := time.Now()
	if err := say(c, r); err != nil || time.Since(begin) < 10*time.Millisecond {
		t.Errorf("delayed by %v, %v", time.Since(begin), err)
	}
	p.Delay(0)
	p.Rate(600)
	slow, sr := dial()
	begin = time.Now()
	if err := say(slow, sr); err != nil || time.Since(begin) < 20*time.Millisecond { // 6 bytes there, 6 back
		t.Errorf("at its rate after %v, %v", time.Since(begin), err)
	}
	p.Rate(0)
	p.Stop()
	answered := make(chan error, 1)
	go func() { answered <- say(c, r) }()
	select {
	case err := <-answered:
		t.Errorf("answered while stopped: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	p.Resume()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	p.Cut()
	if err := say(c, r); err == nil {
		t.Error("a cut connection answers")
	}
	p.CutAfter(9) // there and half of the way back
	if c, r := dial(); say(c, r) == nil {
		t.Error("a connection answers that was to be cut")
	}
	p.Refuse(true)
	if c, r := dial(); say(c, r) == nil {
		t.Error("a refused connection answers")
	}
	p.Refuse(false)
	if c, r := dial(); say(c, r) != nil {
		t.Error("no connection after a refusal")
	}
}
