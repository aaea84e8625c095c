package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// A counter is a proxy that counts the requests of each path, and how many of it it had at once.
type counter struct {
	mu                 sync.Mutex
	total, now, atOnce map[string]int
}

func (c *counter) begin(path string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now[path] += n
	c.total[path] += max(n, 0)
	c.atOnce[path] = max(c.atOnce[path], c.now[path])
}

// cmdCounting runs a command whose LOG is a counting proxy before the script's, and writes the
// lines "<path> <requests> <at once>" to the file "counted".
func cmdCounting(ts *testscript.TestScript, neg bool, args []string) {
	to, err := url.Parse(ts.Getenv("LOG"))
	ts.Check(err)
	c := &counter{total: make(map[string]int), now: make(map[string]int), atOnce: make(map[string]int)}
	proxy := httputil.NewSingleHostReverseProxy(to)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.begin(r.URL.Path, 1)
		defer c.begin(r.URL.Path, -1)
		proxy.ServeHTTP(w, r)
	}))
	defer srv.Close()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], to.String(), srv.URL)
	}
	err = ts.Exec(args[0], args[1:]...)
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(c.total)) {
		fmt.Fprintln(&b, path, c.total[path], c.atOnce[path])
	}
	ts.Check(os.WriteFile(ts.MkAbs("counted"), []byte(b.String()), 0o644))
	if (err != nil) != neg {
		ts.Fatalf("%v: %v", args, err)
	}
}
