package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// sealedMACKey is what a retired key's part is for, bound into it with the key's id.
const sealedMACKey = "retired_keys.sealed_mac_key"

// inBucket names the copies of keys in the bucket, which workers renew and the deleter erases.
const inBucket = "copies in the bucket"

// KeyUse is how many values of one column a key has sealed.
type KeyUse struct {
	Key    string
	Column string // table.column, or the copies in the bucket
	Values int64
}

// KeyUses tells what each key has sealed that our database holds, by key and column. A key that has sealed nothing is not
// in it.
func (s *Store) KeyUses(ctx context.Context) (out []KeyUse, err error) {
	err = s.forService(ctx, func(t *tx) error {
		columns, err := t.q.SealedColumns(ctx)
		if err != nil {
			return fmt.Errorf("list sealed columns: %w", err)
		}
		for _, c := range columns {
			uses, err := t.keyUses(ctx, c)
			if err != nil {
				return fmt.Errorf("count %s: %w", nameOf(c), err)
			}
			out = append(out, uses...)
		}
		copies, err := t.q.CountKeyCopies(ctx)
		if err != nil {
			return fmt.Errorf("count copies: %w", err)
		}
		for _, c := range copies {
			if slices.Contains(s.Keys.IDs()[1:], c.By) { // the first one's are as they should be, and what is not in the ring opens nothing
				out = append(out, KeyUse{Key: c.By, Column: inBucket, Values: c.N})
			}
		}
		slices.SortStableFunc(out, func(a, b KeyUse) int { return cmp.Compare(a.Key, b.Key) })
		return nil
	})
	return out, err
}

func nameOf(c pgsql.SealedColumnsRow) string { return c.TableName + "." + c.ColumnName }

// The statements of this file are not sqlc's, for they are the same for every column that the catalogue lists: so a new one
// is not forgotten. The names in them are those of our own migrations. A value's first bytes name its key, and no two values
// are the same, for each has a random nonce.

func (t *tx) keyUses(ctx context.Context, c pgsql.SealedColumnsRow) ([]KeyUse, error) {
	column := pgx.Identifier{c.ColumnName}.Sanitize()
	rows, err := t.Query(ctx, "SELECT substring("+column+" FOR 2 + get_byte("+column+", 1)), count(*) FROM "+pgx.Identifier{c.TableName}.Sanitize()+
		" WHERE length("+column+") > 1 GROUP BY 1")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (KeyUse, error) {
		var mark []byte
		u := KeyUse{Column: nameOf(c)}
		if err := row.Scan(&mark, &u.Values); err != nil {
			return u, err
		}
		u.Key, err = keyring.SealedBy(mark)
		return u, err
	})
}

// Resealed is what Reseal has done.
type Resealed struct {
	Values int      // that were sealed or signed anew
	Failed []string // what did not open and stays as it was: its column and whose it is
}

// Reseal has the ring's first key seal all that another has sealed, and keeps of every other key of the ring the part that
// checks what it has signed for the purposes. It may be broken off and called again, by several at once and while the
// service runs: each value is replaced by itself, where it is still as it was read. told hears how far it is.
func (s *Store) Reseal(ctx context.Context, purposes []string, told func(column string, values int)) (out Resealed, err error) {
	if err := s.retire(ctx, purposes); err != nil {
		return out, err
	}
	var columns []pgsql.SealedColumnsRow
	err = s.forService(ctx, func(t *tx) error {
		columns, err = t.q.SealedColumns(ctx)
		return err
	})
	if err != nil {
		return out, fmt.Errorf("list sealed columns: %w", err)
	}
	for _, c := range columns {
		n, failed, err := s.resealColumn(ctx, c, told)
		out.Values += n
		out.Failed = append(out.Failed, failed...)
		if err != nil {
			return out, fmt.Errorf("reseal %s: %w", nameOf(c), err)
		}
	}
	n, err := s.signAddresses(ctx)
	out.Values += n
	told(addressMAC, n)
	return out, err
}

// retire keeps what checks the signatures of all keys but the first.
func (s *Store) retire(ctx context.Context, purposes []string) error {
	return s.forService(ctx, func(t *tx) error {
		for _, id := range s.Keys.IDs()[1:] {
			for _, purpose := range purposes {
				sub, err := s.Keys.Subkey(id, purpose)
				if err != nil {
					return err
				}
				_, err = t.q.AddRetiredKey(ctx, pgsql.AddRetiredKeyParams{
					ID: id, Purpose: purpose, SealedMacKey: s.Keys.Seal([]byte(sub.Reveal()), sealedMACKey, id), Now: t.now,
				})
				if err != nil {
					return fmt.Errorf("keep what %s has signed: %w", id, err)
				}
			}
		}
		return nil
	})
}

// Retired names the keys of which is kept what checks their signatures.
func (s *Store) Retired(ctx context.Context) (ids []string, err error) {
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.q.RetiredKeys(ctx)
		for _, r := range rows {
			ids = append(ids, r.ID)
		}
		return err
	})
	return ids, err
}

