package folder

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// A disk that does not answer holds up nobody for longer than the patience, and is asked once at a
// time.
func TestDiskThatHangsIsNotWaitedFor(t *testing.T) {
	d := newDisk(t.TempDir())
	var mu sync.Mutex
	asked, answer := 0, make(chan error)
	d.probe = func(string) error {
		mu.Lock()
		asked++
		mu.Unlock()
		return <-answer
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := d.check(); err == nil || !strings.Contains(err.Error(), "does not answer") {
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
	for err := d.check(); !errors.Is(err, broken); err = d.check() {
		time.Sleep(time.Millisecond)
	}
}
