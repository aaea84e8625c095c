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
