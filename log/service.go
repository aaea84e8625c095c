package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/sync/singleflight"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/verify/vouch/dsse"
)

// Defaults of [Config].
const (
	DefaultCheckpointInterval = time.Second
	DefaultRepublish          = 60 * time.Second
	DefaultBudget             = 600 // entries an hour of one chip, key or instance
	DefaultPublishTimeout     = 30 * time.Second
	batchSize                 = 256
	batchAge                  = 50 * time.Millisecond
	pollInterval              = 20 * time.Millisecond
	queueTimeout              = 10 * time.Second
	witnessTimeout            = 10 * time.Second // for the quorum's cosignatures on one checkpoint
	failingTimeout            = 5 * time.Second  // for publication at the end, where the last checkpoint could not be signed
)

// An Appraiser judges bundles: profile.Appraise.
type Appraiser func(profile.Input) (*verify.Appraisal, error)

// A Config says how a log is served. The zero value is safe; Software must be set.
type Config struct {
	Software string // name and version, for the config entry
	Guard    string // the guard file; empty is GuardPath

	Appraise Appraiser // nil is profile.Known's Appraise
	// SecondOpinion may refuse a bundle that passed its appraisal at a time; nil is profile.Known's SecondOpinion.
	SecondOpinion func(bundle []byte, at time.Time) error
	Now           func() time.Time // nil is time.Now
	Logger        *slog.Logger     // nil is slog.Default

	CheckpointInterval time.Duration // between checkpoints of a growing log: at least 100 ms; 0 is DefaultCheckpointInterval
	Republish          time.Duration // between checkpoints of an idle log, at most 60 s; 0 is DefaultRepublish

	// Collateral is asked for what judges fresh evidence; nil: publishers bring it themselves.
	Collateral Collateral
	// UnsafeWithoutCollateral judges fresh evidence without what is not to be had, at level 0 and only where the policy admits that, instead of
	// answering 503: revocation and security version are then unknown, and the entry says so.
	UnsafeWithoutCollateral bool

	// PublishTimeout is how long a submission waits for the checkpoint that covers its entry; 0 is DefaultPublishTimeout. The entry stays: the same
	// submission finds it later.
	PublishTimeout time.Duration

	Limits httpd.Config // what strangers can take; the service sets Refusal, Now and Logger
	Budget int          // entries an hour of one chip, key or instance; 0 is DefaultBudget
	// UnsafeUnlimited removes budgets and the limits of Limits: for benchmarks and laboratories.
	UnsafeUnlimited bool
}

