// Package config is every setting of the product, as one struct, and the only reader of the environment. Each
// setting is an environment variable, and all but the secrets are flags too; there are no files.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Command is which process this is.
type Command string

// The processes.
const (
	Web      Command = "web"
	Worker   Command = "worker"
	Verifier Command = "verifier"
	Deleter  Command = "deleter"
	Migrate  Command = "migrate"
	Manifest Command = "manifest"
	Plans    Command = "plans"
	Template Command = "settings"
	Checkup  Command = "checkup"

	FetchTable  Command = "table <from> <tables>"
	VerifyAudit Command = "audit verify"
	CheckAudit  Command = "audit check <file>"
	ShowReceipt Command = "removal receipt <resource>"
	UndoRemoval Command = "removal undo <resource>"
	OpenArchive Command = "open <from>"
	KeysCheck   Command = "keys check"
	KeysRotate  Command = "keys rotate"
	Rebuild     Command = "rebuild"
	ShowHold    Command = "deletions show"
	Hold        Command = "deletions hold <because>"
	Resume      Command = "deletions resume"
)

// Settings of one process. Those of another process are empty.
type Settings struct {
	Command  Command
	Database redact.Secret
	LogText  bool
	Keys     *keyring.Keyring
	Partner  Partner
	Site     Site
	Store    Store
	Heroku   Heroku
	Mail     Mail
	Rounds   Rounds
	Watch    Watch
	Work     Work
	Verify   Verify
	Delete   Delete
	Table    Table
	Audit    Audit
	Removal  Removal
	Removed  string // the identifier of a removed add-on
	DryRun   bool   // of rebuild: only say what would be done
	Because  string // why nothing is to be deleted
	Offer    Offer
	Template string // whose settings file is printed
	Open     Open
	Checkup  []Command // the processes whose settings are looked at
}

// Named is what the add-on is called.
type Named struct {
	AddonID string `name:"addon-id" env:"ADDON_ID" default:"remora-backup" help:"The manifest's id."`
}

// Reached is where the outside finds us.
type Reached struct {
	PublicURL string `env:"PUBLIC_URL" required:"" help:"How the outside reaches the web process, such as https://remora.example.com."`
}

// Partner is how Heroku calls us.
type Partner struct {
	Named
	AddonPassword redact.Secret `env:"ADDON_PASSWORD" required:"" help:"The manifest's api.password."`
	SSOSalt       redact.Secret `name:"sso-salt" env:"SSO_SALT" required:"" help:"The manifest's api.sso_salt."`
}

// Site is how we are reached.
type Site struct {
	Reached
	Port         int           `env:"PORT" default:"5000" help:"Where the web process listens."`
	Bind         string        `env:"BIND" default:"" help:"The address it listens on; empty is all."`
	MetricsToken redact.Secret `env:"METRICS_TOKEN" help:"Opens /metrics as a bearer token; without it there is no /metrics."`
	LinkGood     time.Duration `env:"LINK_GOOD" default:"1h" help:"How long a download link is good."`

	OperatorPassword redact.Secret `env:"OPERATOR_PASSWORD" help:"Opens the operator's pages at /operator, of at least 20 characters; without it there are none."`

	ServiceAccount string `env:"SERVICE_ACCOUNT" required:"" help:"The e-mail address of the account that customers share their Helper App with."`
}

// Store is the bucket.
type Store struct {
	Endpoint  string        `name:"s3-endpoint" env:"S3_ENDPOINT" required:"" help:"The store's address, such as https://s3.us-east-1.amazonaws.com."`
	Region    string        `name:"s3-region" env:"S3_REGION" default:"us-east-1" help:"The store's region."`
	Bucket    string        `name:"s3-bucket" env:"S3_BUCKET" required:"" help:"The bucket."`
	AccessKey string        `name:"s3-access-key" env:"S3_ACCESS_KEY" required:"" help:"The access key's id."`
	SecretKey redact.Secret `name:"s3-secret-key" env:"S3_SECRET_KEY" required:"" help:"The access key's secret."`
	PathStyle bool          `name:"s3-path-style" env:"S3_PATH_STYLE" help:"Put the bucket into the path instead of the host name."`
}

