package log

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/folder"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// Defaults of [Config].
const (
	DefaultCheckpointInterval = time.Second
	DefaultRepublish          = 60 * time.Second
	DefaultBudget             = 600     // entries an hour of one chip, key or instance
	DefaultStatements         = 6000    // entries an hour of one registrar
	DefaultEvidence           = 4 << 30 // bytes of evidence kept an hour
	DefaultPublishTimeout     = 30 * time.Second
	DefaultDrain              = 5 * time.Second
	bodyCopies                = 4 // a body, what it decodes to, and what its parts are parsed to
	builders                  = 4 // dossiers that are built at a time, each some megabytes
	batchSize                 = 256
	batchAge                  = 50 * time.Millisecond
	queueTimeout              = 10 * time.Second
	witnessTimeout            = 10 * time.Second // for the quorum's cosignatures on one checkpoint
	failingTimeout            = 5 * time.Second  // for publication at the end, where the last checkpoint could not be signed
)

// An Appraiser judges bundles: profile.Appraise.
type Appraiser func(profile.Input) (*verify.Appraisal, error)

// A Config says how a log is served. The zero value is safe; Software must be set.
type Config struct {
	Software string // name and version, for the config entry
	Guard    string // the guard file of a log in a folder; empty is GuardPath

	Appraise Appraiser // nil is profile.Known's Appraise
	Genuine  Appraiser // nil is profile.Known's Genuine
	// SecondOpinion may refuse a bundle that passed its appraisal at a time; nil is profile.Known's
	// SecondOpinion.
	SecondOpinion func(b *poclog.Bundle, at time.Time) error
	Now           func() time.Time // nil is time.Now
	Logger        *slog.Logger     // nil is slog.Default

	CheckpointInterval time.Duration // between checkpoints of a growing log: at least 100 ms; 0 is DefaultCheckpointInterval
	IndexInterval      time.Duration // between index entries of a growing log; 0 is DefaultIndexInterval
	Republish          time.Duration // between checkpoints of an idle log, at most 60 s; 0 is DefaultRepublish

	// Collateral is asked for what judges fresh evidence; nil: publishers bring it themselves.
	Collateral Collateral
	// UnsafeWithoutCollateral judges fresh evidence without what is not to be had, at level 0 and
	// only where the policy admits that, instead of answering 503: revocation and security version
	// are then unknown, and the entry says so.
	UnsafeWithoutCollateral bool

	// PublishTimeout is how long a submission waits for the checkpoint that covers its entry; 0 is
	// DefaultPublishTimeout. The entry stays: the same submission finds it later.
	PublishTimeout time.Duration

	// Drain is how long a front end that is stopped goes on to serve, and says that it is not ready:
	// who sends requests sends them to others meanwhile. A log in a folder has no others, and stops at
	// once.
	Drain time.Duration

	Go *page.GoVerifier // with which browsers check again; nil: the page says that there is none

	Limits     httpd.Config // what strangers can take; the service sets Refusal, Now and Logger
	Budget     int          // entries an hour of one chip, key or instance, which addresses share; 0 is DefaultBudget
	Evidence   int64        // bytes of evidence that are kept in an hour, which addresses share; 0 is DefaultEvidence
	Statements int          // entries an hour of one registrar, which addresses share; 0 is DefaultStatements. Only its members' signatures spend it
	// UnsafeUnlimited removes budgets and the limits of Limits: for benchmarks and laboratories.
	UnsafeUnlimited bool
}

