// Package monitor follows Proof-of-Cloud logs and finds what one proof cannot show: identities that
// are claimed twice, replayed, proxied and cloned attestations, and logs that misbehave
// (docs/format.md, "Contradictions").
//
// Of every log it keeps a verified tail: each checkpoint has the quorum of the log's tlog-policy
// and is proven to extend the one before, and each entry is proven to be in its tree. Of every
// entry it keeps a [Record], durably and in the log's order; an index in memory finds entries that
// share an identity and differ in what should not differ. These are fetched whole, held to the leaf
// hash that was kept, and compared by the rules of package rule. What they find is an [Alert];
// where evidence proves it, a contradiction's file lies beside.
//
// The cursor of a log, the alerts and what is still to be compared move in one transaction, after
// the records are on disk: a process that is killed at any moment loses nothing and repeats
// nothing. A folder whose parts do not belong together is refused, never repaired. Whatever a log
// does, others go on.
//
// The parts of the package are groups of files:
//   - monitor, run, state: the folder, its database and the loop over all logs;
//   - tail, roots, tree, indexes, trouble, covering: verified reading of one log, and what is wrong
//     with it;
//   - record, fill, rows, terms, filter, lookup: what is kept of each entry;
//   - facets, index, pairs: which entries are to be compared;
//   - decide, judge, side, nearer, contradict: comparing them, and the evidence of what is found;
//   - stated: what registrars stated; package registrars watches it;
//   - alert, quota, counts: what somebody is to be told.
//
// It repeats no appraisal unless it is given somebody who can, asks nobody but the logs, and
// believes a log that serves everybody the same: only gossip between those who watch it tells more.
// Tests in this package are the evidence.
package monitor

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Defaults of [Config].
const (
	DefaultInterval = 10 * time.Second // between two looks at a log
	DefaultStalled  = 15 * time.Minute // logs have their checkpoints cosigned anew at least every minute
	DefaultTurn     = 2 * time.Minute  // of a log, before others have theirs
	DefaultStale    = 30 * time.Minute // logs write an index entry at least every ten minutes
)

// A Config holds what can be chosen when a monitor is opened. The zero value is safe.
type Config struct {
	Clock  func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil is slog.DiscardHandler
	HTTP   *http.Client     // asks the logs; nil is http.DefaultTransport
	Agent  string           // of the requests: "" is "poclog"

	Interval time.Duration // between two looks at a log; 0 is DefaultInterval
	Stalled  time.Duration // a log that shows no fresh checkpoint for so long is an alert; 0 is DefaultStalled
	Stale    time.Duration // a log whose index lags behind its entries for so long is an alert; 0 is DefaultStale
	Turn     time.Duration // how long others wait for a slow or a large log, in each round; 0 is DefaultTurn

	// Reappraise repeats appraisals, so that no contradiction is kept that its readers would
	// refuse, and entries that their evidence does not give are found. Nil: evidence is kept
	// unjudged, and nobody is implicated but logs.
	Reappraise receipt.Reappraiser
	Limits     rule.Limits // of honest operation

	// Silence says why nobody is to be told of an alert, or "". It is asked once, before the alert
	// is kept.
	Silence func(*Alert) string
}

func (c *Config) setDefaults() error {
	if c.Interval < 0 || c.Stalled < 0 || c.Stale < 0 || c.Turn < 0 {
		return fmt.Errorf("monitor: interval %s, stalled %s, index stale %s, turn %s: want none negative", c.Interval, c.Stalled, c.Stale, c.Turn)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Interval, c.Stalled, c.Turn = cmp.Or(c.Interval, DefaultInterval), cmp.Or(c.Stalled, DefaultStalled), cmp.Or(c.Turn, DefaultTurn)
	c.Stale = cmp.Or(c.Stale, DefaultStale)
	if c.Silence == nil {
		c.Silence = func(*Alert) string { return "" }
	}
	return nil
}

// A Monitor is a monitor's folder. It is safe for concurrent use, and several processes may have
// one folder open; only one at a time can follow logs.
type Monitor struct {
	dir   string
	cfg   Config
	state *state

	lookups *lookups
	counted counted
}

// What lies in a monitor's folder.
const (
	stateFile         = "monitor.db"
	recordsDir        = "records"
	contradictionsDir = "contradictions"
	splitViewsDir     = "split-views"
	indexesDir        = "indexes" // derived: what the logs' indexes should be
)

// Init makes the folder of a new monitor. It replaces nothing.
func Init(dir string) error {
	for _, sub := range []string{recordsDir, contradictionsDir, splitViewsDir, indexesDir} {
		if err := durable.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return fmt.Errorf("make the monitor's folder: %w", err)
		}
	}
	if err := sqlite.Create(filepath.Join(dir, stateFile), schema); err != nil {
		return fmt.Errorf("create the monitor's state: %w", err)
	}
	return nil
}