// Heroku is how we call Heroku.
type Heroku struct {
	APIURL       string        `name:"heroku-api-url" env:"HEROKU_API_URL" default:"https://api.heroku.com" help:"The Platform API."`
	IDURL        string        `name:"heroku-id-url" env:"HEROKU_ID_URL" default:"https://id.heroku.com" help:"The OAuth token endpoint's host."`
	ClientSecret redact.Secret `env:"CLIENT_SECRET" required:"" help:"The add-on's OAuth client secret, from the partner portal."`
	ServiceToken redact.Secret `env:"SERVICE_TOKEN" required:"" help:"An API token of the account that Helper Apps are shared with."`
}

// Mail is how e-mail goes out. Without it channels of e-mail cannot be added.
type Mail struct {
	SMTPURL  redact.Secret `name:"smtp-url" env:"SMTP_URL" help:"The mail server, such as smtp://user:password@mail.example.com:587, which must offer STARTTLS, or smtps://…:465; without it there is no e-mail."`
	MailFrom string        `env:"MAIL_FROM" help:"The sender of our e-mail, such as Remora Backup <backups@example.com>."`
}

// Watch is how web looks for backups that are late.
type Watch struct {
	WatchEvery time.Duration `env:"WATCH_EVERY" default:"30s" help:"How often web looks at how fresh each database's backups are."`
}

// Rounds are what the process that leads the queue asks for again and again: a worker, or web where none runs.
type Rounds struct {
	TickEvery   time.Duration `env:"TICK_EVERY" default:"1m" help:"How often due schedules and lost runs are looked for."`
	GatherNews  time.Duration `env:"GATHER_NEWS" default:"10s" help:"How long what happens is gathered into one message to a customer."`
	SweepEvery  time.Duration `env:"SWEEP_EVERY" default:"10m" help:"How often orphaned uploads and archives are looked for."`
	ExpireEvery time.Duration `env:"EXPIRE_EVERY" default:"10m" help:"How often the deleter is asked to look for backups that nothing keeps."`
}

// Work is how a worker works.
type Work struct {
	Pools         []remora.Pool `env:"POOLS" default:"us,eu" help:"Whose backups this worker makes: us, eu, or both. A pool whose backups no worker makes is an alarm."`
	Concurrency   int           `env:"CONCURRENCY" default:"0" help:"How many backups one worker makes at a time at most, where memory allows; 0 is 8 for each core."`
	PerServer     int           `env:"PER_SERVER" default:"2" help:"How many backups may read from one server of a customer's at a time, whoever they belong to."`
	Memory        int           `env:"MEMORY_MB" default:"512" help:"How much memory a worker and its pg_dumps may take, in MiB; backups are admitted by it. A database is backed up when twice its largest row fits."`
	CompressLevel int           `env:"COMPRESS_LEVEL" default:"0" help:"How hard archives are compressed, 1 (fast) to 9 (small); 0 is 6, or 1 on a single core."`
	ClientDirs    []string      `env:"PG_CLIENT_DIRS" help:"Folders with pg_dump and pg_restore, looked into before the usual ones."`
	Path          string        `env:"PATH" hidden:""`
	Outdated      bool          `name:"allow-outdated-pg" env:"ALLOW_OUTDATED_PG" help:"Use PostgreSQL programs with holes that a hostile server or archive can use, which are refused otherwise. For a service without strangers."`
	Lease         time.Duration `env:"LEASE" default:"90s" help:"How long a run is held without a sign of life."`
	SweepAfter    time.Duration `env:"SWEEP_AFTER" default:"2m" help:"How old an upload without a run must be to be removed."`
	CheckEvery    time.Duration `env:"CHECK_EVERY" default:"5m" help:"How often a Helper App's attachments are listed, where Heroku's quota allows: up to 300 resources at 5m (docs/heroku-quota.md)."`
	WorkerMetrics string        `env:"WORKER_METRICS" help:"Where the worker serves /metrics and /healthz, such as 127.0.0.1:9100; empty is nowhere."`
}

