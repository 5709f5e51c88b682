// Package postgres is our own database: every transaction, every statement and every job insert of the
// service is a method here, and each method is one fact that happened.
//
// # One rule
//
// Only this package begins a transaction on our database, and River jobs are inserted only inside one, beside
// the row they are about. A job without its row, or a row without its job, cannot be written.
//
// # Whose rows
//
// A transaction works either for one resource (forResource) or for the service as a whole (forService: the
// tick, the reaper, the janitor, and the three lookups by a token that the client brings). PostgreSQL
// enforces the difference by row-level security, FORCEd on the tables' owner, which we are; a statement outside of both sees
// and changes no row. A table that holds customers' rows is guarded by SELECT remora_guard('table') in its migration, and a
// process does not start as a role for which none of this holds (CheckGuard). River's tables are not customers': their jobs
// name a row, and what they may read of it is asked anew.
//
// # Locks
//
// Rows are locked in one order: the resource, then the schedule, then the backup, then the run, the proof or the copy, then the
// occurrence. Whoever ends one locks
// its backup first; a beat locks the run or the proof alone. Rounds over many rows pass by what others have
// locked and wait for nobody, but for the tick: a new backup waits for the end of the one that its database has.
//
// A lock is FOR NO KEY UPDATE, never FOR UPDATE: no key ever changes, and a row that points at a locked one is written by
// whoever holds another. PostgreSQL looks at what a row points at when it is inserted, and again when one transaction
// changes it twice.
//
// # Backups and runs
//
// A backup is the customer's thing, a run is one attempt at it. The run is held through a lease on the
// database's clock and carries the backup's epoch, which only rises. Every write of a run names its epoch and
// finds the run live, so a worker that was overtaken, or whose backup was canceled, can finish nothing: its
// write changes no row and returns remora.KindStale.
//
// A lease that has ended ends the run by itself for a beat only: the worker stops before it commits anything.
// What ends a run goes by what is written down. Where a worker is done a second after its lease and nobody has
// taken the run back, nobody else is at work on the backup, and the good one is kept.
//
//	queued ──ClaimBackup──▶ running ──KeepBackup──▶ verified | incomplete
//	   ▲                       │
//	   │   FailRun (heals),    ├──FailRun──▶ failed
//	   └── ReleaseRun, lost ───┤
//	                           └──CancelBackups──▶ canceled
//
// # Schedules and occurrences
//
// A schedule is due when its next_run_at has come. Whoever finds it due (the tick, or a person who is about to change it)
// brings it up to now in one transaction: a row in occurrences for each time that it was due, a queued backup for the
// newest, next_run_at moved on. An occurrence is its schedule and its time; the primary key makes it one. Its outcome is
// written once: at once where it is skipped, else in the transaction that ends its backup. Old ones are forgotten, but for a
// schedule's newest.
//
//	due ──▶ skipped (missed, paused, still running, plan, detached, refused, removed)
//	 │
//	 └────▶ pending ──backup verified──▶ succeeded
//	           └──incomplete, failed──▶ failed, ──canceled──▶ skipped
//
// Who changes a rule changes what comes after now; what was due before was due under the old one.
//
// # The end of a backup
//
// What a database's retention is, is the newest of its rows in retentions that was not undone and whose time has come; one
// that waits is another. A change, a lock and a round of the deleter hold the resource, and so does the claim of a proof,
// so that none of them decides on what another is changing. Deleting is no hold on anything: what is gone is no error.
//
//	verified | proven | incomplete | failed, damaged ──Expire──▶ expired ──EndDeletion──▶ deleted
//
// # Turns
//
// The queue hands jobs out in the order in which they came, and a claim decides whose turn it is (fair.go): a resource has
// as many live runs as its plan allows at most, and whoever was served gives way to those who have waited since before that and had no turn since. A
// server of a customer's is read by PerServer runs at a time, whoever they belong to. All of it is asked of rows at the
// claim, so that there is nothing to lose with a process.
//
// # Proofs
//
// A proof is one look at what is stored of a backup, made by a verifier, which holds it as a worker holds a run: by a
// lease and an epoch. What it finds changes the backup in the same transaction. When something is due to be looked at is a
// column of the database (prove_at) and of the backup (reread_at), moved on when a proof ends and at no other time, so
// that what was not done stays due and is seen to be.
//
//	queued ──ClaimProof──▶ running ──EndProof──▶ passed | failed | impossible
//	   ▲                      │
//	   └── RetryProof, ───────┴──RetryProof, attempts used up──▶ lost ──after ProveAgain──▶ another one
//	       ReleaseProof, lease ended
//
// # Copies
//
// A backup that lies in our bucket may have copies in its owner's, each asked for in the transaction that keeps the backup and made by
// a worker that holds it as it holds a run. Nothing that becomes of a copy changes its backup; the end of the backup stops what is
// not copied yet, and its deletion waits for whoever is at it. Who was at it and is heard of after that may have written what nobody
// wants: tidy_at has it looked for.
//
//	queued ──EndCopy──▶ copied
//	  ▲  └──FailCopy──▶ failed
//	  │  └──copying, or the backup, has ended──▶ stopped
//	  └──AskCopy── failed | stopped
//
// River starts runs, proofs and copies and nothing more: each retry is a job of its own, written with the row.
package postgres
