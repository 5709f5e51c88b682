package remora

import (
	"maps"
	"slices"
)

// Reason is why a run did not end well: a stable name for rows, metrics and the API. The sentence beside it
// is what the customer reads.
type Reason string

// The reasons, a fixed set: they are metric labels too.
const (
	ReasonNone               Reason = ""
	ReasonNotShared          Reason = "helper_app_not_shared"
	ReasonDetached           Reason = "credential_detached"
	ReasonOwnerCredential    Reason = "owner_credential"
	ReasonCanWrite           Reason = "credential_can_write"
	ReasonBadURL             Reason = "bad_credential_url"
	ReasonHostRefused        Reason = "host_refused"
	ReasonUnreachable        Reason = "unreachable"
	ReasonTLSRequired        Reason = "tls_required"
	ReasonCertificate        Reason = "certificate_refused"
	ReasonLoginRefused       Reason = "login_refused"
	ReasonWeakLogin          Reason = "weak_login"
	ReasonDatabaseMissing    Reason = "database_missing"
	ReasonTooManyConnections Reason = "too_many_connections"
	ReasonPermission         Reason = "permission_denied"
	ReasonRowSecurity        Reason = "row_security"
	ReasonLargeObject        Reason = "large_object_denied"
	ReasonLockTimeout        Reason = "lock_timeout"
	ReasonLockGaveWay        Reason = "lock_gave_way"
	ReasonServerBusy         Reason = "server_busy"
	ReasonTooLarge           Reason = "database_too_large"
	ReasonPlanFull           Reason = "plan_full"
	ReasonConnectionLost     Reason = "connection_lost"
	ReasonRecoveryConflict   Reason = "recovery_conflict"
	ReasonSchemaChanged      Reason = "schema_changed"
	ReasonVersionMismatch    Reason = "version_mismatch"
	ReasonNoClient           Reason = "no_pg_dump"
	ReasonDumpFailed         Reason = "dump_failed"
	ReasonMoreMemory         Reason = "more_memory_needed"
	ReasonTooMuchMemory      Reason = "too_much_memory"
	ReasonArchiveInvalid     Reason = "archive_invalid"
	ReasonUnexplainedOutput  Reason = "unexplained_output"
	ReasonLeftOut            Reason = "left_out"
	ReasonStoreFull          Reason = "store_full"
	ReasonStoreFailed        Reason = "store_failed"
	ReasonOwnBucketRefused   Reason = "own_bucket_refused"
	ReasonOwnBucketFailed    Reason = "own_bucket_failed"
	ReasonStalled            Reason = "stalled"
	ReasonTooLong            Reason = "too_long"
	ReasonHerokuUnavailable  Reason = "heroku_unavailable"
	ReasonTokenRevoked       Reason = "token_revoked"
	ReasonWorkerLost         Reason = "worker_lost"
	ReasonCanceled           Reason = "canceled"
	ReasonDeprovisioned      Reason = "deprovisioned"
	ReasonRestoreDiffers     Reason = "restore_differs"
	ReasonObjectDamaged      Reason = "stored_object_damaged"
	ReasonInternal           Reason = "internal"
)

// Actor is who must act before the next run can succeed.
type Actor string

// The actors.
const (
	ActorNobody   Actor = "nobody"   // it heals by itself; we try again
	ActorCustomer Actor = "customer" // the sentence says what to do
	ActorUs       Actor = "us"       // the operator of this service is told
)

type verdict struct {
	sentence string
	actor    Actor
	heals    bool
}

