package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/herokusim"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
)

// patience is how long what was killed has to come to rest, and what it left to be swept.
const patience = 90 * time.Second

// promise is one of what must hold whatever was killed, by its number in the list of invariants.
type promise struct {
	name string
	look func(context.Context) error // nil where it holds
	// late tells that it holds only after a while, in which leases end and sweeps come by.
	late bool
}

func (s *soak) promises() []promise {
	return []promise{
		{"I5: one run at a time, and epochs that only rise", s.fenced, false},
		{"I4: one outcome for each time that was due", s.accounted, true},
		{"I2: each object has a row, and each row its objects", s.listed, true},
		{"I3: no upload is left open", s.closed, true},
		{"I7: nothing is left on the customer's server", s.left, true},
		{"I1: each good backup restores", s.restores, false},
		{"I6: no secret is anywhere", s.kept, false},
		{"I8: a neighbour sees nothing", s.apart, false},
	}
}

// holds sees that a backup is made after all that, lets everything come to rest and then looks at each promise.
func (s *soak) holds(ctx context.Context) error {
	killed := time.Now()
	err := s.within(ctx, func(ctx context.Context) error {
		s.ask(ctx)
		return s.none(ctx, "no backup is good that ended after", "SELECT $1::timestamptz::text WHERE NOT EXISTS (SELECT FROM backups WHERE state IN ('verified', 'proven') AND ended_at > $1)", killed)
	})
	if err != nil {
		return fmt.Errorf("it does not recover: %w", err)
	}
	if err := s.within(ctx, s.rested); err != nil {
		return fmt.Errorf("it does not come to rest: %w", err)
	}
	for _, p := range s.promises() {
		look := p.look
		if p.late {
			look = func(ctx context.Context) error { return s.within(ctx, p.look) }
		}
		if err := look(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return s.seen()
}

// within asks again until there is no error, or for as long as patience lasts.
func (s *soak) within(ctx context.Context, ask func(context.Context) error) error {
	for end := time.Now().Add(patience); ; {
		if err := s.tend(); err != nil {
			return err
		}
		err := ask(ctx)
		if err == nil || time.Now().After(end) || pause(ctx, 300*time.Millisecond) != nil {
			return err
		}
	}
}

// own asks our database one question, as its superuser, who sees every row; each is given to read.
func (s *soak) own(ctx context.Context, sql string, read func(scan func(...any) error) error, args ...any) error {
	return ask(ctx, s.Own.SuperuserURL("remora"), sql, read, args...)
}

func ask(ctx context.Context, url, sql string, read func(scan func(...any) error) error, args ...any) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost with it
	found, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := read(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}

// none is an error that names what a question finds.
func (s *soak) none(ctx context.Context, what, sql string, args ...any) error {
	var wrong []string
	err := s.own(ctx, sql, func(scan func(...any) error) error {
		var one string
		err := scan(&one)
		wrong = append(wrong, one)
		return err
	}, args...)
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%s: %s", what, strings.Join(wrong, "; "))
	}
	return err
}

// rested: no backup runs, and none waits that could run. The schedule goes on, so the moment may be short.
func (s *soak) rested(ctx context.Context) error {
	return s.none(ctx, "at work", `SELECT b.id || ' is ' || b.state || ', attempt ' || b.attempts || ' ' || b.reason FROM backups b
		WHERE b.state = 'running' OR b.state = 'queued' AND coalesce(b.retry_at, b.queued_at) < now()`)
}

// idle: nobody makes a backup at this moment.
func (s *soak) idle(ctx context.Context) error {
	return s.none(ctx, "running", "SELECT id::text FROM backups WHERE state = 'running'")
}

// fenced is I5, as the rows tell it afterwards; what only shows meanwhile is for watch.
func (s *soak) fenced(ctx context.Context) error {
	return s.none(ctx, "runs", `SELECT backup_id || ' has ' || count(*) || ' runs, the newest of epoch ' || max(r.epoch) || ', and says ' || max(b.epoch)
		FROM runs r JOIN backups b ON b.id = r.backup_id GROUP BY backup_id
		HAVING max(r.epoch) <> max(b.epoch) OR max(r.epoch) <> count(*) OR count(*) FILTER (WHERE r.state IN ('claimed', 'dumping', 'confirming')) > 1`)
}

// accounted is I4: every minute since the schedule began has one row, which says what its backup says.
func (s *soak) accounted(ctx context.Context) error {
	return errors.Join(
		s.none(ctx, "nobody looks at the schedule", "SELECT next_run_at::text FROM schedules WHERE database_id = $1 AND next_run_at < now() - interval '30 seconds'", s.database),
		s.none(ctx, "due and not accounted for", `SELECT at::text FROM schedules s, generate_series($2::timestamptz, s.next_run_at - interval '1 minute', '1 minute') at
			WHERE s.database_id = $1 AND NOT EXISTS (SELECT FROM occurrences o WHERE o.schedule_id = s.id AND o.at = at.at)`, s.database, s.began),
		s.none(ctx, "accounted for wrongly", `SELECT o.at || ' is ' || o.outcome || ', its backup ' || coalesce(b.state, 'none') FROM occurrences o LEFT JOIN backups b ON b.id = o.backup_id
			WHERE (o.outcome = 'pending') <> (coalesce(b.state IN ('queued', 'running'), false)) OR o.outcome = 'succeeded' AND b.ended_at IS NULL OR (o.ended_at IS NULL) <> (o.outcome = 'pending')`),
		s.none(ctx, "a backup of a time that nobody accounts for", "SELECT id::text FROM backups b WHERE occurrence IS NOT NULL AND NOT EXISTS (SELECT FROM occurrences o WHERE o.backup_id = b.id)"),
	)
}

// stored are the names of what is in the bucket, by the run that made it.
func (s *soak) stored(ctx context.Context) (map[archivestore.Ref][]string, error) {
	all := map[archivestore.Ref][]string{}
	err := s.Bucket.List(ctx, archivestore.Prefix, func(o objectstore.Object) error {
		ref, ok := archivestore.ParseKey(o.Key)
		if !ok {
			return fmt.Errorf("%s is nobody's", o.Key)
		}
		all[ref] = append(all[ref], o.Key[strings.LastIndexByte(o.Key, '/')+1:])
		return nil
	})
	return all, err
}

// listed is I2. A manifest has no row of its own.
func (s *soak) listed(ctx context.Context) error {
	there, err := s.stored(ctx)
	if err != nil {
		return err
	}
	should := map[archivestore.Ref][]string{}
	err = s.own(ctx, `SELECT b.resource_id::text, b.id::text, b.epoch, o.name FROM backups b JOIN objects o ON o.backup_id = b.id
		WHERE b.state IN ('verified', 'proven', 'incomplete', 'expired')`, func(scan func(...any) error) error {
		var ref archivestore.Ref
		var name string
		err := scan(&ref.Resource, &ref.Backup, &ref.Epoch, &name)
		should[ref] = append(should[ref], name)
		return err
	})
	if err != nil {
		return err
	}
	for ref, names := range should {
		should[ref] = append(names, "manifest")
	}
	for _, all := range []map[archivestore.Ref][]string{there, should} {
		for ref := range all {
			slices.Sort(there[ref])
			slices.Sort(should[ref])
			if !slices.Equal(there[ref], should[ref]) {
				return fmt.Errorf("of backup %s, epoch %d, there are %v and should be %v", ref.Backup, ref.Epoch, there[ref], should[ref])
			}
		}
	}
	return nil
}

// closed is I3, once nothing runs.
func (s *soak) closed(ctx context.Context) error {
	open, err := s.Bucket.OpenUploads(ctx, "")
	if err != nil || len(open) == 0 {
		return err
	}
	if s.idle(ctx) != nil {
		return nil //nolint:nilerr // the schedule has begun another one
	}
	return fmt.Errorf("open uploads: %v", open)
}

// xid is the next number that a writer on the customer's server would get. To ask takes none.
func (s *soak) xid(ctx context.Context) (n int64, err error) {
	err = ask(ctx, s.Customer.SuperuserURL("postgres"), "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint", func(scan func(...any) error) error { return scan(&n) })
	return n, err
}

// left is I7: no transaction's number was taken, and while nothing runs nobody of ours is there.
func (s *soak) left(ctx context.Context) error {
	now, err := s.xid(ctx)
	if err != nil {
		return err
	}
	if now != s.nextXID {
		return fmt.Errorf("the server's next transaction is %d, and was %d: somebody wrote", now, s.nextXID)
	}
	if s.idle(ctx) != nil {
		return nil //nolint:nilerr // the schedule has begun another one; the next look may see it at rest
	}
	there := ""
	err = ask(ctx, s.Customer.SuperuserURL("postgres"), `SELECT coalesce(string_agg(application_name || ' ' || state, ', '), '') FROM pg_stat_activity WHERE usename = $1`,
		func(scan func(...any) error) error { return scan(&there) }, stack.Credential)
	if err == nil && there != "" && s.idle(ctx) == nil {
		err = fmt.Errorf("sessions: %s", there)
	}
	return err
}

// restores is I1: each backup that is called good and was not tried yet.
func (s *soak) restores(ctx context.Context) error {
	var good []remora.BackupID
	err := s.own(ctx, "SELECT id::text FROM backups WHERE state IN ('verified', 'proven') ORDER BY ended_at", func(scan func(...any) error) error {
		var id remora.BackupID
		err := scan(&id)
		if !s.restored[id] {
			good = append(good, id)
		}
		return err
	})
	for _, id := range good {
		if err != nil {
			break
		}
		if err = s.restore(ctx, id); err != nil {
			return fmt.Errorf("backup %s: %w", id, err)
		}
		s.restored[id] = true
	}
	return err
}

func (s *soak) restore(ctx context.Context, id remora.BackupID) error {
	var link string
	err := s.within(ctx, func(ctx context.Context) (err error) { // web may have been killed a moment ago
		// No customer gets as many links in an hour.
		if err := stack.Exec(ctx, s.Own.SuperuserURL("remora"), "UPDATE links SET created_at = created_at - interval '1 hour'"); err != nil {
			return err
		}
		link, err = s.visitor.Link(ctx, id)
		return err
	})
	if err != nil {
		return err
	}
	admin, to := s.copies.SuperuserURL("postgres"), s.copies.SuperuserURL("copy")
	if err := stack.Exec(ctx, admin, "DROP DATABASE IF EXISTS copy", "CREATE DATABASE copy"); err != nil {
		return err
	}
	if err := stack.Exec(ctx, to, herokusim.OwnObjects("CURRENT_USER")...); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return errors.New("the link is no address")
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("its link answers %s", resp.Status)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.Customer.BinDir(), "pg_restore"), "--no-owner", "--no-acl", "--exit-on-error", "-d", to) //nolint:gosec // our own server
	cmd.Stdin = resp.Body
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_restore: %w: %s", err, out)
	}
	_, err = stack.Compare(ctx, s.Customer.BinDir(), s.OwnerURL("shop"), to)
	return err
}

