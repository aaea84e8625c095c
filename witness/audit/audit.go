// Package audit is the auditor of Proof-of-Cloud logs: a cosigner whose cosignature on a checkpoint
// states that every entry of its tree was recomputed from the evidence that the log keeps, byte for
// byte, and that the log's own assertions lie within their bounds.
//
// An auditor is a witness (https://c2sp.org/tlog-witness) with a gate, and has a name and keys of
// its own: it answers add-checkpoint like a witness, but only once it has fetched and re-verified
// every entry of the tree. Until then it answers 503 with Retry-After, and goes on in the
// background. It also follows the logs by itself. What it refuses it reports with entry, check and
// detail, see [Report]; it never cosigns a tree that contains a refused entry, and goes on serving
// what it cosigned before.
//
// It has two names, and keys for each (docs/format.md §9.1). Its own keys sign a tree only if it
// verified every entry from evidence that it saw. Entries whose evidence the log withheld by law
// (451) before it was seen are listed in a note of exceptions, and keys named <name>/except sign
// the tree and the note. Such an entry is still held to what its leaf and the policy show, and is
// looked at again now and then.
//
// Of each proof entry it checks, in this order: its form; that the policy in force judged it; that
// bundle, collateral and policy are to be had and have the digests that it names; that the time of
// appraisal lies within its bounds (docs/format.md §7); and that appraising again gives the same
// leaf. Any absence of a file but 451 is the log's fault and refuses the entry.
//
// What was audited is durable batch by batch, with the checkpoint under which it was: a restarted
// auditor goes on from there, and every later checkpoint must be proven to extend that one.
//
// It does not say that the evidence is true beyond what the appraisal checks, that what the log
// withheld was right, or that entries which it never saw do not exist. Index entries are
// recomputed: each must have the root that the entries before it give. It asks no registry: of what
// only the log saw, the log's record is judged. Tests in this package are the evidence.
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/witness"
)

// Defaults of [Config].
const (
	DefaultInterval = 10 * time.Second // between two looks at a log
	DefaultRefresh  = time.Minute      // after which an unchanged checkpoint is cosigned again
	DefaultWait     = 5 * time.Second  // that add-checkpoint waits for the audit
)

// An Appraiser judges bundles: profile.Appraise.
type Appraiser func(profile.Input) (*verify.Appraisal, error)

// A Config holds what can be chosen when an auditor starts. The zero value is safe.
type Config struct {
	Appraise Appraiser        // nil is profile.Appraise
	Clock    func() time.Time // nil is time.Now
	Logger   *slog.Logger     // nil is slog.DiscardHandler
	HTTP     *http.Client     // asks the logs; nil is http.DefaultTransport
	Agent    string           // of the requests: "" is "poclog"

	Interval time.Duration // between two looks at a log; 0 is DefaultInterval
	Refresh  time.Duration // after which an unchanged checkpoint is cosigned again; 0 is DefaultRefresh
	Wait     time.Duration // that add-checkpoint waits for the audit, at most 20 s; 0 is DefaultWait
	Parallel int           // entries at once; 0 is twice GOMAXPROCS

	Limits httpd.Config // what strangers can take, see [witness.Config]
}

// maxWait is below the time that a log gives a cosigner.
const maxWait = 20 * time.Second

