//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// The kinds of honest requests.
const (
	submits  = "submit"
	reads    = "read"
	asks     = "check_quote"
	cosigned = "cosigned" // witness's checkpoint
)

// A publisher is an honest one, with a VM of its own.
type publisher struct {
	*stage
	vm     int
	http   *http.Client
	url    string
	policy *tlogpolicy.Policy
}

var evidenceNumber atomic.Uint64

func (p *publisher) client() (*client.Client, error) {
	// One attempt: what needs a second one has failed.
	return client.New(client.Config{URL: p.url, Policy: p.policy, HTTP: p.http, Attempts: 1, UserAgent: "poclog strangers"})
}

// evidence has the VM answer a challenge of now.
func (p *publisher) evidence(ctx context.Context) (*poclog.Submission, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	ch, err := c.Challenge(ctx, poclog.GCETDXvTPM, poclog.Sum(fmt.Append(nil, "honest ", evidenceNumber.Add(1))))
	if err != nil {
		return nil, fmt.Errorf("challenge: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cloud.Advance(time.Since(p.cloud.Now))
	b, err := p.cloud.VMs[p.vm].Prove(ch)
	if err != nil {
		return nil, err
	}
	file, err := b.Marshal()
	return &poclog.Submission{Bundle: file}, err
}

func (p *publisher) submit(ctx context.Context, sub *poclog.Submission) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	got, err := c.Submit(ctx, sub)
	if err == nil && !got.New {
		err = errors.New("new evidence is taken for old")
	}
	return err
}

// A sample is one honest request.
type sample struct {
	kind string
	took time.Duration
	err  error
}

// honest runs the honest load once, and returns what it saw.
func (s *stage) honest(ctx context.Context, sc scale) []sample {
	var mu sync.Mutex
	var all []sample
	measure := func(kind string, f func() error) {
		begun := time.Now()
		err := f()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, sample{kind, time.Since(begun), err})
	}
	var wg sync.WaitGroup
	for i := range sc.publishers {
		p := &publisher{stage: s, vm: i, http: from(fmt.Sprintf("127.0.2.%d", i+1)), url: s.front, policy: s.policy}
		wg.Go(func() {
			defer p.http.CloseIdleConnections()
			for range sc.submissions {
				sub, err := p.evidence(ctx)
				measure(submits, func() error {
					if err != nil {
						return err
					}
					return p.submit(ctx, sub)
				})
			}
		})
	}
	wg.Go(func() { s.readAll(ctx, sc.reads, measure) })
	wg.Go(func() { s.askAll(ctx, sc.questions, measure) })
	wg.Wait()
	return all
}

// readAll reads the log as its readers do, through the proxy and beside it, and the witness.
func (s *stage) readAll(ctx context.Context, n int, measure func(string, func() error)) {
	c := from("127.0.3.1")
	defer c.CloseIdleConnections()
	get := func(url string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		return want200(c.Do(req))
	}
	for i := range n {
		prefix := []string{s.front, s.log.url}[i%2]
		reader, err := (&publisher{stage: s, http: c, url: prefix, policy: s.policy}).client()
		switch {
		case err != nil:
			measure(reads, func() error { return err })
		case i%3 == 0:
			measure(reads, func() error { return newest(ctx, reader) })
		default:
			measure(reads, func() error { return get(prefix + []string{"/checkpoint", "/v1/policy", "/health"}[i%3]) })
		}
		if i%5 == 0 {
			measure(cosigned, func() error { return get(s.witness.url + "/" + hashOf("log.strangers.test") + "/checkpoint") })
		}
	}
}

// newest reads the newest entries of a log, as a monitor does.
func newest(ctx context.Context, c *client.Client) error {
	cp, err := c.Checkpoint(ctx)
	if err != nil {
		return err
	}
	if cp.Size == 0 {
		return errors.New("the log is empty")
	}
	_, err = c.EntryBundle(ctx, (cp.Size-1)/256, cp.Size)
	return err
}

func hashOf(origin string) string {
	d := poclog.Sum([]byte(origin))
	return d.String()
}

// askAll asks the monitor whether a logged quote's chip is proven.
func (s *stage) askAll(ctx context.Context, n int, measure func(string, func() error)) {
	c := from("127.0.4.1")
	defer c.CloseIdleConnections()
	for range n {
		measure(asks, func() error { return s.ask(ctx, c, s.quote) })
	}
}

func (s *stage) ask(ctx context.Context, c *http.Client, quote []byte) error {
	body, err := json.Marshal(map[string]string{"quote": hex.EncodeToString(quote)})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.monitor.url+"/v1/check_quote", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	return want200(c.Do(req))
}

func want200(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d: %.300s", resp.Request.URL.Path, resp.StatusCode, strings.TrimSpace(string(b)))
	}
	return nil
}
