package peers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// A Fault is what happens to a request on its way to the S3 server.
type Fault int

// Faults of requests.
const (
	Pass   Fault = iota
	Refuse       // it is answered with 500, and does not reach the server
	Cut          // the connection ends before it reaches the server
	Lose         // it reaches the server, and its answer does not come back
	Ignore       // conditions are taken off it: a server that does not know them
)

// A Proxy stands before an S3 server and injects faults.
type Proxy struct {
	URL    string
	behind *url.URL
	// Written, if set before the first request, is told each object that the server says it wrote.
	Written func(path string, body []byte)

	mu    sync.Mutex
	fault func(*http.Request) Fault
	count map[Fault]int
}

// NewProxy starts a proxy. It ends with the test. Signatures of requests do not cover conditions
// that are taken off, so that the server must not check the host: it is kept.
func NewProxy(t testing.TB, s *S3) *Proxy {
	t.Helper()
	behind, err := url.Parse(s.URL)
	ok(t, err)
	p := &Proxy{behind: behind, count: make(map[Fault]int), fault: func(*http.Request) Fault { return Pass }}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Set says which fault each request meets. The function is called for several at once, and may take
// its time: the request waits.
func (p *Proxy) Set(fault func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// Count returns how many requests met a fault.
func (p *Proxy) Count(f Fault) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[f]
}

// ServeHTTP passes a request on, or does not.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// What was sent arrives, also where the client gives up meanwhile.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.mu.Lock()
	choose := p.fault
	p.mu.Unlock()
	fault := choose(r)
	p.mu.Lock()
	p.count[fault]++
	p.mu.Unlock()
	pass := &httputil.ReverseProxy{
		Rewrite:      func(pr *httputil.ProxyRequest) { pr.Out.URL.Scheme, pr.Out.URL.Host = p.behind.Scheme, p.behind.Host },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	if p.Written != nil && r.Method == http.MethodPut {
		pass.ModifyResponse = func(resp *http.Response) error {
			if resp.StatusCode == http.StatusOK {
				p.Written(r.URL.Path, body)
			}
			return nil
		}
	}
	switch fault {
	case Refuse:
		http.Error(w, "injected", http.StatusInternalServerError)
	case Cut:
		panic(http.ErrAbortHandler)
	case Lose:
		pass.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case Ignore:
		pass.ModifyResponse = func(resp *http.Response) error {
			if resp.StatusCode == http.StatusPreconditionFailed {
				return errors.New("ignored")
			}
			return nil
		}
		// As a server that does not know conditions would, it says that it wrote.
		pass.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusOK) }
		pass.ServeHTTP(w, r)
	default:
		pass.ServeHTTP(w, r)
	}
}
