package proof

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math/big"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/scratchpg"
)

// compare holds the copy against what was counted, as docs/checking-a-copy.md says.
func (r *restore) compare(ctx context.Context) error {
	conn, err := r.Connect(ctx, scratchpg.Reader, scratchpg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only reads
	for _, sql := range []string{
		"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET search_path = pg_catalog", "SET timezone = 'UTC'", "SET datestyle = ISO",
		"SET intervalstyle = postgres", "SET extra_float_digits = 3", "SET bytea_output = hex", "SET quote_all_identifiers = on", "SET synchronize_seqscans = off", "SET row_security = off",
		"SET client_encoding = " + scratchpg.Literal(r.plan.encoding),
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("begin to compare: %w", err)
		}
	}
	for _, step := range []func(context.Context, *pgx.Conn) error{r.tables, r.sequences, r.largeObjects, r.inventory} {
		if err := step(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

// savepoint runs one comparison so that an error of it is one finding and not the end. What is missing differs.
func (r *restore) savepoint(ctx context.Context, conn *pgx.Conn, what string, do func() error) error {
	if _, err := conn.Exec(ctx, "SAVEPOINT one"); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	err := do()
	var pg *pgconn.PgError
	if err != nil && !errors.As(err, &pg) {
		return fmt.Errorf("compare %s: %w", what, err)
	}
	switch why := unprovable(complaint{words: words(err)}); {
	case err == nil:
	case why != "":
		r.out.impossible("%s: %s: %s", why, what, words(err))
	default:
		r.out.differs("%s cannot be read in the copy: %s", what, words(err))
	}
	if _, err := conn.Exec(ctx, "ROLLBACK TO one"); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	return nil
}

// words are the server's, without what may hold data.
func words(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return unvalued(pg.Message)
	}
	return fmt.Sprintf("%T", err)
}

func (r *restore) tables(ctx context.Context, conn *pgx.Conn) error {
	var own []string
	moved := map[string]*partitions{}
	for _, t := range r.Contents.Tables {
		title := "table " + t.Schema + "." + t.Name
		if schema, name := t.Stored(); r.own[table{schema, name}] {
			own = append(own, t.Schema+"."+t.Name)
			continue
		}
		r.Progress(r.Size, "comparing "+t.Schema+"."+t.Name)
		err := r.savepoint(ctx, conn, title, func() error {
			c := counter{sum: sha256.New()}
			if _, err := conn.PgConn().CopyTo(ctx, &c, r.plan.copyOut(t)); err != nil {
				return err
			}
			r.out.Tables++
			r.out.Rows += c.rows
			r.out.Bytes += c.bytes
			switch {
			case t.Via != "":
				if moved[t.Via] == nil {
					moved[t.Via] = &partitions{columns: r.plan.columnsOf(t)}
				}
				moved[t.Via].add(t, &c, r.plan.columnsOf(t))
			case c.rows != t.Rows:
				r.out.differs("%s has %d rows in the copy; %d were read", title, c.rows, t.Rows)
			case hex.EncodeToString(c.sum.Sum(nil)) == t.SHA256:
			case t.RowSum+t.LongRowSum == "" && c.bytes == t.Bytes:
				r.out.impossible("%s has a row of more than 64 KiB, for which this backup has no sum, and its rows lie in another order in the copy or are others: that cannot be told apart here", title)
			case c.bytes != t.Bytes || c.each.String() != t.RowSum || c.each.Long() != t.LongRowSum: // else they lie in another order, where room was left
				r.out.differs("%s has other contents in the copy, in as many rows (%d)", title, t.Rows)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, via := range slices.Sorted(maps.Keys(moved)) {
		moved[via].compare(r.out, via)
	}
	if len(own) > 0 {
		r.out.LeftOut = append(r.out.LeftOut, "not compared, since the extension fills them too: "+named(own))
	}
	return nil
}

// partitions are those whose rows are restored by way of one partitioned table, as by the hash of an enum: each row may lie
// in another one than before, so that all of them are held against all.
type partitions struct {
	columns     string
	other       bool // the columns of one have another order, so that a row that moves has another text
	uncounted   bool // one has a row that is too long for a sum
	differ      bool
	rows, was   int64
	sum, wasSum big.Int
}

func (p *partitions) add(t pgarchive.Table, c *counter, columns string) {
	p.other = p.other || columns != p.columns
	p.differ = p.differ || hex.EncodeToString(c.sum.Sum(nil)) != t.SHA256
	p.rows, p.was = p.rows+c.rows, p.was+t.Rows
	for sum, text := range map[*big.Int]string{&p.sum: c.each.String() + c.each.Long(), &p.wasSum: t.RowSum + t.LongRowSum} {
		n, ok := new(big.Int).SetString(text, 10)
		if !ok {
			p.uncounted = true
			continue
		}
		sum.Add(sum, n)
	}
}

func (p *partitions) compare(out *Result, via string) {
	switch {
	case !p.differ:
	case p.rows != p.was:
		out.differs("the partitions of %s have %d rows in the copy; %d were read", via, p.rows, p.was)
	case p.other || p.uncounted:
		out.impossible("rows of %s lie in other partitions in the copy, and the partitions have their columns in another order, or this backup has no sum of one: whether it is the same rows cannot be told here", via)
	case p.sum.Cmp(&p.wasSum) != 0:
		out.differs("the partitions of %s have other contents in the copy, in as many rows (%d)", via, p.was)
	}
}

// counter counts COPY's text.
type counter struct {
	sum         hash.Hash
	each        pgarchive.RowSum
	rows, bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	_, _ = c.sum.Write(p) // hashes never fail
	_, _ = c.each.Write(p)
	c.rows += int64(bytes.Count(p, []byte{'\n'}))
	c.bytes += int64(len(p))
	return len(p), nil
}

func (r *restore) sequences(ctx context.Context, conn *pgx.Conn) error {
	r.Progress(r.Size, "comparing sequences")
	for _, s := range r.Contents.Sequences {
		schema, name := s.Stored()
		if r.own[table{schema, name}] {
			continue
		}
		title := "sequence " + s.Schema + "." + s.Name
		err := r.savepoint(ctx, conn, title, func() error {
			var got pgarchive.Sequence
			err := conn.QueryRow(ctx, "SELECT last_value, is_called FROM "+qualified(schema, name)).Scan(&got.Value, &got.Called)
			if err == nil && (got.Value != s.Value || got.Called != s.Called) {
				r.out.differs("%s stands at %d (handed out: %t) in the copy; it was read at %d (%t)", title, got.Value, got.Called, s.Value, s.Called)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// piece is how much of a large object is read at a time, in bytes.
const piece = 1 << 20

func (r *restore) largeObjects(ctx context.Context, conn *pgx.Conn) error {
	want := r.Contents.LargeObjects
	if want.Count == 0 {
		return nil
	}
	r.Progress(r.Size, "comparing large objects")
	return r.savepoint(ctx, conn, "the large objects", func() error {
		rows, err := conn.Query(ctx, "SELECT m.oid::text FROM pg_largeobject_metadata m ORDER BY m.oid")
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if int64(len(all)) != want.Count {
			r.out.differs("%d large objects are in the copy; %d were read", len(all), want.Count)
			return nil
		}
		if int64(len(r.plan.objects)) == want.Count {
			all = r.plan.objects
		}
		sum := sha256.New()
		var size int64
		for _, number := range all {
			n, err := largeObject(ctx, conn, number, sum)
			if err != nil {
				return err
			}
			size += n
		}
		if size != want.Bytes || hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
			r.out.differs("the large objects have other contents in the copy: %d bytes; %d were read", size, want.Bytes)
		}
		return nil
	})
}

func largeObject(ctx context.Context, conn *pgx.Conn, number string, sum hash.Hash) (int64, error) {
	id, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return 0, nil //nolint:nilerr // a head that lies: the digest will not be equal
	}
	_, _ = fmt.Fprintf(sum, "%d\n", id)
	for at := int64(0); ; {
		var p []byte
		if err := conn.QueryRow(ctx, fmt.Sprintf("SELECT lo_get(%d, %d, %d)", id, at, piece)).Scan(&p); err != nil {
			return at, err
		}
		_, _ = sum.Write(p)
		at += int64(len(p))
		if len(p) < piece {
			return at, nil
		}
	}
}

// inventory compares which objects there are, kind by kind, but for kinds of which something was left out.
func (r *restore) inventory(ctx context.Context, conn *pgx.Conn) error {
	if r.TakeInventory == nil || r.Inventory == nil {
		r.out.LeftOut = append(r.out.LeftOut, "objects without rows (views, functions and the like) were restored without an error and not counted: no inventory was taken with this backup")
		return nil
	}
	r.Progress(r.Size, "comparing objects")
	return r.savepoint(ctx, conn, "the inventory", func() error {
		got, err := r.TakeInventory(ctx, conn)
		if err != nil {
			return err
		}
		have := map[string]int{}
		for i, k := range got {
			have[k.Kind] = i + 1
		}
		for _, k := range r.Inventory {
			if r.plan.uncounted[k.Kind] {
				continue
			}
			i := have[k.Kind]
			delete(have, k.Kind)
			switch {
			case i == 0 && k.Count > 0:
				r.out.differs("there are no objects of the kind %s in the copy; there were %d", k.Kind, k.Count)
			case i > 0 && got[i-1].Count != k.Count:
				r.out.differs("there are %d objects of the kind %s in the copy; there were %d", got[i-1].Count, k.Kind, k.Count)
			case i > 0 && got[i-1].SHA256 != k.SHA256:
				r.out.differs("objects of the kind %s have other names in the copy", k.Kind)
			}
		}
		for kind, i := range have {
			if got[i-1].Count > 0 && !r.plan.uncounted[kind] {
				r.out.differs("there are %d objects of the kind %s in the copy; there were none", got[i-1].Count, kind)
			}
		}
		r.out.Objects = true
		return nil
	})
}
