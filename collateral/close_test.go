package collateral_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A cache that is closed ends what is being asked, and begins nothing.
func TestAClosedCacheAsksNobody(t *testing.T) {
	b := newBench(t)
	c := b.open(t)
	asked, release := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(release) })
	var once sync.Once
	b.server.Instead(func(_ http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	failed := make(chan error, 1)
	go func() { failed <- c.Fetch(t.Context(), b.bundle) }()
	<-asked
	c.Close()
	if err := <-failed; err == nil {
		t.Error("fetched from nobody")
	}
	// What was on its way when the cache was closed may still arrive: who is asked now is told by the error.
	b.advance(time.Hour)
	if err := c.Fetch(t.Context(), b.bundle); err == nil || !strings.Contains(err.Error(), "the cache is closed") {
		t.Errorf("asked after it was closed: %v", err)
	}
}
