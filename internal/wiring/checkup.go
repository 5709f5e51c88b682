package wiring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/config"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/notify"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/sandbox"
	"github.com/remora-backup/remora/internal/scratchpg"
)

// How bad it is.
const (
	good    = "ok"
	warning = "warning" // works, and should be otherwise
	wrong   = "wrong"   // does not work
)

// skew is how far our clock may be off: sign-on from Heroku is taken for five minutes, and the store's signatures for
// fifteen.
const skew = 30 * time.Second

// checkup looks at the settings of some processes and at what they name, and says of each thing what is so and, where
// it is not good, what to do. It changes nothing; at the store it begins an upload and aborts it.
type checkup struct {
	process
	out      io.Writer
	settings map[config.Command]config.Settings // of the processes whose settings are whole
	wrong    int
}

// checkUp is the command. Its error makes the exit status; what is wrong was printed.
func (p process) checkUp(ctx context.Context, stdout io.Writer) error {
	c := &checkup{process: p, out: stdout, settings: map[config.Command]config.Settings{}}
	for _, name := range p.Checkup {
		c.load(name)
	}
	c.database(ctx)
	c.store(ctx)
	c.programs(ctx)
	c.mail(ctx)
	c.heroku(ctx)
	c.site(ctx)
	if c.wrong > 0 {
		return errors.New("to be mended: " + remora.Count(c.wrong, "thing"))
	}
	return nil
}

// say prints one finding. what is a whole sentence; do, which may be empty, is another.
func (c *checkup) say(how, about, what, do string) {
	if how == wrong {
		c.wrong++
	}
	_, _ = fmt.Fprintf(c.out, "%-8s %-10s %s\n", how, about, strings.TrimSpace(what+" "+do)) // to the operator's terminal
}

// load reads the settings of a process as that process does.
func (c *checkup) load(name config.Command) {
	s, err := config.Load([]string{string(name)}, io.Discard)
	if err != nil {
		for problem := range strings.SplitSeq(err.Error(), "\n") {
			c.say(wrong, "settings", string(name)+": "+problem+".", "")
		}
		return
	}
	c.settings[name] = s
	c.say(good, "settings", string(name)+" has all that it needs.", "")
}

// of returns the settings of the first of some processes whose settings are whole.
func (c *checkup) of(names ...config.Command) (config.Settings, bool) {
	for _, name := range names {
		if s, ok := c.settings[name]; ok {
			return s, true
		}
	}
	return config.Settings{}, false
}

// as is a process of those settings, with measures of its own, which nobody reads.
func (c *checkup) as(s config.Settings) process {
	p := c.process
	p.Settings, p.metrics = s, prometheus.NewRegistry()
	return p
}

func (c *checkup) database(ctx context.Context) {
	s, ok := c.of(config.Web, config.Worker, config.Verifier, config.Deleter)
	if !ok {
		return
	}
	p := c.as(s)
	pool, err := p.pool(ctx, 4)
	if err != nil {
		c.say(wrong, "database", err.Error()+".", "")
		return
	}
	defer pool.Close()
	behind, err := postgres.Behind(ctx, pool)
	switch {
	case err != nil:
		c.say(wrong, "database", "It answers, and its migrations cannot be read: "+scrubbed(err)+".", "Run remora migrate.")
		return
	case len(behind) > 0:
		c.say(wrong, "database", fmt.Sprintf("%d migrations of this release are missing, the first is %s.", len(behind), behind[0]), "Run remora migrate; on Heroku the release phase does.")
		return
	}
	store, err := p.store(ctx, postgres.Config{Pool: pool, Keys: s.Keys})
	if err != nil {
		c.say(wrong, "database", err.Error()+".", "")
		return
	}
	c.say(good, "database", "It answers, is at this release, and KEYRING opens what it holds.", "")
	if at, err := store.Clock(ctx); err == nil {
		c.clock("our database's", at)
	}
}

func (c *checkup) clock(whose string, at time.Time) {
	off := time.Since(at).Round(time.Second)
	if off.Abs() > skew {
		c.say(wrong, "clock", fmt.Sprintf("This machine's clock and %s differ by %v.", whose, off.Abs()), "Set it by NTP: sign-on and the store's signatures go by it.")
		return
	}
	c.say(good, "clock", "This machine's clock agrees with "+whose+".", "")
}

