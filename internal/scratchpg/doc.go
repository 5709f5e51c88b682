// Package scratchpg runs a PostgreSQL server for one restore of an archive that nobody trusts, and removes it.
//
// The server has no network address: it listens at a socket in a folder of its own, which only it and we may enter.
// Three roles have passwords that are made for it and kept nowhere:
//
//   - the superuser, which makes the database and its extensions while nothing of the archive is in it, and never
//     touches it afterwards,
//   - the owner, who restores: no superuser, a member of nothing,
//   - the reader, who compares: a member of the owner who passes row security.
//
// Everything runs in a sandbox (see package sandbox), within the server's folder and the system's files, with limits on each process's memory, on temporary files and on
// the folder's size, which is looked at several times a second. How long a restore may take is the caller's context.
//
// Close ends the server without ceremony and removes the folder. What a killed process has left, Sweep removes: each
// folder has a lock beside it that the kernel takes back when its owner is no more. The server itself is killed by the
// kernel when its owner ends (Pdeathsig), and, having process ids of its own, everything it started with it.
package scratchpg
