// Package proof restores an archive into a scratch server, as anybody would who has nothing but the archive and a plain
// role, and holds what came out against what was counted while the archive was made. It knows nothing of tenants.
//
// # What is proven
//
// Stock pg_restore ends without an error; every table has the rows that were counted, each as COPY writes it and in
// whatever order; every sequence stands where it stood; large objects are equal; and, where the database's inventory was
// taken in the dump's snapshot, the copy has the same objects.
//
// # What is not
//
// Objects that only a superuser can make, and what depends on them, are left out by name (event triggers, publications
// of all tables, subscriptions, foreign servers). Extensions are made by us, before anything of the archive is there: those
// that PostgreSQL trusts everybody with and some that give no power. Where one is needed that is not installed here or that
// gives power, the verdict is Impossible and names it; so it is where a limit ends the restore. An archive never passes in part.
//
// # Whom it trusts
//
// Nobody: see package scratchpg. A hostile archive can make its own proof fail, take as long as it may, and be told so.
package proof
