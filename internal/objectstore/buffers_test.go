package objectstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestBuffersAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newBuffers(10, 2)
		var a, b loan
		get := func(to *loan) ([]byte, time.Duration) {
			t.Helper()
			began := time.Now()
			buf, err := p.get(t.Context(), to)
			if err != nil || cap(buf) != 10 || len(buf) != 0 {
				t.Fatal(len(buf), cap(buf), err)
			}
			return buf, time.Since(began)
		}
		refused := func(to *loan) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := p.get(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
				t.Error("lent beyond the limit", err)
			}
		}
		first, _ := get(&a)
		second, waited := get(&a)
		if waited != 0 {
			t.Errorf("the second took %v", waited)
		}
		refused(&a)
		own, waited := get(&b)
		if waited != 0 {
			t.Errorf("an upload without a buffer waited %v", waited)
		}
		refused(&b)
		p.put(first, &a)
		refused(&b) // two are lent still
		time.AfterFunc(time.Second, func() { p.put(second, &a) })
		if _, waited := get(&b); waited != time.Second {
			t.Errorf("it waited %v for what came back after a second", waited)
		}
		p.put(own, &b)
		if len(p.free)+p.lent != 2 {
			t.Errorf("%d are kept and %d lent", len(p.free), p.lent)
		}
	})
}

func TestThirdBufferWhereTheStoreIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newBuffers(10, 8)
		var far loan
		for i, want := range []time.Duration{0, 0, patience, 0} {
			began := time.Now()
			if _, err := p.get(t.Context(), &far); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(began); waited != want {
				t.Errorf("buffer %d was waited for %v, want %v", i+1, waited, want)
			}
		}
		var u loan // of a store that is near
		var buf []byte
		get := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			var err error
			if buf, err = p.get(t.Context(), &u); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(began); waited != want {
				t.Errorf("a buffer was waited for %v, want %v", waited, want)
			}
		}
		back := func(after time.Duration) {
			given := buf
			time.AfterFunc(after, func() { p.put(given, &u) })
		}
		get(0)
		get(0)
		for range 3 { // now and then it takes its time
			for range soon {
				back(patience - time.Millisecond)
				get(patience - time.Millisecond)
			}
			back(patience + time.Millisecond)
			get(patience + time.Millisecond)
		}
		for range soon {
			back(patience - time.Millisecond)
			get(patience - time.Millisecond)
		}
		back(patience + time.Millisecond)
		get(patience + time.Millisecond)
		back(0)
		get(0) // the one that was sent together with it
		if u.has != 2 || u.slow {
			t.Errorf("it has %d", u.has)
		}
		get(patience) // and again
		get(0)
	})
}