// Verify is how a verifier works. Each of its processes works by these limits, so that a dyno of some memory and disk can
// be given them.
type Verify struct {
	Pools           []remora.Pool `env:"POOLS" default:"us,eu" help:"Whose backups this verifier looks at: us, eu, or both."`
	Proofs          int           `env:"PROOFS" default:"1" help:"How many backups one verifier restores or reads again at a time."`
	ServerDirs      []string      `name:"pg-server-dirs" env:"PG_SERVER_DIRS" help:"Folders with initdb, postgres and pg_restore, looked into before the usual ones."`
	Path            string        `env:"PATH" hidden:""`
	Outdated        bool          `name:"allow-outdated-pg" env:"ALLOW_OUTDATED_PG" help:"As for the worker."`
	ScratchDir      string        `env:"SCRATCH_DIR" default:"/tmp/remora-scratch" help:"Where scratch servers have their folders; the path must be short, and every folder above it open to all."`
	ScratchMemory   int           `name:"scratch-memory-mb" env:"SCRATCH_MEMORY_MB" default:"1024" help:"The address space of each process of a scratch server, in MiB."`
	ScratchDisk     int           `name:"scratch-disk-mb" env:"SCRATCH_DISK_MB" default:"20480" help:"The disk that one restore may take, in MiB; what is larger is not proven, and its page says so."`
	Lease           time.Duration `env:"LEASE" default:"90s" help:"How long a proof is held without a sign of life."`
	VerifierMetrics string        `env:"VERIFIER_METRICS" help:"Where the verifier serves /metrics and /healthz, such as 127.0.0.1:9101; empty is nowhere."`
}

// Delete is how a deleter works. Its key should be the only one that may delete; the others' need not.
type Delete struct {
	AccessKey      string        `name:"deleter-s3-access-key" env:"DELETER_S3_ACCESS_KEY" help:"The id of a key that may delete; empty takes S3_ACCESS_KEY, and the log warns of it."`
	SecretKey      redact.Secret `name:"deleter-s3-secret-key" env:"DELETER_S3_SECRET_KEY" help:"That key's secret."`
	DeleteAfter    time.Duration `env:"DELETE_AFTER" default:"24h" help:"How long an expired backup stays in the store, out of the customer's sight."`
	SweepAfter     time.Duration `env:"SWEEP_AFTER" default:"2m" help:"How old an archive without a backup must be to be removed."`
	Lease          time.Duration `env:"LEASE" default:"90s" help:"How long a deletion without a sign of life is waited for, until another is asked for."`
	DeleterMetrics string        `env:"DELETER_METRICS" help:"Where the deleter serves /metrics and /healthz, such as 127.0.0.1:9102; empty is nowhere."`
}

// Removal is what becomes of removed add-ons.
type Removal struct {
	UndoWithin time.Duration `env:"UNDO_WITHIN" default:"20h" help:"How long you can undo that an add-on was removed, 23h at most; then its key is destroyed and everything stored is deleted."`
}

// removed names an add-on that was removed, to a command of the operator's.
type removed struct {
	common
	keys
	Resource string `arg:"" help:"The identifier of an add-on that was removed."`
}

// Table is what to fetch of an archive.
type Table struct {
	From   string   `arg:"" help:"A download link, or a file."`
	Tables []string `arg:"" help:"Tables, each as schema.table."`
	To     string   `short:"o" required:"" help:"The file to write; it must not exist."`
}

// Audit is whose audit log to check.
type Audit struct {
	Resource string // an add-on's identifier, to verify in our database; empty for all of them
	File     string // an export to check
}

// Offer is what the add-on's manifest says beside what web is told.
type Offer struct {
	Named
	Reached
	Regions []string `name:"regions" env:"ADDON_REGIONS" default:"us,eu" help:"Where customers can install the add-on: names from Heroku's list of regions, or *."`
}

