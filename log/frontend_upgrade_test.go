package log_test

import (
	"bytes"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A balancer sends requests to front ends that are ready. Where a connection is refused, before any
// byte was sent, it tries another one.
type balancer struct {
	fronts []*front
	ready  []atomic.Bool
	turn   atomic.Uint64
	sent   []atomic.Int64 // to each front end
	again  atomic.Int64   // refused connections
	http   http.Transport
}

// looks is how often a balancer asks for readiness: several times in a drain.
const looks = drain / 10

func (l *sharedLog) balance(t *testing.T) *balancer {
	b := &balancer{fronts: l.fronts, ready: make([]atomic.Bool, len(l.fronts)), sent: make([]atomic.Int64, len(l.fronts))}
	stop := make(chan struct{})
	var looking sync.WaitGroup
	for i, f := range b.fronts {
		looking.Go(func() {
			for {
				_, err := fetch("http://" + f.address + "/health")
				b.ready[i].Store(err == nil)
				select {
				case <-stop:
					return
				case <-time.After(looks):
				}
			}
		})
	}
	t.Cleanup(func() { close(stop); looking.Wait(); b.http.CloseIdleConnections() })
	return b
}

// serve returns the balancer's address.
func (b *balancer) serve(t *testing.T) string {
	srv := httptest.NewServer(&httputil.ReverseProxy{Transport: b, ErrorLog: stdlog.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme = "http" }})
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// RoundTrip sends a request to the next front end that is ready.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	err := errors.New("no front end is ready")
	for range 2 * len(b.fronts) {
		i := int(b.turn.Add(1)) % len(b.fronts)
		if !b.ready[i].Load() {
			continue
		}
		out := r.Clone(r.Context())
		out.URL.Host, out.Body = b.fronts[i].address, io.NopCloser(bytes.NewReader(body))
		var resp *http.Response
		if resp, err = b.http.RoundTrip(out); err == nil {
			b.sent[i].Add(1)
			return resp, nil
		}
		var refused *net.OpError
		if !errors.As(err, &refused) || refused.Op != "dial" {
			return nil, err
		}
		b.again.Add(1)
	}
	return nil, err
}

// waitReady waits until the balancer knows that a front end is ready.
func (b *balancer) waitReady(t *testing.T, i int) {
	t.Helper()
	for range 1200 {
		if b.ready[i].Load() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	text, _ := fetch("http://" + b.fronts[i].address + "/health")
	t.Fatalf("front end %d does not become ready: %s", i, text)
}

// Front ends are stopped and started one after the other, behind a balancer that asks for readiness:
// no submission is refused or fails.
func TestFrontEndsAreUpgradedWithoutARefusedSubmission(t *testing.T) {
	t.Parallel()
	l := newSharedLog(t, 2)
	b := l.balance(t)
	for i, v := range l.fronts {
		v.start()
		b.waitReady(t, i)
	}
	w, c := l.watch(), l.crowd(8, b.serve(t))
	n := kills(t)
	for i := range n {
		v := l.fronts[i%2]
		v.stop()
		if left := strings.TrimSpace(l.db.SQL(t, "SELECT COUNT(*) FROM log.PoclogFrontEnds")); left != "1" {
			t.Errorf("%s front ends count as alive after one left: want 1", left)
		}
		v.start()
		b.waitReady(t, i%2)
	}
	receipts := c.end()
	w.end()
	t.Logf("%d restarts: %d receipts of %d submissions, %d failed, %d connections refused; %d and %d requests answered by each front end", n, len(receipts), c.number.Load(), c.failed.Load(), b.again.Load(), b.sent[0].Load(), b.sent[1].Load())
	if c.failed.Load() > 0 {
		t.Errorf("%d submissions failed, the last with %v", c.failed.Load(), *c.last.Load())
	}
	l.check(receipts)
}
