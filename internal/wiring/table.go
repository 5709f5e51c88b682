package wiring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/remora-backup/remora/internal/config"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/pgarchive"
)

// table fetches some tables of an archive and nothing else of it, from a link or a file.
func table(ctx context.Context, s config.Table, stdout io.Writer) (err error) {
	from, size, err := source(ctx, s.From)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // it was read
	part, err := pgarchive.Select(from, size, s.Tables...)
	if err != nil {
		return err
	}
	to, err := os.OpenFile(s.To, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, io.NewSectionReader(part, 0, part.Size()), make([]byte, 4<<20))
	if err = errors.Join(err, to.Close()); err != nil {
		return errors.Join(err, os.Remove(s.To))
	}
	_, err = fmt.Fprintf(stdout, "%s: %d of the archive's %d bytes. Restore it with\n  pg_restore --no-owner --no-acl --dbname=EMPTY %s\nwhich makes everything else too, without rows, and reports a foreign key to rows that are not there as an error. Into a table that is there already, and empty, add --data-only --table=NAME.\n", s.To, n, size, s.To)
	return err
}

type readerAtCloser interface {
	io.ReaderAt
	io.Closer
}

func source(ctx context.Context, from string) (readerAtCloser, int64, error) {
	if strings.HasPrefix(from, "https://") || strings.HasPrefix(from, "http://") {
		r := &ranged{ctx: ctx, client: dialer.HTTPClient(0), url: from}
		size, err := r.measure()
		return r, size, err
	}
	f, err := os.Open(from) //nolint:gosec // what the operator names
	if err != nil {
		return nil, 0, fmt.Errorf("open the archive: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// ranged reads an address by Range requests, one for each read.
type ranged struct {
	ctx    context.Context // of the one command
	client *http.Client
	url    string
}

// measure asks for one byte, which tells how many there are, and that the server knows ranges.
func (r *ranged) measure() (int64, error) {
	resp, err := r.get(0, 1)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // one byte
	_, total, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return 0, errors.New("the server does not say how long the archive is")
	}
	return size, nil
}

func (r *ranged) get(at, n int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, errors.New("the link is not an address")
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", at, at+n-1))
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, errors.New("the server does not answer") // err holds the link, which opens the archive
	}
	if resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	_ = resp.Body.Close() // it was refused
	if resp.StatusCode == http.StatusOK {
		return nil, errors.New("the server does not serve ranges: download the whole archive and name the file")
	}
	return nil, fmt.Errorf("the server refuses: %s: %s", resp.Status, strings.TrimSpace(string(said)))
}

func (r *ranged) ReadAt(p []byte, off int64) (int, error) {
	resp, err := r.get(off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // it is read whole or given up
	n, err := io.ReadFull(resp.Body, p)
	if errors.Is(err, io.ErrUnexpectedEOF) { // the range reached beyond the end
		err = io.EOF
	}
	return n, err
}

func (r *ranged) Close() error {
	r.client.CloseIdleConnections()
	return nil
}
