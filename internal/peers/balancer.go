package peers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
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

// A Balancer is an HTTP proxy that sends each request to the next front end that is ready. Where a
// connection is refused, before any byte was sent, it tries another one. While none is ready a
// request waits.
type Balancer struct {
	Address string // where it listens

	fronts []frontEnd
	turn   atomic.Uint64
	http   http.Transport
}

// patience is how long a request waits until a front end is ready, and a look for its answer.
const patience = 30 * time.Second

type frontEnd struct {
	address  string
	ready    atomic.Bool
	answered atomic.Int64
	refused  atomic.Int64
}

// NewBalancer starts a balancer before addresses, which it asks for their readiness all the time.
// It ends with the test.
func NewBalancer(t testing.TB, every time.Duration, addresses ...string) *Balancer {
	t.Helper()
	b := &Balancer{fronts: make([]frontEnd, len(addresses))}
	ctx, stop := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	for i, address := range addresses {
		b.fronts[i].address = address
		looking.Go(func() {
			for ctx.Err() == nil {
				b.look(ctx, &b.fronts[i])
				time.Sleep(every)
			}
		})
	}
	srv := httptest.NewServer(&httputil.ReverseProxy{
		Transport: b, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme = "http" },
	})
	b.Address = strings.TrimPrefix(srv.URL, "http://")
	t.Cleanup(func() {
		stop()
		looking.Wait()
		srv.Close()
		b.http.CloseIdleConnections()
	})
	return b
}

func (b *Balancer) look(ctx context.Context, f *frontEnd) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.address+"/health", nil)
	if err != nil {
		return
	}
	resp, err := b.http.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	f.ready.Store(err == nil && resp.StatusCode == http.StatusOK)
}

// WaitReady waits until the balancer knows that a front end is ready.
func (b *Balancer) WaitReady(t testing.TB, i int) {
	t.Helper()
	for range 1200 {
		if b.fronts[i].ready.Load() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("front end %s does not become ready", b.fronts[i].address)
}

// Count returns how many requests a front end answered, and how many connections it refused.
func (b *Balancer) Count(i int) (answered, refused int64) {
	return b.fronts[i].answered.Load(), b.fronts[i].refused.Load()
}

// RoundTrip sends a request on.
func (b *Balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	err := errors.New("no front end is ready")
	for end := time.Now().Add(patience); time.Now().Before(end); {
		f := &b.fronts[int(b.turn.Add(1))%len(b.fronts)]
		if !f.ready.Load() {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		out := r.Clone(r.Context())
		out.URL.Host, out.Body = f.address, io.NopCloser(bytes.NewReader(body))
		var resp *http.Response
		if resp, err = b.http.RoundTrip(out); err == nil {
			f.answered.Add(1)
			return resp, nil
		}
		var refused *net.OpError
		if !errors.As(err, &refused) || refused.Op != "dial" {
			return nil, err
		}
		f.refused.Add(1)
	}
	return nil, err
}