// kept is I6, in what lasts: the logs, the rows, the measures. What lasts a moment only is for watch.
func (s *soak) kept(ctx context.Context) error {
	places := map[string]string{}
	if _, err := s.logs.Seek(0, io.SeekStart); err != nil {
		return err
	}
	logs, err := io.ReadAll(s.logs)
	if err != nil {
		return err
	}
	places["the log"] = string(logs)
	if places["a row"], err = stack.Everything(ctx, s.Own.SuperuserURL("remora")); err != nil {
		return err
	}
	for name, base := range map[string]string{"web": s.WebURL, "worker": s.Metrics} {
		select {
		case <-s.find(name).Done(): // it has none
			continue
		default:
		}
		err := s.within(ctx, func(ctx context.Context) (err error) {
			places["the measures of "+name], err = s.Measures(ctx, base)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.leaks(places)
}

// leaks names what is where it must not be, and not what it is.
func (s *soak) leaks(places map[string]string) error {
	var found []string
	for secret, what := range s.Secrets() {
		for place, text := range places {
			if strings.Contains(text, secret) {
				found = append(found, what+" is in "+place)
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.Sort(found)
	return errors.New(strings.Join(found, "; "))
}

// apart is I8: what is the first customer's is not there for the second.
func (s *soak) apart(ctx context.Context) error {
	ids := map[string]bool{"/dashboard/databases/" + string(s.database): true}
	for id := range s.restored {
		ids["/dashboard/backups/"+string(id)] = true
	}
	home := ""
	err := s.within(ctx, func(ctx context.Context) (err error) {
		home, err = s.other.Get(ctx, "/dashboard")
		return err
	})
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(ids)) {
		if strings.Contains(home, path[strings.LastIndexByte(path, '/')+1:]) {
			return fmt.Errorf("a neighbour's page names %s", path)
		}
		_, err := s.other.Get(ctx, path)
		if err == nil || !strings.Contains(err.Error(), "404") {
			return fmt.Errorf("a neighbour asks for %s and gets %w", path, err)
		}
		if _, err := s.other.Post(ctx, path+"/links", url.Values{}); err == nil || !strings.Contains(err.Error(), "404") && !strings.Contains(err.Error(), "405") {
			return fmt.Errorf("a neighbour posts to %s and gets %w", path, err)
		}
	}
	return nil
}

// removed is I9: the add-on goes while a backup of it runs, and what is its customer's ends.
func (s *soak) removed(ctx context.Context) error {
	s.ask(ctx)
	if _, err := s.Heroku(ctx, "addons:destroy", "remora-backup", "-a", stack.HelperApp, "--confirm", stack.HelperApp); err != nil {
		return err
	}
	if _, err := s.visitor.Get(ctx, "/dashboard"); err == nil {
		return errors.New("I9: after deprovision: the session is still good")
	}
	if err := s.within(ctx, s.forgotten); err != nil {
		return fmt.Errorf("I9: after deprovision: %w", err)
	}
	for range 3 { // while everything of his is deleted
		if err := errors.Join(pause(ctx, time.Duration(s.chance.IntN(3000))*time.Millisecond), s.killOne("deleter"), s.tend()); err != nil {
			return err
		}
	}
	return s.within(ctx, func(ctx context.Context) error {
		// Four days go by. The last message may take three, and then nobody is left to tell; the queue takes a job of a process that
		// was killed for one that runs until its time is up, which is most of a day.
		err := stack.Exec(ctx, s.Own.SuperuserURL("remora"), "UPDATE river.river_job SET attempted_at = attempted_at - interval '4 days' WHERE state = 'running' AND attempted_at < now() - interval '1 minute'",
			"UPDATE removals SET asked_at = asked_at - interval '4 days' WHERE asked_at > now() - interval '3 days' AND objects_deleted_at IS NOT NULL")
		if err = errors.Join(err, s.gone(ctx)); err != nil {
			return fmt.Errorf("I9: after deprovision: %w", err)
		}
		return nil
	})
}

// gone is what I9 comes to: his id is in no object but the mark of his removal, no upload and no row but the tombstone's and the receipt's, which says so.
func (s *soak) gone(ctx context.Context) error {
	id := string(s.resource)
	var left []string
	err := s.Bucket.List(ctx, "", func(o objectstore.Object) error {
		if strings.Contains(o.Key, id) && o.Key != archivestore.KeysPrefix+id+"/removed" { // that he was removed
			left = append(left, o.Key)
		}
		return nil
	})
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("there are objects: %v", left)
	}
	open, uerr := s.Bucket.OpenUploads(ctx, "")
	if uerr == nil && len(open) > 0 {
		uerr = fmt.Errorf("there are uploads: %v", open)
	}
	return errors.Join(err, uerr,
		s.none(ctx, "his id is in", `SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
			WHERE table_type = 'BASE TABLE' AND table_schema IN ('public', 'river') AND table_name NOT IN ('resources', 'removals')
			  AND (xpath('//n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I.%I x WHERE strpos(x::text, %L) > 0', table_schema, table_name, $1::text), false, true, '')))[1]::text <> '0'`, id),
		s.none(ctx, "the receipt is not whole", "SELECT resource_id::text FROM removals WHERE resource_id = $1 AND (key_destroyed_at IS NULL OR objects_deleted_at IS NULL OR forgotten_at IS NULL OR deleted_objects < objects)", id),
		s.none(ctx, "no receipt", "SELECT $1::text WHERE NOT EXISTS (SELECT FROM removals WHERE resource_id = $1::uuid)", id),
	)
}

// forgotten is I9: what is left of a customer who has gone.
func (s *soak) forgotten(ctx context.Context) error {
	return errors.Join(
		s.none(ctx, "live", "SELECT id::text FROM backups WHERE resource_id = $1 AND state IN ('queued', 'running')", s.resource),
		s.none(ctx, "a token", "SELECT id::text FROM resources WHERE id = $1 AND (state <> 'deprovisioned' OR sealed_grant IS NOT NULL OR sealed_access IS NOT NULL OR sealed_refresh IS NOT NULL)", s.resource),
		s.none(ctx, "a session", "SELECT email FROM sessions WHERE resource_id = $1 AND (user_id <> '' OR email <> '')", s.resource),
		s.none(ctx, "a link", "SELECT id::text FROM links WHERE resource_id = $1 AND revoked_at IS NULL", s.resource),
		s.none(ctx, "due", "SELECT id::text FROM schedules WHERE resource_id = $1 AND next_run_at < now() + interval '1 year'", s.resource),
		s.none(ctx, "pending", "SELECT at::text FROM occurrences WHERE resource_id = $1 AND outcome = 'pending'", s.resource),
		s.left(ctx), s.closed(ctx),
	)
}