var verdicts = map[Reason]verdict{
	ReasonNotShared:          {"The Helper App is not shared with our service account. Run the heroku access:add command that the first page shows.", ActorCustomer, false},
	ReasonDetached:           {"The credential is no longer attached to the Helper App. Attach it again with heroku addons:attach.", ActorCustomer, false},
	ReasonOwnerCredential:    {"The attachment carries the database owner's credential, which can change your data. Create a read-only credential and attach that one instead.", ActorCustomer, false},
	ReasonCanWrite:           {"The credential can do more than read: what, is named below. We use only credentials that can change nothing, so no backup was made. Take those powers from it with the statements below, or make a new credential, grant it only what it must read, and attach that one instead.", ActorCustomer, false},
	ReasonBadURL:             {"The credential's config var is not a plain Postgres address. Attach the credential again so that Heroku writes it anew.", ActorCustomer, false},
	ReasonHostRefused:        {"The credential's host is not a public address, so we do not connect to it. Databases in Private or Shield Spaces cannot be reached from outside.", ActorCustomer, false},
	ReasonUnreachable:        {"The database did not answer. It may be failing over or in maintenance; we try again by ourselves.", ActorNobody, true},
	ReasonTLSRequired:        {"The database server does not offer TLS, and we do not send a password without it. Turn TLS on at the server.", ActorCustomer, false},
	ReasonCertificate:        {"The credential's URL asks for a verified certificate (sslmode=verify-full), and the server's is not one for that host name from an authority that is commonly known, so we did not log in. Give the server such a certificate, or leave sslmode out: the login is then bound to whatever certificate the server has.", ActorCustomer, false},
	ReasonLoginRefused:       {"The database refused the credential's login; its words are below. If it was just rotated we pick the new password up by ourselves. Otherwise give it a new one with heroku pg:credentials:rotate POSTGRES-ADDON --name CREDENTIAL -a APP; without --name that command rotates your app's own credential.", ActorCustomer, true},
	ReasonWeakLogin:          {"The database asked for the credential's password itself, or for an MD5 of it, and we gave neither, because whoever sits between could use it. We log in by SCRAM, bound to the server's certificate. A new password makes the credential one for SCRAM: heroku pg:credentials:rotate POSTGRES-ADDON --name CREDENTIAL -a APP. A server of your own needs password_encryption = 'scram-sha-256', and must end TLS itself.", ActorCustomer, false},
	ReasonDatabaseMissing:    {"The database that the credential names does not exist on its server. Attach the credential of the right database.", ActorCustomer, false},
	ReasonTooManyConnections: {"The database has no free connection. We try again by ourselves; if it stays so, raise the credential's connection limit or free connections.", ActorCustomer, true},
	ReasonPermission:         {"The credential may not read everything. The database's owner must grant it what it lacks.", ActorCustomer, false},
	ReasonRowSecurity:        {"A table, named below, has row-level security. Under it a credential sees only the rows that a policy allows, and we do not store part of a table as a backup. Give the credential a policy that shows it every row, with the statements below, or take row security off that table. On Heroku no role can be given the right to pass it (BYPASSRLS).", ActorCustomer, false},
	ReasonLargeObject:        {"The credential may not read a large object. Run GRANT SELECT ON LARGE OBJECT for it as the database's owner.", ActorCustomer, false},
	ReasonLockTimeout:        {"A table was locked by another session, usually a migration. We step back and try again by ourselves.", ActorNobody, true},
	ReasonLockGaveWay:        {"A session of yours, usually a migration, waited for us, so we broke the backup off to let it through; nothing was kept of this attempt. We try again by ourselves, a good while later.", ActorNobody, true},
	ReasonTooLarge:           {"The database is larger than the plan backs up, so it is not backed up. The backups made so far stay. Which plan takes it is said below.", ActorCustomer, false},
	ReasonPlanFull:           {"Your backups have taken more room than the plan includes for two weeks, so no new one was made. The backups made so far stay. Keep them for shorter, or choose a larger plan; then back up again.", ActorCustomer, false},
	ReasonServerBusy:         {"Other backups read from the same database server at this moment. This one waits for its turn, so that the server is not read too hard.", ActorNobody, true},
	ReasonConnectionLost:     {"The connection to the database broke while it was being read. We try again by ourselves.", ActorNobody, true},
	ReasonRecoveryConflict:   {"The follower ended our read to keep up with its leader. We try again by ourselves; a credential on the leader avoids it.", ActorNobody, true},
	ReasonSchemaChanged:      {"A table was changed or dropped while the backup began. We try again by ourselves.", ActorNobody, true},
	ReasonVersionMismatch:    {"The database server is newer than every pg_dump we have. We have been told and will add it.", ActorUs, false},
	ReasonNoClient:           {"This worker has no pg_dump that can read the database's version. We have been told.", ActorUs, false},
	ReasonDumpFailed:         {"The database or pg_dump gave an error that we do not recognise; its words are below. We try again by ourselves.", ActorCustomer, true},
	ReasonMoreMemory:         {"Reading this database took more memory than we had set aside for it, as a very large row does. We try again by ourselves, with as much as a worker has.", ActorNobody, true},
	ReasonTooMuchMemory:      {"Reading this database takes more memory than our worker has, so nothing was kept: pg_dump holds the largest row twice, and every table, column and comment while it reads; the words below say what was too large. We have been told and can give you a larger worker. Rows below 50 MB, or fewer tables and comments, need none.", ActorUs, false},
	ReasonArchiveInvalid:     {"What pg_dump wrote is not a whole archive, so nothing was kept. We try again by ourselves.", ActorUs, true},
	ReasonUnexplainedOutput:  {"pg_dump ended well but said something that we cannot explain; its words are below. The archive is kept as incomplete and can be downloaded. Where the words name something of your database, mend it and back up again.", ActorCustomer, false},
	ReasonLeftOut:            {"The archive is whole, but something of the database is not in it; what, is named below. It is kept as incomplete.", ActorCustomer, false},
	ReasonStoreFull:          {"Our store has no room left, so nothing was kept. We have been told.", ActorUs, true},
	ReasonStoreFailed:        {"Our store refused or lost the upload, so nothing was kept. We try again by ourselves.", ActorUs, true},
	ReasonOwnBucketRefused:   {"Your own bucket refused us; how is said below. Nothing was kept of this attempt. Mend it at your provider, or give other keys or another place on the page Settings, Storage; then back up again.", ActorCustomer, false},
	ReasonOwnBucketFailed:    {"Your own bucket's store did not answer, or lost what was sent; what is known is said below. Nothing was kept of this attempt. We try again by ourselves; if it stays so, ask your provider, or choose another place on the page Settings, Storage.", ActorCustomer, true},
	ReasonStalled:            {"No data came for ten minutes, or next to none for an hour, so we ended the read. We try again by ourselves.", ActorNobody, true},
	ReasonTooLong:            {"The database could not be read within a day, which is the most that one run may take, so nothing was kept. Drop what you no longer need, or attach the credential of a follower or of a database on a larger plan, which read faster. The next backup by the schedule tries again.", ActorCustomer, false},
	ReasonHerokuUnavailable:  {"Heroku's API did not answer, so the credential could not be read. We try again by ourselves.", ActorNobody, true},
	ReasonTokenRevoked:       {"Heroku no longer accepts our authorization for this add-on. Check again; if it stays so, remove the add-on and create it anew. The backups made so far stay downloadable until then.", ActorCustomer, false},
	ReasonWorkerLost:         {"The worker stopped without a word, so nothing of this attempt was kept. We try again by ourselves.", ActorNobody, true},
	ReasonCanceled:           {"The backup was canceled.", ActorNobody, false},
	ReasonDeprovisioned:      {"The add-on was removed.", ActorNobody, false},
	ReasonRestoreDiffers:     {"We restored this backup into an empty database, and what came out is not what was read; what differs is below. The archive is kept as incomplete.", ActorUs, false},
	ReasonObjectDamaged:      {"What is stored of this backup is no longer what was written, so it cannot be counted on and no longer be downloaded. We have been told, and a new backup was started.", ActorUs, false},
	ReasonInternal:           {"Something went wrong on our side. We have been told and try again.", ActorUs, true},
}

