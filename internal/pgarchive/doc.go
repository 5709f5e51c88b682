// Package pgarchive reads PostgreSQL's custom archive format (pg_dump -Fc) as a stream.
//
// An archive is a head (header and table of contents) and then one block for each entry that has data. The
// format has no end marker: what pg_dump would have written next is simply missing from a file that was cut
// at a block's border. So Walk holds the blocks against the table of contents: an archive is whole only when
// every entry that has a data dumper has had its block, once and in the order of the table, and the stream ends right
// after the last one.
//
// pg_dump writes into each entry where its block starts, by seeking back at the end; on a pipe it cannot, and
// the entries say "not set". Walk sees every block start, so the head it returns has the offsets filled in:
// pg_restore -j, and reading a single table, then seek instead of reading everything.
//
// Source of the format: src/bin/pg_dump/pg_backup_archiver.c and pg_backup_custom.c in PostgreSQL. Versions:
// 1.14 (pg_dump 12 to 15), 1.15 (16), 1.16 (17 and 18).
package pgarchive
