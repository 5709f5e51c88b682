package pgarchive_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/remora-backup/remora/internal/pgarchive"
)

// seeds are archives as pg_dump writes them, as we do, of other sizes of numbers, and some that are wrong.
func seeds(f *testing.F, c *pgarchive.Compressor) (all [][]byte) {
	f.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{"1.14-none", "1.15-none", "1.16-none", "1.14-gzip", "1.15-gzip", "1.16-gzip", "1.16-lz4", "1.16-zstd"} {
		in := stored(f, name)
		_, _, full, err := recode(c, bytes.NewReader(in))
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, in, full, resized(in, 8, 4), resized(full, 4, 4))
		for range 4 {
			cut, _ := mutate(random, in)
			wrong, _ := broken(random, in)
			all = append(all, cut, wrong)
		}
	}
	return all
}

// ours tells whether an error is one that this package refuses an archive with.
func ours(err error) bool {
	var corrupt *pgarchive.CorruptError
	var long *pgarchive.LongHeadError
	return errors.As(err, &corrupt) || errors.As(err, &long) || errors.Is(err, pgarchive.ErrUnsupported)
}

// Whatever comes in: what is refused is refused with an error of ours, and what is not comes out as an archive, which
// says of itself what was found.
func FuzzRecode(f *testing.F) {
	c := compressor(f, 1, pgarchive.Fast)
	for _, in := range seeds(f, c) {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		_, passed, werr := walk(bytes.NewReader(in))
		if werr == nil && !bytes.Equal(passed, in) {
			t.Error("a walk changes what it passes")
		}
		a, piped, full, err := recode(c, bytes.NewReader(in))
		switch {
		case err != nil:
			if !ours(err) {
				t.Errorf("refused by %T: %v", err, err)
			}
			return
		case a.Raw == nil: // newer than this package: passed as it is
			if !bytes.Equal(piped, in) {
				t.Error("it was changed without being read")
			}
			return
		case werr != nil:
			t.Errorf("recoded, and a walk refuses it: %v", werr)
		}
		for _, out := range [][]byte{piped, full} {
			b, _, err := walk(bytes.NewReader(out))
			if err != nil || b.Size() != a.Size() || !bytes.Equal(b.Raw, a.Raw) {
				t.Errorf("what comes of it is no archive: %v", err)
			}
		}
	})
}

// Whatever is stored: a part of it is no larger than it and is as long as it says.
func FuzzSelect(f *testing.F) {
	c := compressor(f, 1, pgarchive.Fast)
	for _, in := range seeds(f, c) {
		f.Add(in, "public.parts_1", "Odd one.it; is")
	}
	f.Fuzz(func(t *testing.T, in []byte, table, other string) {
		part, err := pgarchive.Select(bytes.NewReader(in), int64(len(in)), table, other)
		if err != nil {
			if !ours(err) && !errors.Is(err, pgarchive.ErrNoTable) && !errors.Is(err, pgarchive.ErrNoOffsets) {
				t.Errorf("refused by %T: %v", err, err)
			}
			return
		}
		got, err := io.ReadAll(io.NewSectionReader(part, 0, part.Size()))
		if err != nil || int64(len(got)) != part.Size() || len(got) > len(in) {
			t.Errorf("%d bytes of %d, read %d: %v", part.Size(), len(in), len(got), err)
		}
		if _, _, err := walk(bytes.NewReader(in)); err != nil {
			return
		}
		if _, _, err := walk(bytes.NewReader(got)); err != nil {
			t.Errorf("a part of an archive is no archive: %v", err)
		}
	})
}

// Whatever a head says, the first bytes of an archive are read within what may be kept of them, or refused with an error of
// ours.
func FuzzHead(f *testing.F) {
	for _, name := range []string{"1.14-none", "1.15-gzip", "1.16-none", "1.16-lz4"} {
		in := stored(f, name)
		f.Add(in[:min(len(in), 4<<10)])
		f.Add(resized(in, 8, 4)[:1<<10])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		head, err := pgarchive.ReadHead(bytes.NewReader(in))
		if err != nil {
			if !ours(err) {
				t.Errorf("refused by %T: %v", err, err)
			}
			return
		}
		for _, e := range head.Entries {
			if len(e.Tag)+len(e.Namespace)+len(e.Definition)+len(e.Copy) > len(in) {
				t.Errorf("an entry says more than there was: %+v", e)
			}
		}
	})
}
