// Package pgdump runs the PostgreSQL client programs, found by version, as readers and writers that cannot
// lie.
//
// # What a Dump promises
//
// Its Read returns io.EOF only after pg_dump has exited with status 0. A failed exit stands where the end of
// file would be, so whatever consumes the stream fails too, and a truncated dump can never look finished. When
// we gave up ourselves (the context ended, or Close), the failure is ReasonCanceled and nobody else is blamed.
// A pg_dump that says nothing for ten minutes, or next to nothing for an hour, is ended: ReasonStalled.
//
// # What the child gets
//
// Nothing of ours: its environment is a fixed list. The password goes by a sealed file in memory
// (PGPASSFILE on a memfd of mode 0600), never by argv or environment, where ps and /proc show it. It runs in a
// process group of its own and dies with the thread that started it, which therefore waits for it, locked;
// a worker that is killed with -9 leaves no pg_dump behind. SIGTERM is blocked in it: Heroku sends SIGTERM to
// every process of a dyno at once, and the worker must be the one to decide. Whatever is left of the group
// when the program has ended is killed while its number cannot yet belong to somebody else.
// (https://devcenter.heroku.com/articles/dyno-shutdown-behavior)
//
// It logs in by SCRAM bound to the server's certificate and no other way, since Heroku's certificates cannot be verified:
// who sits in the middle can neither learn the password nor pass the login on.
//
// It runs in the Client's Sandbox: as a user of its own where we are root, and with no way to more privileges, to any file of
// ours, to our memory or environment, or to any port but the server's, as far as the kernel allows. A server that takes it
// over has a pipe to write to.
//
// Its memory can be limited, so that a customer's largest row costs nobody else a backup: pg_dump holds each row twice.
//
// What it says on standard error is kept line by line, each without the password, 64 KiB at most.
//
// # Whose moment it reads
//
// Its own, or that of a snapshot which another session has exported, so that what was asked there holds for the archive
// (Config.Snapshot). It refuses tables under row security unless it is told that every row is shown (Config.OpenRows).
//
// # What is left on the customer's server
//
// It ends too: the session is told to look every second whether its
// client is still there (client_connection_check_interval, PostgreSQL 14 and later), even in a lock wait.
package pgdump
