// Package archivestore is how one backup lies in the bucket.
//
//	r/<resource>/b/<backup>/<epoch>/body-001   the archive after its head, sealed
//	                                body-002   … where the first has all the parts an object may have
//	                                contents   every table's rows and digest, sealed
//	                                manifest   what belongs to the backup, with a MAC
//	                                head       the archive's header and table of contents, sealed
//
// Keys are made of ids alone. The plain archive is the head and the bodies, one after the other.
//
// The bodies stream in while pg_dump runs, and none of them becomes an object before Commit. The head is the
// last to be written, by a conditional put, and is the commit: without it there is no backup, whatever else
// lies there. An epoch is one run of a backup, so a run that was overtaken writes beside its successor and
// never over it.
//
// Every object is an age file of its own. That they belong together, and to this backup, is said by the
// manifest alone, which carries a MAC of the keyring and is checked on every open. It names each object's
// opening, by which alone the object is opened (see package seal): a body or head of another backup, or an
// older manifest, does not open, even for a read of a few bytes that sees no digest.
//
// Beside the archives lies what makes them readable where our database is lost (keycopies.go, remora rebuild):
//
//	k/<resource>/key/<id>               the resource's key, sealed by the key of that id of the key ring
//	k/<resource>/removed                that the add-on was removed, with a MAC
//	k/retired/<id>/<purpose>/<id>       what checks the MACs of a retired key, sealed by another
package archivestore
