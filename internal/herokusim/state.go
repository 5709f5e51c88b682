package herokusim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Config of a simulator.
type Config struct {
	URL      string // where the simulator itself is reached, without a slash at the end
	APIKey   string // the customer's token
	Email    string // the customer's account
	Provider Provider

	// A second account, which sees only the apps that are shared with it.
	ServiceEmail string
	ServiceToken string

	TokenTTL    time.Duration // of access tokens; default 8 h
	GrantTTL    time.Duration // of a provision's grant; default 5 min
	KeepRefresh bool          // a refresh brings no new refresh token
	RestoreBy   string        // folder of pg_restore, for pg:backups:restore
	Log         *slog.Logger
	HTTP        *http.Client // calls the provider; default: one of its own
}

// Provider is the add-on provider as its manifest and Heroku's partner portal describe it.
type Provider struct {
	ID           string // the add-on's slug
	Password     string
	SSOSalt      string
	ClientSecret string
	BaseURL      string // its …/heroku/resources
	SSOURL       string
	Plans        []string
}

// Sim is a running simulator. Its handlers and methods are safe for concurrent use.
type Sim struct {
	cfg   Config
	twice atomic.Bool // every call to the provider is delivered twice

	mu          sync.Mutex
	apps        map[string]*app // by name
	addons      []*addon
	attachments []*attachment
	databases   map[string]*database // by add-on name
	tokens      map[string]*token    // by access token
	refresh     map[string]*addon    // by refresh token
	grants      map[string]*grant
	transfers   map[string]*transfer
	calls       []Call // what the provider was asked
	unknown     []string
	exchanges   int
	refreshes   int
	logs        map[string][]string // by app
	sessions    map[string]logSession
	restores    sync.WaitGroup
}

type app struct {
	ID, Name      string
	Collaborators map[string]bool
	Version       int
	CreatedAt     time.Time
}

type addon struct {
	ID, Name, Service, Plan string
	App                     *app
	State                   string // provisioning, provisioned
	Message                 string
	Config                  map[string]string
	Gone                    bool
	CreatedAt               time.Time
	revoked                 bool
}

type attachment struct {
	ID, Name, Namespace string
	Addon               *addon
	App                 *app
	CreatedAt           time.Time
}

type token struct {
	addon   *addon
	expires time.Time
}

type grant struct {
	addon   *addon
	expires time.Time
	used    bool
}

// Call is one request to the provider and its answer.
type Call struct {
	At     time.Time `json:"at"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Status int       `json:"status"`
	Answer string    `json:"answer"`
}

// New returns a simulator with no apps. It does no I/O.
func New(cfg Config) (*Sim, error) {
	if cfg.URL == "" || cfg.APIKey == "" || cfg.Email == "" || cfg.ServiceEmail == "" || cfg.ServiceToken == "" || cfg.Provider.ID == "" {
		return nil, errors.New("herokusim: URL, accounts and provider are required")
	}
	if cfg.TokenTTL == 0 {
		cfg.TokenTTL = 8 * time.Hour
	}
	if cfg.GrantTTL == 0 {
		cfg.GrantTTL = 5 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: 25 * time.Second} // Heroku's hard limit
	}
	return &Sim{
		cfg: cfg, apps: map[string]*app{}, databases: map[string]*database{}, tokens: map[string]*token{},
		refresh: map[string]*addon{}, grants: map[string]*grant{}, transfers: map[string]*transfer{},
	}, nil
}

// Close waits for restores that run.
func (s *Sim) Close() { s.restores.Wait() }

// CreateApp makes an app of the customer's.
func (s *Sim) CreateApp(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.createApp(name)
}

func (s *Sim) createApp(name string) *app {
	a := &app{ID: uuid.NewString(), Name: name, Collaborators: map[string]bool{}, Version: 1, CreatedAt: time.Now().UTC()}
	s.apps[name] = a
	return a
}

// findApp finds by name or id.
func (s *Sim) findApp(ref string) *app {
	if a, ok := s.apps[ref]; ok {
		return a
	}
	for _, a := range s.apps {
		if a.ID == ref {
			return a
		}
	}
	return nil
}

// findAddon finds by name, id, or, within an app, by the service's slug.
func (s *Sim) findAddon(ref, inApp string) *addon {
	for _, a := range s.addons {
		if a.Gone {
			continue
		}
		if a.ID == ref || a.Name == ref || inApp != "" && a.App.Name == inApp && a.Service == ref {
			return a
		}
	}
	return nil
}

// configVars are what the attachments give an app.
func (s *Sim) configVars(a *app) map[string]string {
	vars := map[string]string{}
	for _, t := range s.attachments {
		if t.App != a {
			continue
		}
		if d := s.databases[t.Addon.Name]; d != nil {
			if url, ok := d.url(t.Namespace); ok {
				vars[t.Name+"_URL"] = url
			}
			continue
		}
		for k, v := range t.Addon.Config {
			vars[k] = v
		}
	}
	return vars
}

func (s *Sim) attach(x *addon, a *app, name, namespace string) *attachment {
	if name == "" {
		name = s.freeName(x, a)
	}
	t := &attachment{ID: uuid.NewString(), Name: name, Namespace: namespace, Addon: x, App: a, CreatedAt: time.Now().UTC()}
	s.attachments = append(s.attachments, t)
	a.Version++
	return t
}

var colors = []string{"COBALT", "AMBER", "CRIMSON", "JADE", "OLIVE", "PINK", "TEAL", "VIOLET"}

func (s *Sim) freeName(x *addon, a *app) string {
	taken := map[string]bool{}
	for _, t := range s.attachments {
		taken[t.App.Name+"/"+t.Name] = true
	}
	base := strings.ToUpper(strings.ReplaceAll(x.Service, "-", "_"))
	if x.Service != postgresService && !taken[a.Name+"/"+base] {
		return base
	}
	for _, c := range colors {
		if n := base + "_" + c; !taken[a.Name+"/"+n] {
			return n
		}
	}
	return base + "_" + strings.ToUpper(random(6))
}

const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

// random makes an identifier or password of n characters.
func random(n int) string {
	out := make([]byte, n)
	for i := range out {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			panic(fmt.Sprint("no randomness: ", err))
		}
		out[i] = alphabet[k.Int64()]
	}
	return string(out)
}