func (c *Config) setDefaults() error {
	if c.Software == "" {
		return errors.New("log: no software name")
	}
	known := profile.NewKnown()
	if c.Appraise == nil {
		c.Appraise = known.Appraise
	}
	if c.Genuine == nil {
		c.Genuine = known.Genuine
	}
	if c.SecondOpinion == nil {
		c.SecondOpinion = known.SecondOpinion
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.CheckpointInterval = cmp.Or(c.CheckpointInterval, DefaultCheckpointInterval)
	c.IndexInterval = cmp.Or(c.IndexInterval, DefaultIndexInterval)
	c.Republish = cmp.Or(c.Republish, DefaultRepublish)
	c.PublishTimeout = cmp.Or(c.PublishTimeout, DefaultPublishTimeout)
	c.Budget = cmp.Or(c.Budget, DefaultBudget)
	c.Statements = cmp.Or(c.Statements, DefaultStatements)
	c.Evidence = cmp.Or(c.Evidence, DefaultEvidence)
	c.Limits.Copies = cmp.Or(c.Limits.Copies, bodyCopies)
	if c.CheckpointInterval < 100*time.Millisecond || c.Republish > 60*time.Second || c.Republish < c.CheckpointInterval || c.PublishTimeout < c.CheckpointInterval ||
		c.Budget < 0 || c.Evidence < 0 || c.Statements < 0 || c.Drain < 0 {
		return fmt.Errorf("log: checkpoints every %s, republished every %s, waited for %s, budget %d, evidence %d, statements %d, drain %s: want at least 100ms, at most 60s, not less than the first, and none negative",
			c.CheckpointInterval, c.Republish, c.PublishTimeout, c.Budget, c.Evidence, c.Statements, c.Drain)
	}
	c.Limits.Refusal, c.Limits.Now, c.Limits.Logger = refusal, c.Now, c.Logger
	c.Limits.UnsafeUnlimited = c.Limits.UnsafeUnlimited || c.UnsafeUnlimited
	return nil
}

// A Service serves one log. Its methods may be called concurrently.
type Service struct {
	cfg    Config
	dir    string
	origin string
	rules  *rules

	store      *store.Store
	lost       *losses
	duplicates duplicates
	http       *httpd.Server
	budget     *budget
	metrics    *metrics
	recheck    *page.GoAssets // nil: there is no Go verifier
	home       home

	tree       *tree
	published  *publisher
	indexer    *indexer
	statements *statements
	roster     *roster // of the witnesses and auditors
	opening    opening // why nothing is admitted yet

	inflight  singleflight.Group
	building  *httpd.Turns      // of dossiers
	appraisal *httpd.Turns      // as many as are judged at a time
	parsed    func(what string) // is told what is parsed, for tests
	registry  *registryState    // asks providers for their chips

	unlock  func() error       // of the store; nil: it is not locked
	cancel  context.CancelFunc // ends what is running
	running sync.WaitGroup

	stopping   atomic.Bool // whether it is stopped, and still serves
	closing    sync.Mutex  // guards closed, and that no admission begins once it is set
	closed     bool
	admissions sync.WaitGroup
}

// Open starts a log that [Init] made. It takes the directory's lock, proves that the tiles hold
// what was signed last, reads the entries since it was closed, and logs a config entry where policy
// or software changed. A log that cannot be written to, or not be published, is opened and only
// read: it admits as soon as it can, and its health says what it waits for. A log of the store
// mysqls3 can be opened by any number of processes, each with a directory of its own that has the
// same keys, policy.txt, appraisal.json and store.json.
func Open(ctx context.Context, dir string, cfg Config) (*Service, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	kept, err := openStore(ctx, dir, folder.Options{Guard: cfg.Guard, Interval: cfg.CheckpointInterval, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("serve log %s: %w", dir, err)
	}
	if cfg.CheckpointInterval < kept.MinInterval {
		return nil, errors.Join(fmt.Errorf("serve log %s: checkpoints every %s: the store wants at least %s", dir, cfg.CheckpointInterval, kept.MinInterval), kept.Close())
	}
	s := &Service{
		cfg: cfg, dir: dir, store: kept, lost: newLosses(), http: httpd.New(cfg.Limits),
		recheck: cfg.Go.Assets(), registry: newRegistryState(), building: httpd.NewTurns(builders, builders/2), appraisal: httpd.NewTurns(runtime.GOMAXPROCS(0), runtime.GOMAXPROCS(0)), parsed: func(string) {},
	}
	if s.indexer, s.duplicates = newIndexer(s), newDuplicates(s); kept.Known != nil {
		s.duplicates = newSharedDuplicates(s)
	}
	s.statements = newStatements(s)
	s.budget, s.metrics = newBudget(&cfg, s.http), newMetrics(s)
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("serve log %s: %w", dir, err), s.release(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// enter begins an admission, unless the log is shutting down; admissions.Done ends it.
func (s *Service) enter() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return refuse(kindUnavailable, "the log is shutting down")
	}
	s.admissions.Add(1)
	return nil
}

// Close stops admission, waits until what was admitted is published and answered, and releases the
// directory. Where the context ends first it still releases; what was admitted is in the log.
func (s *Service) Close(ctx context.Context) error {
	s.closing.Lock()
	closed := s.closed
	s.closed = true
	s.closing.Unlock()
	if closed {
		return nil
	}
	answered := make(chan struct{})
	go func() { s.admissions.Wait(); close(answered) }()
	var err error
	select {
	case <-answered:
	case <-ctx.Done():
		err = fmt.Errorf("close log %s: submissions are still being answered: %w", s.origin, context.Cause(ctx))
	}
	return errors.Join(err, s.release(ctx))
}

func (s *Service) release(ctx context.Context) (err error) {
	s.opening.close()
	if s.tree != nil {
		err = s.tree.close(ctx)
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.running.Wait()
	err = errors.Join(err, s.store.Close(), s.duplicates.close())
	if s.unlock != nil {
		err = errors.Join(err, s.unlock())
	}
	return err
}