// Open opens the monitor that Init made in a folder. Nothing is asked of any log.
func Open(dir string, cfg Config) (*Monitor, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	s, err := openState(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	return &Monitor{dir: dir, cfg: cfg, state: s, lookups: newLookups()}, nil
}

// Close closes the folder.
func (m *Monitor) Close() error { return m.state.close() }

// AddLog makes the monitor follow the log at a URL. The text is the log's tlog-policy: all its log
// lines must be of one origin; its quorum is what the monitor wants on checkpoints, and its
// witnesses' times say when entries were made. A log that is known gets the new URL and policy, and
// keeps its cursor.
func (m *Monitor) AddLog(ctx context.Context, url, policy string) (origin string, err error) {
	p, err := tlogpolicy.Parse([]byte(policy))
	if err != nil {
		return "", fmt.Errorf("add log: %w", err)
	}
	for _, l := range p.Logs() {
		if origin != "" && l.Origin != origin {
			return "", fmt.Errorf("add log: the tlog-policy lists two logs, %q and %q: want one", origin, l.Origin)
		}
		origin = l.Origin
	}
	if _, err := m.client(url, p); err != nil {
		return "", fmt.Errorf("add log %q: %w", origin, err)
	}
	if err := m.state.addLog(ctx, origin, url, policy); err != nil {
		return "", err
	}
	l, err := m.state.log(ctx, origin)
	if err != nil {
		return "", err
	}
	if l.next > 0 {
		return origin, nil
	}
	return origin, createRows(m.dir, l.number)
}

// RemoveLog makes the monitor leave a log alone. Its records and alerts stay.
func (m *Monitor) RemoveLog(ctx context.Context, origin string) error {
	return m.state.removeLog(ctx, origin)
}

// A LogInfo says how far the monitor came with a log.
type LogInfo struct {
	Origin  string
	URL     string
	Policy  *tlogpolicy.Policy
	Text    string // the policy, as it was given
	Removed bool

	Next       uint64    // every entry below it has a record
	Size       uint64    // of the newest checkpoint seen
	Checkpoint []byte    // that checkpoint; nil before the first
	Looked     time.Time // when the log last showed a fresh checkpoint; zero before the first
}

// Logs returns every log, the removed ones too, in the order in which they were added.
func (m *Monitor) Logs(ctx context.Context) ([]LogInfo, error) {
	list, err := m.state.logs(ctx)
	if err != nil {
		return nil, err
	}
	var out []LogInfo
	for _, l := range list {
		i := LogInfo{Origin: l.origin, URL: l.url, Policy: l.policy, Text: l.policyText, Removed: l.removed, Next: l.next, Looked: l.looked}
		if l.checkpoint != nil {
			i.Size, i.Checkpoint = l.checkpoint.Size, l.checkpoint.Signed
		}
		out = append(out, i)
	}
	return out, nil
}

// Client returns a client of a log under its policy.
func (m *Monitor) Client(ctx context.Context, origin string) (*client.Client, error) {
	l, err := m.state.log(ctx, origin)
	if err != nil {
		return nil, err
	}
	return m.client(l.url, l.policy)
}

func (m *Monitor) client(url string, p *tlogpolicy.Policy) (*client.Client, error) {
	return client.New(client.Config{URL: url, Policy: p, HTTP: m.cfg.HTTP, UserAgent: m.cfg.Agent})
}