// Sentence is what the customer reads. It is complete and says who acts.
func (r Reason) Sentence() string { return r.verdict().sentence }

// Actor tells who must act.
func (r Reason) Actor() Actor { return r.verdict().actor }

// Heals tells whether trying again can help without anybody acting.
func (r Reason) Heals() bool { return r.verdict().heals }

func (r Reason) verdict() verdict {
	if r == ReasonNone {
		return verdict{actor: ActorNobody}
	}
	for _, known := range []map[Reason]verdict{verdicts, skips} {
		if v, ok := known[r]; ok {
			return v
		}
	}
	return verdicts[ReasonInternal]
}

// Yields tells whether the customer's own work was in the way: then another attempt waits longer than after a fault.
func (r Reason) Yields() bool { return r == ReasonLockGaveWay || r == ReasonLockTimeout }

// Reasons lists every reason but ReasonNone, for tests and for metrics that must exist from the start.
func Reasons() []Reason {
	all := make([]Reason, 0, len(verdicts))
	for r := range verdicts {
		all = append(all, r)
	}
	return all
}

// SkipReasons lists the reasons that only an occurrence has.
func SkipReasons() []Reason { return slices.Collect(maps.Keys(skips)) }

// Failure is a run's bad end: the reason, and the scrubbed, bounded words of whatever failed (empty where
// the sentence says it all). It is an error so that it can travel up through readers and writers.
type Failure struct {
	Reason Reason
	Detail string // shown to the customer below the sentence: never holds a secret
	Fix    string // SQL for the customer to paste, as the database's owner; may be empty
	Cause  error  // for our log
}

func (f *Failure) Error() string {
	msg := string(f.Reason)
	if f.Detail != "" {
		msg += ": " + f.Detail
	}
	if f.Cause != nil {
		msg += ": " + f.Cause.Error()
	}
	return msg
}

func (f *Failure) Unwrap() error { return f.Cause }