func (c *checkup) store(ctx context.Context) {
	const check = "Check S3_ENDPOINT, S3_REGION, S3_BUCKET, S3_PATH_STYLE and the key."
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if s, ok := c.of(config.Worker); ok {
		bucket, err := c.as(s).bucket()
		if err == nil {
			err = bucket.Probe(ctx)
		}
		if err == nil {
			c.mayKnow(ctx, bucket)
		}
		c.found("bucket", err, "The common key may write to it.", check+" A worker's key must be allowed to list the bucket, to put objects and to abort uploads.")
	} else if s, ok := c.of(config.Web, config.Verifier); ok {
		bucket, err := c.as(s).bucket()
		if err == nil {
			err = bucket.Reach(ctx, archivestore.Prefix)
		}
		c.found("bucket", err, "The common key may look at it.", check)
	}
	s, ok := c.of(config.Deleter)
	if !ok {
		return
	}
	if s.Delete.AccessKey == "" {
		c.say(warning, "bucket", "The deleter takes the common key, so every process could delete backups.",
			"Set DELETER_S3_ACCESS_KEY and DELETER_S3_SECRET_KEY to a key that may delete, and take that right from the other.")
	} else {
		s.Store.AccessKey, s.Store.SecretKey = s.Delete.AccessKey, s.Delete.SecretKey
	}
	bucket, err := c.as(s).bucket()
	if err == nil {
		err = bucket.Reach(ctx, archivestore.Prefix)
	}
	if s.Delete.AccessKey != "" {
		c.found("bucket", err, "The deleter's own key may look at it.", check)
	}
	if err == nil {
		c.lock(ctx, bucket)
	}
}

// mayKnow says where the worker could not tell whether copies of keys must be kept from being locked with archives.
func (c *checkup) mayKnow(ctx context.Context, bucket *objectstore.Bucket) {
	const then = " If it does, copies of keys are locked with the archives, and removed add-ons' stay longer than customers are promised."
	switch lock, err := bucket.Lock(ctx); {
	case err != nil:
		c.say(warning, "bucket", "With the common key it could not be asked whether it locks what is written to it: "+err.Error()+"."+then, "")
	case lock.State == objectstore.LockDenied:
		c.say(warning, "bucket", "The common key may not ask whether it locks what is written to it."+then, "Give a worker's key s3:GetBucketObjectLockConfiguration, as deploy/storage/worker.json does.")
	case lock.State == objectstore.LockUnknown:
		c.say(good, "bucket", "It does not say by Object Lock whether it locks what is written to it. A rule of its own that does must leave out "+archivestore.KeysPrefix+", where copies of keys lie.", "")
	}
}

// lock says for how long the store locks what is written, and whether that is too long for what customers are promised.
func (c *checkup) lock(ctx context.Context, bucket *objectstore.Bucket) {
	lock, err := bucket.Lock(ctx)
	days := remora.Count(lock.Days, "day")
	switch {
	case err != nil:
		c.say(warning, "bucket", "Whether it locks what is written to it could not be asked: "+err.Error()+".", "")
	case lock.State == objectstore.LockDenied:
		c.say(warning, "bucket", "The deleter's key may not ask for how long it locks what is written to it.", "Give it s3:GetBucketObjectLockConfiguration, as deploy/storage/deleter.json does.")
	case lock.State == objectstore.LockOn && lock.Mode == "":
		c.say(warning, "bucket", "Object Lock is on, and locks nothing: it has no default retention.", "Give it one, as deploy/bucket-lock.json does.")
	case lock.Days > archivestore.VersionDays:
		c.say(warning, "bucket", "Object Lock keeps what is written to it for "+days+", and customers are promised that nothing is left 30 days after an add-on's removal.",
			"Set its default retention to "+remora.Count(archivestore.VersionDays, "day")+" or fewer, as deploy/bucket-lock.json does; what was written before stays locked for as long as it is.")
	case lock.Mode == objectstore.LockGovernance:
		c.say(good, "bucket", "Object Lock keeps what is written to it for "+days+", in governance mode, from all who may not override that.", "")
	case lock.Mode == objectstore.LockCompliance:
		c.say(good, "bucket", "Object Lock keeps what is written to it for "+days+", in compliance mode.", "")
	case lock.State == objectstore.LockOff:
		c.say(good, "bucket", "Object Lock is off: who may delete versions can delete archives for good.", "")
	}
}

