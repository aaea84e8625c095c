package log

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/verify"
)

// Limits of a question to a provider's registry.
const (
	registryTimeout   = 5 * time.Second
	registryPatience  = 3 * time.Second // of these, where it asks to be asked later
	maxRegistryAnswer = 1 << 14         // bytes
)

// observe asks the provider whether it lists the chip, for evidence that is fresh and passes
// without, and judges again with the answer, which the log keeps. A publisher's word on it counts
// for nothing. Silence is no answer: the entry says that nobody said so.
func (s *Service) observe(ctx context.Context, r *reading, a *verify.Appraisal) (*verify.Appraisal, error) {
	url := s.question(&a.Entry)
	if url == "" {
		return a, nil
	}
	it, err := s.ask(ctx, url)
	if err != nil {
		s.registry.note(err)
		s.cfg.Logger.Warn("the provider's registry did not answer", "error", err)
		return a, nil
	}
	col := cmp.Or(r.collateral, new(poclog.Collateral))
	if err := r.takeCollateral(col.With(*it)); err != nil {
		return nil, fmt.Errorf("keep the registry's answer: %w", err)
	}
	again, err := s.judge(s.input(r))
	s.registry.note(unobserved(url, again))
	return again, err
}

// unobserved says why an answer was of no use to the judge.
func unobserved(url string, a *verify.Appraisal) error {
	if a == nil || !slices.Contains(a.Entry.Absent, string(verify.PlaceRegistry)) {
		return nil
	}
	return fmt.Errorf("ask %s: %s", url, a.Notes[verify.PlaceRegistry])
}

// A registryState asks providers' registries, and remembers whether the last answer was one: a
// check that is silently absent from now on shows in /health.
type registryState struct {
	http *http.Client

	mu    sync.Mutex // guards what follows
	since time.Time  // of the first failure in a row; zero: none
	last  error
}

func (r *registryState) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.since = time.Time{}
	case r.since.IsZero():
		r.since = time.Now()
	}
	r.last = err
}

// warnings are for /health.
func (r *registryState) warnings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		return nil
	}
	return []string{fmt.Sprintf("a provider's registry does not answer as it should since %s, and entries lack place.registry: %.300s", verify.Stamp(r.since), r.last)}
}

// question returns what to ask about an entry's chip, or nothing.
func (s *Service) question(e *poclog.Entry) string {
	if e.Fresh == nil || e.Place == nil || e.Chip() == "" {
		return ""
	}
	for _, r := range s.rules.policy.Registries {
		if r.Provider == e.Place.Provider.Value {
			return r.Address(e.Chip().Value())
		}
	}
	return ""
}

// ask fetches an answer as it is. Refusals are answers; failures of the registry are silence.
func (s *Service) ask(ctx context.Context, url string) (*poclog.CollateralItem, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	patience := collateral.Patience{For: registryPatience}
	resp, err := patience.Do(s.registry.http, req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRegistryAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	if len(body) > maxRegistryAnswer || resp.StatusCode >= 500 || resp.StatusCode < 200 {
		return nil, fmt.Errorf("ask %s: status %d, %d bytes or more", url, resp.StatusCode, len(body))
	}
	return &poclog.CollateralItem{
		Kind: poclog.ChipRegistry, URL: url, Time: poclog.UnixTime(s.cfg.Now().Unix()), Status: uint32(resp.StatusCode), Body: body,
	}, nil
}

// newRegistryState makes requests that follow no redirect: the answer would be another address's.
func newRegistryState() *registryState {
	return &registryState{http: &http.Client{
		Timeout: registryTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}