// Remember has the ring check what keys have signed that are not in it any more. It is for the start of a process.
func (s *Store) Remember(ctx context.Context) error {
	return s.forService(ctx, func(t *tx) error {
		rows, err := t.q.RetiredKeys(ctx)
		if err != nil {
			return fmt.Errorf("read retired keys: %w", err)
		}
		for _, r := range rows {
			sub, err := s.Keys.Open(r.SealedMacKey, sealedMACKey, r.ID)
			if err != nil {
				return fmt.Errorf("open what is kept of the key %s: %w", r.ID, err)
			}
			s.Keys.Remember(r.ID, r.Purpose, redact.New(string(sub)))
		}
		return nil
	})
}

// sealedValue is one value of a column, and whose it is.
type sealedValue struct {
	Owner string
	Value []byte
}

// resealColumn goes over a column again and again until nothing is left that it could change.
func (s *Store) resealColumn(ctx context.Context, c pgsql.SealedColumnsRow, told func(string, int)) (all int, failed []string, err error) {
	for {
		n := 0
		failed = nil
		for after := ""; ; {
			values, err := s.toReseal(ctx, c, after)
			if err != nil {
				return all, failed, err
			}
			for _, v := range values {
				done, err := s.resealValue(ctx, c, v)
				if err != nil {
					return all, failed, err
				}
				if done {
					n++
				} else {
					failed = append(failed, nameOf(c)+" of "+v.Owner)
				}
			}
			if len(values) < batch {
				break
			}
			after = values[len(values)-1].Owner
		}
		all += n
		told(nameOf(c), all)
		if n == 0 {
			return all, failed, nil
		}
	}
}

// toReseal reads a batch of what another key than the first has sealed, of owners behind after.
func (s *Store) toReseal(ctx context.Context, c pgsql.SealedColumnsRow, after string) (out []sealedValue, err error) {
	column, owner := pgx.Identifier{c.ColumnName}.Sanitize(), pgx.Identifier{c.Owner}.Sanitize()+"::text"
	mark := keyring.Mark(s.Keys.IDs()[0])
	err = s.forService(ctx, func(t *tx) error {
		rows, err := t.Query(ctx, "SELECT "+owner+" AS owner, "+column+" AS value FROM "+pgx.Identifier{c.TableName}.Sanitize()+
			" WHERE substring("+column+" FOR $1) <> $2 AND "+owner+" > $3 ORDER BY 1 LIMIT $4", len(mark), mark, after, batch)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sealedValue])
		return err
	})
	return out, err
}

// resealValue replaces one value, and tells whether it opened.
func (s *Store) resealValue(ctx context.Context, c pgsql.SealedColumnsRow, v sealedValue) (bool, error) {
	plain, err := s.Keys.Open(v.Value, nameOf(c), v.Owner)
	if err != nil {
		return false, nil //nolint:nilerr // it is told with all that did not open
	}
	column := pgx.Identifier{c.ColumnName}.Sanitize()
	err = s.forService(ctx, func(t *tx) error {
		_, err := t.Exec(ctx, "UPDATE "+pgx.Identifier{c.TableName}.Sanitize()+" SET "+column+" = $1 WHERE "+pgx.Identifier{c.Owner}.Sanitize()+"::text = $2 AND "+column+" = $3",
			s.Keys.Seal(plain, nameOf(c), v.Owner), v.Owner, v.Value)
		return err
	})
	return err == nil, err
}

// signAddresses signs channels' addresses anew, by which the same one is told from another. Those that do not open are among
// what Reseal tells of.
func (s *Store) signAddresses(ctx context.Context) (n int, err error) {
	mark := keyring.Mark(s.Keys.IDs()[0])
	for after, more := firstID, true; more; {
		var rows []pgsql.AddressesToSignRow
		err := s.forService(ctx, func(t *tx) error {
			rows, err = t.q.AddressesToSign(ctx, pgsql.AddressesToSignParams{By: mark, After: after, Most: batch})
			return err
		})
		if err != nil {
			return n, fmt.Errorf("list addresses: %w", err)
		}
		for _, r := range rows {
			id := remora.ResourceID(r.ResourceID)
			address, err := s.open(r.SealedAddress, sealedAddress, id)
			if err != nil {
				continue
			}
			mac, err := s.addressMAC(remora.ChannelKind(r.Kind), address)
			if err != nil {
				return n, err
			}
			err = s.forResource(ctx, id, func(t *tx) error {
				done, err := t.q.SignAddress(ctx, pgsql.SignAddressParams{ID: r.ID, ResourceID: r.ResourceID, AddressMac: mac, Was: r.AddressMac})
				n += int(done)
				return err
			})
			if err != nil {
				return n, fmt.Errorf("sign address: %w", err)
			}
		}
		if more = len(rows) == batch; more {
			after = rows[len(rows)-1].ID
		}
	}
	return n, nil
}