func (c *Config) setDefaults(dir string) error {
	if c.Software == "" {
		return errors.New("log: no software name")
	}
	if c.Guard == "" {
		c.Guard = GuardPath(dir)
	}
	known := profile.NewKnown()
	if c.Appraise == nil {
		c.Appraise = known.Appraise
	}
	if c.SecondOpinion == nil {
		c.SecondOpinion = known.SecondOpinion
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.CheckpointInterval == 0 {
		c.CheckpointInterval = DefaultCheckpointInterval
	}
	if c.Republish == 0 {
		c.Republish = DefaultRepublish
	}
	if c.PublishTimeout == 0 {
		c.PublishTimeout = DefaultPublishTimeout
	}
	if c.Budget == 0 {
		c.Budget = DefaultBudget
	}
	if c.CheckpointInterval < 100*time.Millisecond || c.Republish > 60*time.Second || c.Republish < c.CheckpointInterval || c.PublishTimeout < c.CheckpointInterval ||
		c.Budget < 0 {
		return fmt.Errorf("log: checkpoints every %s, republished every %s, waited for %s, budget %d: want at least 100ms, at most 60s, not less than the first, and none negative",
			c.CheckpointInterval, c.Republish, c.PublishTimeout, c.Budget)
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
	policy *poclog.Policy
	file   []byte // of the policy
	blob   poclog.Blob
	least  []byte // the policy's file, admitting whatever is genuine

	publishers *dsse.Publishers // of the policy

	store     *store
	lost      *losses
	index     *index
	guard     *guard
	http      *httpd.Server
	budget    *budget
	metrics   *metrics
	disk      *disk
	published *publisher
	inflight  singleflight.Group
	appraisal chan struct{} // a token for each concurrent appraisal

	own      *tlogpolicy.Policy // policy.txt
	roster   *roster            // of its witnesses and auditors
	registry *registryState     // asks providers for their chips
	add      tessera.AddFn
	reader   tessera.LogReader
	shutdown func(context.Context) error
	cancel   context.CancelFunc
	unlock   []func() error

	closing    sync.Mutex // guards closed, and that no admission begins once it is set
	closed     bool
	admissions sync.WaitGroup
	refreshing sync.WaitGroup
	patrols    sync.WaitGroup
}

// Open starts a log that [Init] made. It takes the directory's lock, proves that the tiles hold what was signed last, reads all entries, and
// logs a config entry where policy or software changed.
func Open(ctx context.Context, dir string, cfg Config) (*Service, error) {
	if err := cfg.setDefaults(dir); err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, dir: dir, store: newStore(filepath.Join(dir, dirEvidence)), lost: newLosses(), index: newIndex(), http: httpd.New(cfg.Limits),
		disk: newDisk(dir), registry: newRegistryState(), appraisal: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	s.budget, s.metrics = newBudget(&cfg, s.http), newMetrics(s)
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("serve log %s: %w", dir, err), s.release(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *Service) start(ctx context.Context) error {
	ed25519, mldsa, err := signers(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no log here (%w): `poclog log init` makes one", err)
	}
	if err != nil {
		return err
	}
	s.origin = ed25519.Name()
	// Copies of one log that share a guard file are kept apart by its lock.
	for _, path := range []string{filepath.Join(s.dir, fileLock), s.cfg.Guard + ".lock"} {
		unlock, err := durable.TryLock(path)
		if errors.Is(err, durable.ErrLocked) {
			return fmt.Errorf("%s is locked: another process serves this log", path)
		}
		if err != nil {
			return err
		}
		s.unlock = append(s.unlock, unlock)
	}
	if err := s.store.sweep(); err != nil {
		return fmt.Errorf("prepare the evidence: %w", err)
	}
	witnesses, err := s.witnesses(ed25519, mldsa)
	if err != nil {
		return err
	}
	if err := s.loadPolicy(); err != nil {
		return err
	}
	if err := s.disk.check(); err != nil {
		return err
	}
	tiles := filepath.Join(s.dir, dirTiles)
	if s.guard, err = openGuard(ctx, s.cfg.Guard, ed25519, client.FileFetcher{Root: tiles}); err != nil {
		return err
	}
	if err := s.guard.checkState(ctx, tiles); err != nil {
		return err
	}
	if err := sweep(tiles); err != nil {
		return fmt.Errorf("remove what a full disk left: %w", err)
	}
	driver, err := posix.New(ctx, posix.Config{Path: tiles, HTTPClient: &http.Client{Timeout: witnessTimeout, Transport: s.roster}})
	if err != nil {
		return fmt.Errorf("open tiles: %w", err)
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(s.guard, mldsa).
		WithCheckpointInterval(s.cfg.CheckpointInterval).
		WithCheckpointRepublishInterval(s.cfg.Republish).
		WithBatching(batchSize, batchAge).
		WithWitnesses(witnesses, &tessera.WitnessOptions{Timeout: witnessTimeout})
	// Tessera's background work ends with cancel, not with the caller's context: a shutdown must still publish.
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	appender, shutdown, reader, err := tessera.NewAppender(background, driver, options)
	if err != nil {
		return fmt.Errorf("open tiles: %w", err)
	}
	s.add, s.shutdown, s.reader = appender.Add, shutdown, reader
	s.published = newPublisher(background, reader)
	if s.cfg.Collateral != nil {
		s.refreshing.Go(func() { s.cfg.Collateral.Run(background) })
	}
	go s.roster.follow(background, s.published)
	for _, c := range cosigners(s.roster, reader) {
		go c.follow(background, s.published)
	}
	if err := s.index.scan(ctx, reader, s.cfg.Logger); err != nil {
		return err
	}
	s.patrols.Go(func() { s.patrol(background) })
	return s.announce(ctx)
}

func (s *Service) loadPolicy() (err error) {
	if s.file, err = os.ReadFile(filepath.Join(s.dir, fileAppraisal)); err != nil {
		return err
	}
	if s.policy, err = poclog.ParsePolicy(s.file); err != nil {
		return fmt.Errorf("%s: %w", fileAppraisal, err)
	}
	if err := s.followPolicy(); err != nil {
		return fmt.Errorf("%s: %w", fileAppraisal, err)
	}
	if err := profile.CheckPolicy(s.policy); err != nil {
		return fmt.Errorf("%s: %w", fileAppraisal, err)
	}
	if s.least, err = leastPolicy(s.policy); err != nil {
		return err
	}
	if s.publishers, err = dsse.New(s.policy.Publishers); err != nil {
		return fmt.Errorf("%s: %w", fileAppraisal, err)
	}
	s.blob, err = s.store.put(s.file)
	return err
}

// followPolicy makes the challenge policy follow policy.txt, in the file, too: it is the policy in force.
func (s *Service) followPolicy() error {
	changed, err := challengePolicy(s.policy, s.own)
	if err != nil || !changed {
		return err
	}
	if s.file, err = s.policy.Marshal(); err != nil {
		return err
	}
	s.cfg.Logger.Info("the challenge policy follows "+filePolicy, "quorum", s.own.Quorum())
	return durable.Replace(filepath.Join(s.dir, fileAppraisal), s.file, 0o644)
}

// announce appends a config entry where policy or software is not that of the newest one: a policy takes effect only through its entry.
func (s *Service) announce(ctx context.Context) error {
	c := poclog.Config{Policy: s.blob, Software: s.cfg.Software}
	if last := s.index.last; last != nil && last.Policy == c.Policy && last.Software == c.Software {
		return nil
	}
	if err := s.rightClocks(ctx); err != nil {
		return fmt.Errorf("log the config entry: %w", err)
	}
	c.Time = poclog.UnixTime(s.cfg.Now().Unix())
	leaf, err := c.Marshal()
	if err != nil {
		return err
	}
	number, _, err := s.append(ctx, leaf, poclog.Leaf{Config: &c})
	if err != nil {
		return fmt.Errorf("log the config entry: %w", err)
	}
	s.cfg.Logger.Info("policy in force", "entry", number, "policy", c.Policy.SHA256, "software", c.Software)
	return nil
}

// rightClocks waits until the published checkpoint shows that the witnesses' clocks are right. One that was published before the log was started may show
// what was mended since: the next comes soon.
func (s *Service) rightClocks(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Republish+s.cfg.PublishTimeout)
	defer cancel()
	for {
		base, changed := s.published.base()
		s.roster.published(base)
		if err = s.roster.clocks(); err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return err
		}
	}
}

// append adds a leaf, which the index knows as soon as it is in the tree, and waits until a published checkpoint covers it. Where publication
// takes too long, a later submission of the same evidence finds the leaf.
func (s *Service) append(ctx context.Context, leaf []byte, parsed poclog.Leaf) (number uint64, checkpoint []byte, err error) {
	future := s.add(ctx, tessera.NewEntry(leaf))
	// The future blocks without a context: Tessera settles it within a batch.
	type settled struct {
		number uint64
		err    error
	}
	done := make(chan settled, 1)
	go func() {
		i, err := future()
		if err == nil {
			s.index.add(i.Index, parsed)
		}
		done <- settled{i.Index, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PublishTimeout)
	defer cancel()
	select {
	case got := <-done:
		if got.err != nil {
			return 0, nil, got.err
		}
		number = got.number
	case <-ctx.Done():
		return 0, nil, fmt.Errorf("the tree did not take the entry within %s: %w", s.cfg.PublishTimeout, context.Cause(ctx))
	}
	if err := httpd.Wait(ctx); err != nil {
		return 0, nil, err
	}
	checkpoint, err = s.covering(ctx, number)
	return number, checkpoint, err
}

// covering returns the first published checkpoint that it sees of a tree with an entry. The error names the witnesses that the log waits for.
func (s *Service) covering(ctx context.Context, number uint64) ([]byte, error) {
	checkpoint, err := s.published.wait(ctx, number+1)
	if who := s.roster.waiting(); err != nil && who != "" {
		err = fmt.Errorf("no checkpoint of size %d is published%s", number+1, who)
	}
	return checkpoint, err
}

// Origin returns the log's name.
func (s *Service) Origin() string { return s.origin }

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

// Close stops admission, waits until what was admitted is published and answered, and releases the directory. Where the context ends first it
// still releases; what was admitted is in the log.
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
	if s.shutdown != nil {
		err = s.settle(ctx)
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.refreshing.Wait()
	s.patrols.Wait()
	for _, unlock := range s.unlock {
		err = errors.Join(err, unlock())
	}
	return err
}

// settle waits until what is in the tree is published; not for long where signing fails.
func (s *Service) settle(ctx context.Context) error {
	_, _, failing := s.guard.state()
	if failing != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, failingTimeout)
		defer cancel()
	}
	err := s.shutdown(ctx)
	if err != nil && failing != nil {
		return fmt.Errorf("what was admitted stays in the tree, to be published after the next start: %w", failing)
	}
	return err
}

// A publisher watches the published checkpoint.
type publisher struct {
	mu         sync.Mutex // guards what follows
	published  []byte     // as Tessera published it
	checkpoint []byte     // with the cosignatures that came since
	size       uint64
	seen       time.Time     // when this checkpoint was first read
	err        error         // of the last read
	changed    chan struct{} // closed when any of it changes
}

func newPublisher(ctx context.Context, r tessera.LogReader) *publisher {
	p := &publisher{changed: make(chan struct{})}
	p.poll(ctx, r)
	go func() {
		tick := time.NewTicker(pollInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.poll(ctx, r)
			}
		}
	}()
	return p
}

