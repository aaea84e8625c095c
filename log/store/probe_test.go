package store

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// A disk that no answer holds up nobody for longer than the patience, and is asked once at a
// time.
func TestDiskThatHangsIsNotWaitedFor(t *testing.T) {
	var mu sync.Mutex
	asked, answer := 0, make(chan error)
	d := &Probe{What: "the disk", Every: 100 * time.Millisecond, Try: func() error {
		mu.Lock()
		asked++
		mu.Unlock()
		return <-answer
	}}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := d.Check(); err == nil || !strings.Contains(err.Error(), "no answer") {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	if asked != 1 {
		t.Errorf("asked %d times at once", asked)
	}
	mu.Unlock()
	broken := errors.New("broken")
	answer <- broken
	for err := d.Check(); !errors.Is(err, broken); err = d.Check() {
		time.Sleep(time.Millisecond)
	}
}

// A store that is busy, and answers after longer than the patience, can be written to all the time. One
// that does not answer any more cannot, soon.
func TestBusyStoreCanBeWrittenTo(t *testing.T) {
	t.Parallel()
	slow, hung := make(chan time.Duration, 1), make(chan struct{})
	defer close(hung)
	slow <- 0
	p := &Probe{What: "the store", Every: 100 * time.Millisecond, Grace: probePatience, Try: func() error {
		select {
		case d := <-slow:
			time.Sleep(d)
			return nil
		case <-hung:
			return errors.New("it hung")
		}
	}}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	slow <- probePatience * 3 / 2
	for began := time.Now(); time.Since(began) < probePatience*5/2; time.Sleep(20 * time.Millisecond) {
		if err := p.Check(); err != nil {
			t.Fatalf("busy for %s: %v", time.Since(began), err)
		}
	}
	for last := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if err := p.Check(); err != nil {
			t.Logf("%v, %s after the last good answer", err, time.Since(last))
			return
		}
		if time.Since(last) > 3*probePatience {
			t.Fatal("it hangs, and can be written to")
		}
	}
}