// Open is which archive to open, without the service, and with which key. The credentials of a bucket are the customer's
// own, named as other tools name them.
type Open struct {
	From      string        `arg:"" help:"Where the archive's files are: a folder, s3://BUCKET/PREFIX, or a download link."`
	Key       string        `short:"i" required:"" type:"path" help:"A file with the key, as age-keygen or the add-on's page about keys wrote it."`
	To        string        `short:"o" type:"path" help:"The file to write, which must not exist; without it the archive goes to standard output."`
	Check     string        `type:"path" help:"Where to write a script for psql that holds a restored copy against what was counted."`
	Endpoint  string        `env:"AWS_ENDPOINT_URL" help:"The store's address; without it Amazon's of the region."`
	Region    string        `env:"AWS_REGION" default:"us-east-1" help:"The store's region."`
	PathStyle bool          `help:"Put the bucket into the path instead of the host name."`
	AccessKey string        `env:"AWS_ACCESS_KEY_ID" hidden:""`
	SecretKey redact.Secret `env:"AWS_SECRET_ACCESS_KEY" hidden:""`
	Session   redact.Secret `env:"AWS_SESSION_TOKEN" hidden:""`
}

type common struct {
	Database redact.Secret `name:"database-url" env:"DATABASE_URL" required:"" help:"Our own Postgres."`
	LogText  bool          `env:"LOG_TEXT" help:"Log for people instead of JSON."`
}

type keys struct {
	Keyring redact.Secret `env:"KEYRING" required:"" help:"Keys that seal secrets at rest: id:base64 of 32 bytes, the first seals, separated by commas."`
}

type cli struct {
	Web struct {
		common
		keys
		Partner
		Site
		Store
		Mail
		Rounds
		Watch
		Removal
	} `cmd:"" help:"Answer Heroku and serve the pages."`
	Worker struct {
		common
		keys
		Heroku
		Store
		Rounds
		Work
	} `cmd:"" help:"Make backups."`
	Verifier struct {
		common
		keys
		Store
		Verify
	} `cmd:"" help:"Restore backups into scratch servers and compare them, and read again what is stored."`
	Deleter struct {
		common
		keys
		Store
		Delete
		Removal
	} `cmd:"" help:"Delete what is stored of backups that nothing keeps; the only process whose storage key needs to delete."`
	Keys struct {
		Check struct {
			common
			keys
		} `cmd:"" help:"Say what each key of KEYRING has sealed that our database holds, and which can be taken out."`
		Rotate struct {
			common
			keys
		} `cmd:"" help:"Seal with the first key of KEYRING what another has sealed; it may be broken off and called again, while the service runs."`
	} `cmd:"" help:"The key ring that seals secrets at rest."`
	Rebuild struct {
		common
		keys
		Store
		DryRun bool `short:"n" help:"Change nothing, and say what would be done."`
	} `cmd:"" help:"Make the rows again that our database lacks, from the manifests in the bucket, after it was lost or put back; holds deletions."`
	Deletions struct {
		Show struct {
			common
			keys
		} `cmd:"" help:"Say whether deletions are held, since when and why."`
		Hold struct {
			common
			keys
			Because string `arg:"" help:"Why, in words for whoever looks next."`
		} `cmd:"" help:"Have nothing deleted, whoever asks, until resume."`
		Resume struct {
			common
			keys
		} `cmd:"" help:"Let deletions go on."`
	} `cmd:"" help:"Hold all deletions, or let them go on."`
	Migrate  struct{ common } `cmd:"" help:"Bring our own database up to this release."`
	Manifest Offer            `cmd:"" help:"Print the add-on's manifest, from the settings of web."`
	Plans    struct{}         `cmd:"" help:"Print what the partner portal must be given of each plan."`
	Settings struct {
		Of string `arg:"" optional:"" default:"all" enum:"all,common,web,worker,verifier,deleter" help:"What one process reads and not all do, a storage key of its own among it; common is what all read; all is one file for everything, where it is left out."`
	} `cmd:"" help:"Print a settings file to be filled in: every setting, what it is, and which processes read it."`
	Checkup struct {
		Processes []string `arg:"" optional:"" enum:"web,worker,verifier,deleter" help:"The processes whose settings these are; all where none is named."`
	} `cmd:"" aliases:"doctor" help:"Look at the settings and at everything that they name, and say what is missing or wrong and what to do; exits with 1 where something is wrong."`
	Open  Open  `cmd:"" help:"Open an archive with its key and its files, without the service: pg_restore reads what it writes."`
	Table Table `cmd:"" help:"Fetch single tables of an archive, by its link, without the rest of it."`
	Audit struct {
		Verify struct {
			common
			keys
			Resource string `arg:"" optional:"" help:"An add-on's identifier; every add-on where it is left out."`
		} `cmd:"" help:"See that no line of the audit log was changed or removed in our database."`
		Check struct {
			File string `arg:"" help:"A JSON export of the audit log."`
		} `cmd:"" help:"See that an exported audit log is whole and as it was written down; it needs no settings."`
	} `cmd:"" help:"Check audit logs."`
	Removed struct {
		Receipt removed `cmd:"" help:"Show what was held of a removed add-on, and when each step of its end was done."`
		Undo    removed `cmd:"" help:"Undo a removal, while the add-on's key is there."`
	} `cmd:"" name:"removal" help:"Look at what becomes of a removed add-on, or undo it."`
}

