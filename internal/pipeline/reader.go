package pipeline

import (
	"context"
	"errors"
	"sync"

	"github.com/remora-backup/remora/internal/pgdump"
)

// reader reads an archive while it passes.
type reader interface {
	Write(p []byte) (int, error)
	Finish() error
	Close() error
	Limit(n int64) error
	Memory() int64
}

func startReader(ctx context.Context, c pgdump.Client, memory int64, unread bool) (reader, error) {
	if unread {
		return nobody{}, nil
	}
	return pgdump.StartCheck(ctx, c, memory)
}

type nobody struct{}

func (nobody) Write(p []byte) (int, error) { return len(p), nil }
func (nobody) Finish() error               { return nil }
func (nobody) Close() error                { return nil }
func (nobody) Limit(int64) error           { return nil }
func (nobody) Memory() int64               { return 0 }

// soon is a reader that starts when its time has come, or when it is needed.
type soon struct {
	reader  reader // nobody, where it was not started
	err     error  // why not
	need    func()
	quit    func()
	settled chan struct{} // closed when reader and err are known
}

// startSoon starts a reader when idle is closed, where nil at once, or when the first of its methods is called; if that is Close, and
// its time had not come by then, not at all. The caller closes it.
func startSoon(idle <-chan struct{}, start func() (reader, error)) *soon {
	need, quit := make(chan struct{}), make(chan struct{})
	s := &soon{
		reader: nobody{}, settled: make(chan struct{}),
		need: sync.OnceFunc(func() { close(need) }), quit: sync.OnceFunc(func() { close(quit) }),
	}
	if idle == nil {
		s.need()
	}
	go func() {
		defer close(s.settled)
		select {
		case <-quit:
			s.err = errClosed
			return
		case <-idle:
		case <-need:
		}
		if r, err := start(); err != nil {
			s.err = err
		} else {
			s.reader = r
		}
	}()
	return s
}

var errClosed = errors.New("the archive was not read")

func (s *soon) wait() error {
	s.need()
	<-s.settled
	return s.err
}

func (s *soon) Write(p []byte) (int, error) {
	if err := s.wait(); err != nil {
		return 0, err
	}
	return s.reader.Write(p)
}

func (s *soon) Finish() error {
	if err := s.wait(); err != nil {
		return err
	}
	return s.reader.Finish()
}

func (s *soon) Limit(n int64) error {
	if err := s.wait(); err != nil {
		return err
	}
	return s.reader.Limit(n)
}

func (s *soon) Memory() int64 {
	_ = s.wait() // said where something was to be read
	return s.reader.Memory()
}

func (s *soon) Close() error {
	s.quit()
	<-s.settled
	return s.reader.Close()
}