// found says that something is good, or wrong for err.
func (c *checkup) found(about string, err error, what, do string) {
	if err != nil {
		c.say(wrong, about, "It cannot be used: "+err.Error()+".", do)
		return
	}
	c.say(good, about, what, "")
}

func (c *checkup) programs(ctx context.Context) {
	if s, ok := c.of(config.Worker); ok {
		clients := c.find(ctx, s.Work.ClientDirs, s.Work.Path)
		if len(clients) == 0 {
			c.say(wrong, "clients", "There is no pg_dump on this machine.", "Install postgresql-client, or name its folder in PG_CLIENT_DIRS.")
		} else {
			c.versions("clients", clients, s.Work.Outdated, "pg_dump and pg_restore", "Databases of these versions are dumped by a newer client, and restore into that version or later only; install the client of each")
		}
	}
	s, ok := c.of(config.Verifier)
	if !ok {
		return
	}
	servers := pgdump.FindServers(ctx, s.Verify.ServerDirs, s.Verify.Path)
	if len(servers) == 0 {
		c.say(wrong, "servers", "There is no PostgreSQL server on this machine, and a verifier restores into one.", "Install postgresql, or name the folder of initdb, postgres and pg_restore in PG_SERVER_DIRS.")
	} else {
		c.versions("servers", servers, s.Verify.Outdated, "servers for the verifier", "Backups of these versions are restored into a newer server; install each")
	}
	if box := sandbox.Detect(ctx); len(box.Missing) > 0 {
		c.say(warning, "sandbox", "What runs in customers' archives is not kept from "+strings.Join(box.Missing, ", from ")+".", "Let the verifier run where the kernel allows user namespaces, or as root in a container of its own.")
	} else {
		c.say(good, "sandbox", "What runs in customers' archives is kept apart: "+box.String()+".", "")
	}
	need := int64(s.Verify.Proofs) * int64(s.Verify.ScratchDisk) << 20
	switch free, err := scratchpg.Free(s.Verify.ScratchDir); {
	case err != nil:
		c.say(wrong, "disk", "SCRATCH_DIR cannot be looked at: "+err.Error()+".", "Name a folder that the verifier may write to.")
	case free < need:
		c.say(warning, "disk", fmt.Sprintf("The disk of SCRATCH_DIR has %d MiB, and %d restores may take %d MiB each.", free>>20, s.Verify.Proofs, s.Verify.ScratchDisk), "Lower SCRATCH_DISK_MB or PROOFS, or give it a larger disk.")
	default:
		c.say(good, "disk", fmt.Sprintf("The disk of SCRATCH_DIR has %d MiB.", free>>20), "")
	}
}

// versions says which majors are here, which are not, and which have known holes. As a process does, it takes these where they are
// allowed, and else leaves them out.
func (c *checkup) versions(about string, all []pgdump.Client, allowed bool, what, missing string) {
	c.say(good, about, "There are "+what+" "+versions(all)+".", "")
	var lacks []string
	for _, major := range pgdump.Majors() {
		if !slices.ContainsFunc(all, func(x pgdump.Client) bool { return x.Major == major }) {
			lacks = append(lacks, strconv.Itoa(major))
		}
	}
	if len(lacks) > 0 {
		c.say(warning, about, "There is none of "+strings.Join(lacks, ", ")+".", missing+".")
	}
	how, so := warning, "and is not used"
	switch {
	case allowed:
		so = "and is used all the same, as ALLOW_OUTDATED_PG says"
	case !slices.ContainsFunc(all, func(x pgdump.Client) bool { return !x.Outdated() }):
		how, so = wrong, "and without one that has none the process does not start"
	}
	for _, x := range all {
		if x.Outdated() {
			c.say(how, about, x.Version+" in "+x.Dir+" has known holes that a customer's server or archive could use, "+so+".", "Update it.")
		}
	}
}

func (c *checkup) mail(ctx context.Context) {
	s, ok := c.of(config.Web)
	if !ok {
		return
	}
	if s.Mail.SMTPURL.IsZero() {
		c.say(warning, "mail", "There is no mail server, so customers cannot be told by e-mail.", "Set SMTP_URL and MAIL_FROM.")
		return
	}
	mailer, err := notify.NewMailer(s.Mail.SMTPURL, s.Mail.MailFrom)
	if err == nil {
		err = mailer.Reach(ctx)
	}
	c.found("mail", err, "The mail server takes our sign-in; no mail was sent.", "Check SMTP_URL.")
}

