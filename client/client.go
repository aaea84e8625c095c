// Package client talks to Proof-of-Cloud logs: it submits evidence, follows a log's checkpoints and
// entries, fetches evidence and moves receipts to newer checkpoints. The log is a C2SP tlog-tiles
// log (https://c2sp.org/tlog-tiles) with the addresses of docs/http.md.
//
// What it returns has been checked against the caller's tlog-policy: checkpoints carry its quorum,
// receipts verify, entries hash to the checkpoint's root, evidence has the digest that was asked
// for. Every answer is bounded in size and time; a log can refuse or delay, but neither mislead nor
// exhaust its client, nor have it ask private addresses. With a [CheckpointStore], each checkpoint
// is also proven to extend those seen before, and a log that shows two histories is caught with
// evidence: see [SplitView].
//
// It does not judge evidence, and does not hide which entries a client is interested in: fetching
// from a mirror does.
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Defaults of [Config].
const (
	// DefaultTimeout is over the log's own bound for publishing a checkpoint, so that a submitter
	// does not give up first.
	DefaultTimeout = 60 * time.Second
	// DefaultAttempts with backoff of 0.5, 1, 2 and 4 seconds rides out the restart of a log.
	DefaultAttempts = 5
	// DefaultMaxWait bounds each wait, also one that the log asks for.
	DefaultMaxWait = 30 * time.Second
)

// A Config says which log to talk to and how. URL and Policy are required.
type Config struct {
	URL    string             // the log's prefix, such as "https://log.example/2026": http or https
	Policy *tlogpolicy.Policy // whose signatures count; without one New returns receipt.ErrNoPolicy

	// HTTP makes the requests; nil is as http.DefaultTransport. Its redirect policy and timeout are
	// replaced by the client's own. Over a transport that is no *http.Transport no redirect is
	// followed away from the log's host.
	HTTP *http.Client
	// Store remembers checkpoints, so that a log cannot show two histories to one client. Nil
	// remembers nothing.
	Store CheckpointStore

	Timeout   time.Duration // of one request; 0 is DefaultTimeout
	Attempts  int           // at most, while the log is overloaded or out of reach; 0 is DefaultAttempts
	MaxWait   time.Duration // between two attempts; 0 is DefaultMaxWait
	UserAgent string        // "" is "poclog"

	// Again is told why an attempt failed, and after what time there is another. Nil tells nobody.
	// It may be called concurrently.
	Again func(err error, after time.Duration)

	// Wait waits between attempts and returns early with the context's error; nil waits by the
	// clock.
	Wait func(ctx context.Context, d time.Duration) error
}

// A Client talks to one log. Its methods may be called concurrently.
type Client struct {
	Config
	base           string // URL with a final slash
	getter, poster *http.Client

	released sync.Pool // memory of entry bundles
}

// New returns a client for a log.
func New(c Config) (*Client, error) {
	if c.Policy == nil {
		return nil, receipt.ErrNoPolicy
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("log URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("log URL %.200q: want http or https, a host, and no query", c.URL)
	}
	if c.Timeout < 0 || c.Attempts < 0 || c.MaxWait < 0 {
		return nil, errors.New("client: negative timeout, attempts or wait")
	}
	c.setDefaults()
	cl := &Client{Config: c, base: strings.TrimSuffix(u.String(), "/") + "/"}
	cl.getter, cl.poster = c.httpClient(u, followRedirects), c.httpClient(u, refuseRedirects)
	return cl, nil
}

func (c *Config) setDefaults() {
	c.Timeout, c.Attempts, c.MaxWait = cmp.Or(c.Timeout, DefaultTimeout), cmp.Or(c.Attempts, DefaultAttempts), cmp.Or(c.MaxWait, DefaultMaxWait)
	c.UserAgent = cmp.Or(c.UserAgent, "poclog")
	if c.Wait == nil {
		c.Wait = pause.For
	}
}

// transport is that of all clients that were given none: who makes a client for each request
// keeps no connections of each.
var transport = sync.OnceValue(func() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = prefetch + 2
	return t
})

func (c *Config) httpClient(log *url.URL, redirects func(*http.Request, []*http.Request) error) *http.Client {
	h := new(http.Client)
	if c.HTTP != nil {
		*h = *c.HTTP
	}
	if h.Transport == nil {
		h.Transport = transport()
	}
	h.Transport, h.Timeout, h.CheckRedirect = guardRedirects(h.Transport, log), c.Timeout, redirects
	return h
}