func (c *Config) setDefaults() error {
	if c.Interval < 0 || c.Refresh < 0 || c.Wait < 0 || c.Wait > maxWait || c.Parallel < 0 {
		return fmt.Errorf("audit: interval %s, refresh %s, wait %s, parallel %d: want none negative and a wait of at most %s",
			c.Interval, c.Refresh, c.Wait, c.Parallel, maxWait)
	}
	if c.Appraise == nil {
		c.Appraise = profile.NewKnown().Appraise
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Interval, c.Refresh, c.Wait = cmp.Or(c.Interval, DefaultInterval), cmp.Or(c.Refresh, DefaultRefresh), cmp.Or(c.Wait, DefaultWait)
	c.Parallel = cmp.Or(c.Parallel, 2*runtime.GOMAXPROCS(0))
	return nil
}

// An Auditor audits the logs it knows and cosigns what passed. It is safe for concurrent use. Two
// processes on one folder audit twice, and never contradict each other.
type Auditor struct {
	cfg     Config
	dir     string
	state   *state
	witness *witness.Witness // signs what was verified whole
	except  *witness.Witness // signs what was verified but for exceptions

	background context.Context // of audits: they outlive the request that began them
	stop       context.CancelFunc
	running    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	runs    map[string]*run
	indexes map[string]*indexmap.Map // by origin, as far as they were needed
	refused map[string]refusal       // the latest, by origin
	trouble map[string]string        // by origin: why the last look or audit could not decide; absent after one that could
	notes   map[string]note          // of exceptions, the latest of each log, by origin
}

// What is in the folder beside the files of the witness.
const (
	stateFile    = "audit.db" // what was audited
	exceptFolder = "except"   // of the witness that signs trees with exceptions
)

// Init makes the folder of a new auditor: its name, an Ed25519 and an ML-DSA-44 key, the same for
// trees with exceptions, and an empty state. It replaces nothing. The name should be a URL without
// scheme and differ from every witness's.
func Init(dir, name string) error {
	if strings.HasSuffix(name, poclog.ExceptSuffix) {
		return fmt.Errorf("name %q: %s ends the name of an auditor's keys for exceptions", name, poclog.ExceptSuffix)
	}
	if err := witness.InitGated(dir, name); err != nil {
		return err
	}
	if err := witness.InitGated(filepath.Join(dir, exceptFolder), name+poclog.ExceptSuffix); err != nil {
		return err
	}
	if err := sqlite.Create(filepath.Join(dir, stateFile), schema); err != nil {
		return fmt.Errorf("create the audit state: %w", err)
	}
	return nil
}

// Open opens the auditor that Init made in a folder. Nothing is audited before Serve or a
// request.
func Open(dir string, cfg Config) (*Auditor, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	s, err := openState(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	a := &Auditor{
		cfg: cfg, dir: dir, state: s, runs: make(map[string]*run), indexes: make(map[string]*indexmap.Map),
		refused: make(map[string]refusal), trouble: make(map[string]string), notes: make(map[string]note),
	}
	a.background, a.stop = context.WithCancel(context.Background())
	a.witness, err = witness.Open(dir, witness.Config{Clock: cfg.Clock, Logger: cfg.Logger, Limits: cfg.Limits, Before: a.gate})
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	a.except, err = witness.Open(filepath.Join(dir, exceptFolder), witness.Config{Clock: cfg.Clock, Logger: cfg.Logger, Before: a.gateExcept})
	if err != nil {
		return nil, errors.Join(err, a.witness.Close(), s.close())
	}
	a.witness.HTTP().Metrics().MustRegister(auditMetrics(a))
	return a, nil
}

// Close ends the audits that are running, and closes the state. What was audited stays on record.
func (a *Auditor) Close() error {
	a.stop()
	a.running.Wait()
	errs := []error{a.witness.Close(), a.except.Close(), a.state.close()}
	for _, m := range a.indexes {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// VKeys returns the verifier keys, Ed25519 first.
func (a *Auditor) VKeys() []string { return a.witness.VKeys() }

// ExceptVKeys returns the verifier keys for trees with exceptions, Ed25519 first.
func (a *Auditor) ExceptVKeys() []string { return a.except.VKeys() }

// Keys returns the verifier keys of the auditor in a folder, and those for exceptions, Ed25519
// first.
func Keys(dir string) (own, except []string, err error) {
	if own, err = witness.Keys(dir); err != nil {
		return nil, nil, err
	}
	except, err = witness.Keys(filepath.Join(dir, exceptFolder))
	return own, except, err
}

// AddLog makes the auditor audit the log at a URL. The text is the log's tlog-policy: all its log
// lines must be of one origin; its quorum is what the auditor wants on checkpoints that it fetches
// by itself, and its witnesses' times bound the entries'. A log that is known gets the new URL and
// policy and keeps what was audited; its keys stay known.
func (a *Auditor) AddLog(ctx context.Context, url, policy string) (origin string, err error) {
	p, err := tlogpolicy.Parse([]byte(policy))
	if err != nil {
		return "", fmt.Errorf("add log: %w", err)
	}
	var keys []string
	for _, l := range p.Logs() {
		if origin != "" && l.Origin != origin {
			return "", fmt.Errorf("add log: the tlog-policy lists two logs, %q and %q: want one", origin, l.Origin)
		}
		origin = l.Origin
		keys = append(keys, l.VKey)
	}
	if origin == "" {
		return "", errors.New("add log: the tlog-policy lists no log")
	}
	if _, err := a.client(url, p); err != nil {
		return "", fmt.Errorf("add log %q: %w", origin, err)
	}
	if err := a.state.addLog(ctx, origin, url, policy); err != nil {
		return "", err
	}
	return origin, errors.Join(a.witness.AddLog(ctx, keys...), a.except.AddLog(ctx, keys...))
}

// RemoveLog makes the auditor leave a log alone. What was audited and cosigned stays on record and
// is served.
func (a *Auditor) RemoveLog(ctx context.Context, origin string) error {
	for _, w := range []*witness.Witness{a.witness, a.except} {
		if err := w.RemoveLog(ctx, origin); err != nil {
			return err
		}
	}
	return a.state.removeLog(ctx, origin)
}

func (a *Auditor) client(url string, p *tlogpolicy.Policy) (*client.Client, error) {
	return client.New(client.Config{URL: url, Policy: p, HTTP: a.cfg.HTTP, UserAgent: a.cfg.Agent})
}