// ErrHelp says that help was asked for and printed.
var ErrHelp = errors.New("config: help was printed")

// Load reads the command from args and its settings from the environment. An error names the settings that are
// wrong or missing, and never a secret.
func Load(args []string, stdout io.Writer) (s Settings, err error) {
	var c cli
	helped := false
	parser, err := kong.New(&c, kong.Name("remora"), kong.Description("Backups of Heroku Postgres that are sealed, verified and need the least access."),
		kong.Writers(stdout, &bytes.Buffer{}), kong.Exit(func(int) { helped = true }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.ValueFormatter(explain))
	if err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if helped {
		return s, ErrHelp
	}
	if err == nil {
		err = errors.Join(typed(ctx), missing(ctx))
	}
	if err != nil {
		return s, plain(err)
	}
	var ring redact.Secret
	s.Command = Command(ctx.Command())
	if name := Command(ctx.Selected().Name); name == Checkup || name == Template {
		s.Command = name // with or without what it is to look at
	}
	switch s.Command {
	case Web:
		w := c.Web
		s.Database, s.LogText, ring = w.Database, w.LogText, w.Keyring
		s.Partner, s.Site, s.Store, s.Mail, s.Rounds, s.Watch, s.Removal = w.Partner, w.Site, w.Store, w.Mail, w.Rounds, w.Watch, w.Removal
		s.Site.PublicURL = strings.TrimRight(s.Site.PublicURL, "/")
		err = errors.Join(s.Site.check(), s.Store.check(), s.Mail.check(), s.Rounds.check(), s.Watch.check(), s.Removal.check())
	case Worker:
		w := c.Worker
		s.Database, s.LogText, ring = w.Database, w.LogText, w.Keyring
		s.Heroku, s.Store, s.Rounds, s.Work = w.Heroku, w.Store, w.Rounds, w.Work
		err = errors.Join(s.Heroku.check(), s.Store.check(), s.Rounds.check(), s.Work.check())
	case Verifier:
		w := c.Verifier
		s.Database, s.LogText, ring = w.Database, w.LogText, w.Keyring
		s.Store, s.Verify = w.Store, w.Verify
		err = errors.Join(s.Store.check(), s.Verify.check())
	case Deleter:
		w := c.Deleter
		s.Database, s.LogText, ring = w.Database, w.LogText, w.Keyring
		s.Store, s.Delete, s.Removal = w.Store, w.Delete, w.Removal
		err = errors.Join(s.Store.check(), s.Delete.check(), s.Removal.check())
	case KeysCheck:
		s.Database, s.LogText, ring = c.Keys.Check.Database, c.Keys.Check.LogText, c.Keys.Check.Keyring
	case KeysRotate:
		s.Database, s.LogText, ring = c.Keys.Rotate.Database, c.Keys.Rotate.LogText, c.Keys.Rotate.Keyring
	case Rebuild:
		w := c.Rebuild
		s.Database, s.LogText, ring, s.Store, s.DryRun = w.Database, w.LogText, w.Keyring, w.Store, w.DryRun
		err = s.Store.check()
	case ShowHold:
		s.Database, s.LogText, ring = c.Deletions.Show.Database, c.Deletions.Show.LogText, c.Deletions.Show.Keyring
	case Hold:
		w := c.Deletions.Hold
		s.Database, s.LogText, ring, s.Because = w.Database, w.LogText, w.Keyring, w.Because
	case Resume:
		s.Database, s.LogText, ring = c.Deletions.Resume.Database, c.Deletions.Resume.LogText, c.Deletions.Resume.Keyring
	case Migrate:
		s.Database, s.LogText = c.Migrate.Database, c.Migrate.LogText
		return s, nil
	case ShowReceipt, UndoRemoval:
		w := c.Removed.Receipt
		if s.Command == UndoRemoval {
			w = c.Removed.Undo
		}
		s.Database, s.LogText, ring, s.Removed = w.Database, w.LogText, w.Keyring, w.Resource
	case Manifest:
		s.Offer = c.Manifest
		s.Offer.PublicURL = strings.TrimRight(s.Offer.PublicURL, "/")
		return s, address("PUBLIC_URL", s.Offer.PublicURL)
	case Template:
		s.Template = c.Settings.Of
		return s, nil
	case Plans:
		return s, nil
	case Checkup:
		for _, name := range c.Checkup.Processes {
			s.Checkup = append(s.Checkup, Command(name))
		}
		if len(s.Checkup) == 0 {
			s.Checkup = []Command{Web, Worker, Verifier, Deleter}
		}
		return s, nil
	case FetchTable:
		s.Table = c.Table
		return s, nil
	case VerifyAudit, VerifyAudit + " <resource>":
		v := c.Audit.Verify
		s.Command, s.Database, s.LogText, ring, s.Audit.Resource = VerifyAudit, v.Database, v.LogText, v.Keyring, v.Resource
	case CheckAudit:
		s.Audit.File = c.Audit.Check.File
		return s, nil
	case OpenArchive:
		s.Open = c.Open
		return s, nil
	}
	var kerr error
	if s.Keys, kerr = keyring.Parse(ring); kerr != nil {
		err = errors.Join(err, fmt.Errorf("KEYRING: %w", kerr))
	}
	return s, err
}

func (s Site) check() error {
	return errors.Join(
		address("PUBLIC_URL", s.PublicURL), between("PORT", s.Port, 1, 65535),
		between("LINK_GOOD", s.LinkGood, time.Minute, 7*24*time.Hour),
		unless(s.OperatorPassword.IsZero() || len(s.OperatorPassword.Reveal()) >= 20, "OPERATOR_PASSWORD must have at least 20 characters"),
		unless(strings.Contains(s.ServiceAccount, "@"), "SERVICE_ACCOUNT must be an e-mail address"),
	)
}

func (s Store) check() error { return address("S3_ENDPOINT", s.Endpoint) }

func (h Heroku) check() error {
	return errors.Join(address("HEROKU_API_URL", h.APIURL), address("HEROKU_ID_URL", h.IDURL))
}

// check bounds what would else stop the service without a word: a lease shorter than a few heartbeats loses every
// run, a period of nothing never comes.
func (w Work) check() error {
	return errors.Join(
		pools(w.Pools), between("CONCURRENCY", w.Concurrency, 0, 1000), between("PER_SERVER", w.PerServer, 1, 1000), between("MEMORY_MB", w.Memory, 128, 1<<20), between("COMPRESS_LEVEL", w.CompressLevel, 0, 9), between("LEASE", w.Lease, 10*time.Second, time.Hour),
		between("SWEEP_AFTER", w.SweepAfter, time.Second, 24*time.Hour), between("CHECK_EVERY", w.CheckEvery, time.Second, 24*time.Hour),
	)
}

func (r Rounds) check() error {
	return errors.Join(between("GATHER_NEWS", r.GatherNews, time.Millisecond, time.Hour), between("TICK_EVERY", r.TickEvery, time.Second, time.Hour), between("SWEEP_EVERY", r.SweepEvery, time.Second, 24*time.Hour),
		between("EXPIRE_EVERY", r.ExpireEvery, time.Second, 24*time.Hour))
}

func (w Watch) check() error {
	return between("WATCH_EVERY", w.WatchEvery, 100*time.Millisecond, time.Hour)
}

func (m Mail) check() error {
	return unless(m.SMTPURL.IsZero() == (m.MailFrom == ""), "SMTP_URL and MAIL_FROM must be set both, or neither")
}

func (v Verify) check() error {
	return errors.Join(
		pools(v.Pools), between("PROOFS", v.Proofs, 1, 100), between("SCRATCH_MEMORY_MB", v.ScratchMemory, 256, 1<<20), between("SCRATCH_DISK_MB", v.ScratchDisk, 256, 1<<24),
		between("LEASE", v.Lease, 10*time.Second, time.Hour), unless(strings.HasPrefix(v.ScratchDir, "/") && len(v.ScratchDir) <= 70, "SCRATCH_DIR must be an absolute path of at most 70 bytes"),
	)
}

// check leaves the deleter an hour for the key, which is promised to be gone within a day.
func (r Removal) check() error { return between("UNDO_WITHIN", r.UndoWithin, 0, 23*time.Hour) }

// check keeps a minute between a backup's end and its deletion at least: a download is cut within seconds of the end.
func (d Delete) check() error {
	return errors.Join(
		unless((d.AccessKey == "") == d.SecretKey.IsZero(), "DELETER_S3_ACCESS_KEY and DELETER_S3_SECRET_KEY belong together: set both or none"),
		between("LEASE", d.Lease, 10*time.Second, time.Hour), between("DELETE_AFTER", d.DeleteAfter, time.Minute, 30*24*time.Hour),
		between("SWEEP_AFTER", d.SweepAfter, time.Second, 24*time.Hour),
	)
}

// pools sees that each is one, and that there are some: a process without any would wait for ever.
func pools(all []remora.Pool) error {
	known := len(all) > 0
	for _, p := range all {
		known = known && p.Known()
	}
	return unless(known, "POOLS must be one or several of us and eu, separated by commas")
}

func address(name, value string) error {
	u, err := url.Parse(value)
	good := err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.User == nil && u.RawQuery == ""
	return unless(good, name+" must be an address such as https://example.com")
}

func between[T int | time.Duration](name string, v, least, most T) error {
	return unless(least <= v && v <= most, fmt.Sprintf("%s must be between %v and %v", name, least, most))
}

func unless(good bool, problem string) error {
	if good {
		return nil
	}
	return errors.New(problem)
}

// plain turns kong's words for missing settings into ours.
func plain(err error) error {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil && strings.Contains(err.Error(), "missing flags") {
		if named := errors.Join(typed(p.Context), missing(p.Context)); named != nil {
			return named
		}
		return fmt.Errorf("%w. remora %s --help says what it is", err, p.Context.Selected().Name) // no setting, such as -o
	}
	return err
}

// explain is a setting's line in the help, which says of a secret that typing it is no use: see typed.
func explain(v *kong.Value) string {
	said := kong.DefaultHelpValueFormatter(v)
	if _, secret := v.Target.Interface().(redact.Secret); secret {
		said += " A secret: from the environment only."
	}
	return said
}

// typed refuses secrets on the command line, which everybody on the machine can read in the list of processes.
func typed(ctx *kong.Context) error {
	var problems []error
	for _, p := range ctx.Path {
		if p.Flag == nil {
			continue
		}
		if _, secret := p.Flag.Target.Interface().(redact.Secret); secret {
			problems = append(problems, fmt.Errorf("%s is a secret, and is read from the environment only: whoever can list processes sees what is typed behind --%s", p.Flag.Envs[0], p.Flag.Name))
		}
	}
	return errors.Join(problems...)
}

// missing names all required settings that are not set, or set to nothing, at once.
func missing(ctx *kong.Context) error {
	var names []string
	for _, f := range ctx.Flags() {
		if !f.Required || len(f.Envs) == 0 {
			continue
		}
		switch v := f.Target.Interface().(type) {
		case redact.Secret:
			if v.IsZero() {
				names = append(names, f.Envs[0])
			}
		case string:
			if v == "" {
				names = append(names, f.Envs[0])
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("settings are missing from the environment: %s. remora %s --help says what each is", strings.Join(names, ", "), ctx.Command())
}
