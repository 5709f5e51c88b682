package firstrun_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/internal/devtools/pages"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/sandbox"
)

// hosts are the names that the pages use, Heroku's own, and a customer's database, and the addresses that they have in here.
var hosts = map[string]string{
	"remora.example.com": "52.0.0.10", "s3.example.com": "52.0.0.20", "db.example.com": "52.0.0.30",
	"api.heroku.com": "52.0.0.40", "id.heroku.com": "52.0.0.40", "api.data.heroku.com": "52.0.0.40",
	customersHost: "52.0.0.50",
}

const customersHost = "ec2-52-0-0-50.compute-1.amazonaws.com"

// machine is the namespaces as somebody who has just got the machine sees them.
type machine struct {
	dir         string // ours, on the side
	certificate tls.Certificate
	authority   string             // a file
	shell       *pages.Shell       // root's
	asked       string             // a file with what systemctl was asked
	units       map[string]*daemon // by process
	log         *logtest.Buffer    // what they say
}

// newMachine makes a machine of the namespaces that this process is in.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{dir: t.TempDir(), units: map[string]*daemon{}, log: &logtest.Buffer{}}
	must(t, os.Chmod(m.dir, 0o755)) //nolint:gosec // databases' processes have folders in it
	side := filepath.Join(m.dir, "side")
	must(t, os.Mkdir(side, 0o755)) //nolint:gosec // as above
	must(t, unix.Mount("tmpfs", side, "tmpfs", 0, "mode=755"))
	t.Cleanup(func() { must(t, unix.Unmount(side, unix.MNT_DETACH)) })
	for _, over := range []string{"/etc", "/usr/local/bin"} {
		upper, work := filepath.Join(side, filepath.Base(over)), filepath.Join(side, filepath.Base(over)+".work")
		must(t, os.MkdirAll(upper, 0o755)) //nolint:gosec // as what it covers
		must(t, os.MkdirAll(work, 0o755))  //nolint:gosec // as above
		must(t, unix.Mount("overlay", over, "overlay", 0, "lowerdir="+over+",upperdir="+upper+",workdir="+work))
		t.Cleanup(func() { must(t, unix.Unmount(over, unix.MNT_DETACH)) })
	}
	const scratch = "/tmp/remora-scratch" // as a verifier has it; another's, of another user, may be there
	if os.Mkdir(scratch, 0o711) == nil {  //nolint:gosec // only a place to mount on
		t.Cleanup(func() { must(t, os.Remove(scratch)) })
	}
	must(t, unix.Mount("tmpfs", scratch, "tmpfs", 0, "mode=1777"))
	t.Cleanup(func() { must(t, unix.Unmount(scratch, unix.MNT_DETACH)) })
	run(t, "ip", "link", "set", "lo", "up")
	names := "127.0.0.1 localhost\n"
	for name, addr := range hosts {
		names += addr + " " + name + "\n"
		run(t, "ip", "addr", "replace", addr+"/32", "dev", "lo")
	}
	write(t, "/etc/hosts", names)
	m.trust(t)
	m.asked = filepath.Join(m.dir, "asked")
	write(t, m.asked, "")
	write(t, "/usr/local/bin/systemctl", "#!/bin/sh\nprintf '%s\\n' \"$*\" >> "+m.asked+"\n")
	must(t, os.Chmod("/usr/local/bin/systemctl", 0o755)) //nolint:gosec // a program
	must(t, os.MkdirAll("/etc/systemd/system", 0o755))   //nolint:gosec // as systemd's
	m.shell = newShell(t, m.dir)
	return m
}

// trust makes a certificate for all hosts, by an authority that the machine trusts as it does the public ones.
func (m *machine) trust(t *testing.T) {
	t.Helper()
	make := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		template.NotBefore, template.NotAfter = time.Unix(0, 0), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		if signer == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		must(t, err)
		c, err := x509.ParseCertificate(der)
		must(t, err)
		return c, key
	}
	ca, signer := make(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "First run"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), KeyUsage: x509.KeyUsageDigitalSignature}
	for name := range hosts {
		leaf.DNSNames = append(leaf.DNSNames, name)
	}
	cert, key := make(leaf, ca, signer)
	m.certificate = tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	m.authority = filepath.Join(m.dir, "authority.pem")
	write(t, m.authority, text)
	const trusted = "/etc/ssl/certs/ca-certificates.crt"
	before, err := os.ReadFile(trusted)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	must(t, os.MkdirAll(filepath.Dir(trusted), 0o755)) //nolint:gosec // as ca-certificates'
	write(t, trusted, string(before)+text)
}

// forward leads a host's port to a server on loopback; with TLS, which ends there, where the server has none itself.
func (m *machine) forward(t *testing.T, host string, port int, to string, encrypted bool) {
	t.Helper()
	l := m.listen(t, host, port, encrypted)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer in.Close() //nolint:errcheck // one way or another it is over
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close() //nolint:errcheck // as above
				go func() {
					_, _ = io.Copy(out, in)
					_ = out.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
}

func (m *machine) listen(t *testing.T, host string, port int, encrypted bool) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", hosts[host], port))
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	if encrypted {
		return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{m.certificate}, MinVersion: tls.VersionTLS12})
	}
	return l
}