func (c *checkup) heroku(ctx context.Context) {
	s, ok := c.of(config.Worker)
	if !ok {
		return
	}
	api, err := herokuapi.New(herokuapi.Config{APIURL: s.Heroku.APIURL, IDURL: s.Heroku.IDURL, ClientSecret: s.Heroku.ClientSecret, HTTP: dialer.HTTPClient(30 * time.Second)})
	if err != nil {
		c.say(wrong, "heroku", err.Error()+".", "")
		return
	}
	email, err := api.Account(ctx, s.Heroku.ServiceToken)
	web, known := c.of(config.Web)
	switch {
	case errors.Is(err, herokuapi.ErrUnauthorized):
		c.say(wrong, "heroku", "SERVICE_TOKEN is not, or no longer, good.", "Make a new one as the service account, with heroku authorizations:create, and set it.")
	case err != nil:
		c.say(wrong, "heroku", "Heroku's API cannot be asked: "+err.Error()+".", "Check HEROKU_API_URL, and https://status.heroku.com.")
	case known && !strings.EqualFold(email, web.Site.ServiceAccount):
		c.say(wrong, "heroku", "SERVICE_TOKEN is not of the account that SERVICE_ACCOUNT names, so what customers share is shared with another.", "Make both of one account.")
	default:
		c.say(good, "heroku", "SERVICE_TOKEN is good, and "+email+"'s, which web must name as SERVICE_ACCOUNT.", "")
	}
	// A code that was never given is refused either way; why tells whether we are known.
	_, err = api.ExchangeGrant(ctx, redact.New("00000000-0000-0000-0000-000000000000"))
	switch {
	case errors.Is(err, herokuapi.ErrRevoked):
		c.say(good, "heroku", "CLIENT_SECRET is known to the token endpoint.", "")
	case errors.Is(err, herokuapi.ErrClientSecret):
		c.say(wrong, "heroku", "The token endpoint does not accept CLIENT_SECRET.", "Set it as the partner portal shows it; resetting it there makes a new one.")
	default:
		c.say(warning, "heroku", "Whether CLIENT_SECRET is right could not be told.", "If new add-ons do not become ready, look at it first.")
	}
	c.date(ctx, s.Heroku.APIURL)
}

// date compares our clock with Heroku's, which every answer tells.
func (c *checkup) date(ctx context.Context, address string) {
	_, date, err := ask(ctx, address)
	if err != nil {
		return // said above
	}
	if at, err := http.ParseTime(date); err == nil {
		c.clock("Heroku's", at)
	}
}

// ask makes a request for what its answer begins with.
func ask(ctx context.Context, address string) (status int, date string, err error) {
	client := dialer.HTTPClient(10 * time.Second)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	return resp.StatusCode, resp.Header.Get("Date"), resp.Body.Close()
}

func (c *checkup) site(ctx context.Context) {
	s, ok := c.of(config.Web)
	if !ok {
		return
	}
	switch {
	case s.Site.MetricsToken.IsZero():
		c.say(warning, "metrics", "There is no METRICS_TOKEN, so nobody can be woken.", "Set it to something random, and give it to Prometheus.")
	default:
		c.say(good, "metrics", "Web serves /metrics to whoever has METRICS_TOKEN.", "")
	}
	if strings.HasPrefix(s.Site.PublicURL, "http:") {
		c.say(wrong, "site", "PUBLIC_URL does not begin with https://, and Heroku calls no other address.", "Set it to the https address of web.")
	}
	status, _, err := ask(ctx, s.Site.PublicURL+"/readyz")
	switch {
	case err != nil:
		c.say(warning, "site", "Web does not answer at PUBLIC_URL.", "If it should be running, look at its log, and at the domain and its certificate.")
	case status != http.StatusOK:
		c.say(warning, "site", "At PUBLIC_URL something answers /readyz with "+strconv.Itoa(status)+".", "If it is web, its log says why; if not, PUBLIC_URL is another's.")
	default:
		c.say(good, "site", "Web answers at PUBLIC_URL and is ready.", "")
	}
}