func (p *publisher) poll(ctx context.Context, r tessera.LogReader) {
	b, err := r.ReadCheckpoint(ctx)
	var cp tlogpolicy.Checkpoint
	if err == nil {
		cp, err = tlogpolicy.ParseCheckpoint(b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err = err; err != nil || string(b) == string(p.published) {
		return
	}
	p.published, p.checkpoint, p.size, p.seen = b, b, cp.Size, time.Now()
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait returns the first published checkpoint of at least a size that it sees.
func (p *publisher) wait(ctx context.Context, size uint64) ([]byte, error) {
	for {
		p.mu.Lock()
		checkpoint, have, changed := p.checkpoint, p.size, p.changed
		p.mu.Unlock()
		if have >= size && checkpoint != nil {
			return checkpoint, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("no checkpoint of size %d was published: %w", size, context.Cause(ctx))
		}
	}
}

// base returns the checkpoint as it was published, and what is closed when another is.
func (p *publisher) base() ([]byte, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.published, p.changed
}

// augment adds signature lines to a checkpoint, if it is still the published one.
func (p *publisher) augment(base []byte, lines [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Equal(base, p.published) {
		return
	}
	// Whoever reads the checkpoint holds the old slice.
	more := bytes.Clone(p.checkpoint)
	for _, l := range lines {
		more = append(more, l...)
	}
	p.checkpoint = more
}

// latest returns the published checkpoint, or nil before the first.
func (p *publisher) latest() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.checkpoint
}

func (p *publisher) state() (size uint64, seen time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size, p.seen, p.err
}
