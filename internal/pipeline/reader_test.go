package pipeline

import (
	"errors"
	"testing"
)

// noted is a reader that notes what was asked of it.
type noted struct {
	nobody
	read   string
	closed bool
}

func (n *noted) Write(p []byte) (int, error) {
	n.read += string(p)
	return len(p), nil
}

func (n *noted) Close() error {
	n.closed = true
	return nil
}

// A reader starts at once where nothing is waited for, when the time has come, or when there is something to read.
func TestAReaderStartsSoon(t *testing.T) {
	t.Parallel()
	idle := make(chan struct{})
	for _, x := range []struct {
		name  string
		idle  chan struct{}
		begin func(*soon) error
	}{
		{"at once", nil, func(*soon) error { return nil }},
		{"idle", idle, func(*soon) error { close(idle); return nil }},
		{"needed", make(chan struct{}), func(s *soon) error { _, err := s.Write(nil); return err }},
		{"limited", make(chan struct{}), func(s *soon) error { return s.Limit(1) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			starting := make(chan struct{})
			real := &noted{}
			s := startSoon(x.idle, func() (reader, error) { close(starting); return real, nil })
			if err := x.begin(s); err != nil {
				t.Fatal(err)
			}
			<-starting
			if _, err := s.Write([]byte("rows")); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.Finish(), s.Close(), s.Close()); err != nil || real.read != "rows" || !real.closed {
				t.Errorf("%+v %v", real, err)
			}
		})
	}
}

// One that was closed before anybody needed it never starts, and one that cannot start says why, as often as it is asked.
func TestAReaderThatDoesNotStart(t *testing.T) {
	t.Parallel()
	for range 100 {
		s := startSoon(make(chan struct{}), func() (reader, error) { panic("started") })
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if err := s.Finish(); err == nil {
			t.Error("nobody has read it")
		}
	}
	broken := errors.New("no such program")
	s := startSoon(nil, func() (reader, error) { return nil, broken })
	for range 2 {
		if _, err := s.Write(nil); !errors.Is(err, broken) {
			t.Error(err)
		}
	}
	if err := s.Finish(); !errors.Is(err, broken) || s.Memory() != 0 {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
