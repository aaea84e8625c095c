// Package front stands before the laboratory's services: it counts what is asked, and misbehaves as
// it is told.
package front

import (
	"net/http"
	"strings"
	"sync"
)

// A Front is before one service. The zero value passes everything. It is safe for concurrent use.
type Front struct {
	mu      sync.Mutex // guards what follows
	instead http.HandlerFunc
	asked   map[string]int // by path
}

// Instead has the service misbehave; nil ends that.
func (f *Front) Instead(h http.HandlerFunc) { f.mu.Lock(); defer f.mu.Unlock(); f.instead = h }

// Asked returns how many requests came whose path contains a text.
func (f *Front) Asked(path string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, k := range f.asked {
		if strings.Contains(p, path) {
			n += k
		}
	}
	return n
}

// Pass has the service answer, unless it is to misbehave.
func (f *Front) Pass(service http.HandlerFunc, w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.asked == nil {
		f.asked = make(map[string]int)
	}
	f.asked[r.URL.Path]++
	if f.instead != nil {
		service = f.instead
	}
	f.mu.Unlock()
	service(w, r)
}
