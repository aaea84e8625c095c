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
	"github.com/poclog/poclog/internal/pause"
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

// Pauses of honest clients between two requests. An address's askers stay below its rate.
const (
	readPause     = 10 * time.Millisecond
	askPause      = 100 * time.Millisecond
	cosignedPause = 20 * time.Millisecond
)

// honest runs the honest load once, and returns what it saw: publishers submit so often, and others
// read and ask as long as they do.
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
	var publishing, others sync.WaitGroup
	for i := range sc.Publishers {
		p := &publisher{stage: s, http: from(fmt.Sprintf("127.0.2.%d", i+1)), url: s.front, policy: s.policy}
		publishing.Go(func() {
			defer p.http.CloseIdleConnections()
			for range sc.Submissions {
				p.vm = i*machines + int(evidenceNumber.Load()%machines)
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
	publish, done := context.WithCancel(ctx)
	again := func(address string, after time.Duration, do func(c *http.Client, i int)) {
		c := from(address)
		others.Go(func() {
			defer c.CloseIdleConnections()
			do(c, 0)
			for i := 1; pause.For(publish, after) == nil; i++ {
				do(c, i)
			}
		})
	}
	again("127.0.3.1", readPause, func(c *http.Client, i int) { measure(reads, func() error { return s.read(ctx, c, i) }) })
	again("127.0.3.2", cosignedPause, func(c *http.Client, _ int) {
		measure(cosigned, func() error {
			_, err := get(ctx, c, s.witness.url+"/"+poclog.Sum([]byte("log.strangers.test")).String()+"/checkpoint")
			return err
		})
	})
	for i := range sc.Asking {
		again(fmt.Sprintf("127.0.4.%d", i+1), askPause, func(c *http.Client, _ int) {
			measure(asks, func() error { return ask(ctx, c, s.monitor.url, s.quote) })
		})
	}
	publishing.Wait()
	done()
	others.Wait()
	return all
}

// read reads the log as its readers do, through the proxy and beside it.
func (s *stage) read(ctx context.Context, c *http.Client, i int) error {
	url := []string{s.front, s.log.url}[i%2]
	if i%3 > 0 {
		_, err := get(ctx, c, url+[]string{"", "/v1/policy", "/health"}[i%3])
		return err
	}
	reader, err := (&publisher{stage: s, http: c, url: url, policy: s.policy}).client()
	if err != nil {
		return err
	}
	return newest(ctx, reader)
}

func get(ctx context.Context, c *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return want200(c.Do(req))
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

// ask asks a monitor whether a logged quote's chip is proven.
func ask(ctx context.Context, c *http.Client, monitor string, quote []byte) error {
	body, err := json.Marshal(map[string]string{"quote": hex.EncodeToString(quote)})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, monitor+"/v1/check_quote", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	_, err = want200(c.Do(req))
	return err
}

// want200 returns an answer's body.
func want200(resp *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %.300s", resp.Request.URL.Path, resp.StatusCode, strings.TrimSpace(string(b)))
	}
	return b, err
}