// serve answers https at a host.
func (m *machine) serve(t *testing.T, host string, h http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	l := m.listen(t, host, 443, true)
	go func() { _ = srv.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = srv.Close() })
}

// proxy stands in front of web, as the page's Caddy.
func (m *machine) proxy(t *testing.T) {
	t.Helper()
	m.serve(t, "remora.example.com", &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: "127.0.0.1:5000"})
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}})
}

// newShell is a shell in which the pages' commands are typed one after the other.
func newShell(t *testing.T, dir string) *pages.Shell {
	t.Helper()
	return pages.NewShell(t, filepath.Join(dir, "root"), "-e -o pipefail", os.Environ())
}

// daemon is a running unit.
type daemon struct{ *sandbox.Process }

// systemd does what systemctl was asked since the last time, as far as the pages ask it, by what the units say.
func (m *machine) systemd(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(m.asked)
	must(t, err)
	write(t, m.asked, "")
	for line := range strings.Lines(string(text)) {
		verb, names, _ := strings.Cut(strings.TrimSpace(line), " ")
		names = strings.TrimPrefix(names, "--now ")
		for _, unit := range strings.Fields(names) {
			process := strings.TrimPrefix(unit, "remora@")
			switch verb {
			case "restart":
				m.stop(t, process)
				m.start(t, process)
			case "enable":
				m.start(t, process)
			default:
				t.Fatalf("systemctl %s", line)
			}
		}
	}
}

// start starts a process by the unit, with the environment that systemd would give it.
func (m *machine) start(t *testing.T, process string) {
	t.Helper()
	unit := map[string]string{}
	var files []string
	for line := range strings.Lines(read(t, "/etc/systemd/system/remora@.service")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			unit[name] = strings.ReplaceAll(value, "%i", process)
			if name == "EnvironmentFile" {
				files = append(files, unit[name])
			}
		}
	}
	command := strings.Fields(unit["ExecStart"])
	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec // the unit's
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "USER=" + unit["User"], "LOGNAME=" + unit["User"], "HOME=/home/" + unit["User"], "SHELL=/bin/sh"}
	for _, file := range files {
		for line := range strings.Lines(read(t, file)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				cmd.Env = append(cmd.Env, line)
			}
		}
	}
	var uid, gid uint32
	_, err := fmt.Sscan(run(t, "id", "-u", unit["User"])+run(t, "id", "-g", unit["User"]), &uid, &gid)
	must(t, err)
	if uid == 0 {
		t.Fatal("the unit's process is root")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	cmd.Stdout, cmd.Stderr = m.log, m.log
	p, err := sandbox.Start(cmd, syscall.SIGKILL)
	must(t, err)
	m.units[process] = &daemon{p}
	t.Cleanup(func() { _ = p.End(syscall.SIGTERM) }) // where it was not stopped before
}

// stop stops a process as systemd does, and sees that it ends by itself, and well.
func (m *machine) stop(t *testing.T, process string) {
	t.Helper()
	d := m.units[process]
	select {
	case <-d.Done():
		t.Errorf("%s had ended: %v", process, d.Err())
		return
	default:
	}
	if err := d.End(syscall.SIGTERM); err != nil || d.Err() != nil {
		t.Errorf("%s: %v %v", process, err, d.Err())
	}
}

// fill types settings into the settings files, each in its place. A comment names the file.
func fill(t *testing.T, settings string) {
	t.Helper()
	file := ""
	for line := range strings.Lines(settings) {
		if name, other := strings.CutPrefix(line, "# "); other {
			file = filepath.Join(folder, strings.TrimSpace(name))
			continue
		}
		text := read(t, file)
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		var found bool
		var next strings.Builder
		for l := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimPrefix(l, "#"), name+"=") {
				found, l = true, line
			}
			next.WriteString(l)
		}
		if !found {
			t.Fatalf("%s has no place for %s", file, name)
		}
		write(t, file, next.String())
	}
}

// until asks again and again.
func (m *machine) until(t *testing.T, what string, within time.Duration, is func(context.Context) (last string, so bool)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	poll := time.NewTicker(2 * time.Second) // a token may ask 120 times in a minute
	defer poll.Stop()
	for {
		last, so := is(ctx)
		if so {
			return
		}
		for process, d := range m.units {
			select {
			case <-d.Done():
				t.Fatalf("%s has ended: %v", process, d.Err())
			default:
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %s", what, last)
		case <-poll.C:
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v %s", name, args, err, stderr.String())
	}
	return string(out)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	return string(text)
}

// write keeps the mode and the owner of a file that is there.
func write(t *testing.T, file, text string) {
	t.Helper()
	must(t, os.WriteFile(file, []byte(text), 0o644)) //nolint:gosec // what others read too; secrets are in files that are there
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
