package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/log/store"
)

// Times of a start.
const (
	startPatience = 10 * time.Second // in which a log should be ready to admit; it goes on trying after it
	startAgain    = time.Second      // after a failure
)

// start takes the directory, reads what is there, and proves it. What contradicts is an error. What
// may get well by itself, such as a full disk or a witness that does not answer, keeps the log from
// admitting until it does: it reads meanwhile.
func (s *Service) start(ctx context.Context) error {
	ed25519, mldsa, err := signers(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no log here (%w): `poclog log init` makes one", err)
	}
	if err != nil {
		return err
	}
	s.origin = ed25519.Name()
	unlock, err := s.store.Lock()
	if err != nil {
		return err
	}
	s.unlock = unlock
	if s.rules, err = loadRules(s.dir, ed25519, mldsa); err != nil {
		return err
	}
	if err := s.prove(ctx, ed25519, mldsa); err != nil {
		return err
	}
	// What runs in the background ends with cancel, not with the caller's context: a shutdown must
	// still publish.
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.published = newPublisher(background, s.store.Poll, s.tree.ReadCheckpoint)
	s.accompany(background)
	s.opening.begin(background, s.admitting, s.lostTree, func(err error) { s.cfg.Logger.Error("the log admits nothing yet", "error", err) })
	return nil
}

// prove opens the tree for reading, and proves that it is what was signed last.
func (s *Service) prove(ctx context.Context, ed25519, mldsa note.Signer) error {
	q, err := newQuorum(s.rules.own)
	if err != nil {
		return fmt.Errorf("%s: %w", filePolicy, err)
	}
	if single := s.rules.own.SinglePointsOfFailure(); len(single) > 0 {
		s.cfg.Logger.Warn("one outage stops publication: the quorum needs each of these witnesses", "witnesses", strings.Join(single, " "))
	}
	s.roster = newRoster(s.rules.own, s.cfg.Logger, s.cfg.Now)
	s.tree = &tree{
		Reader: store.Reader{Tiles: s.store.Tiles}, signers: []note.Signer{mldsa}, witnesses: q.group(), asking: s.roster,
		interval: s.cfg.CheckpointInterval, republish: s.cfg.Republish,
	}
	s.tree.proofs = newProofTiles(s.tree.ReadTile)
	if s.tree.guard, err = openGuard(ctx, s.store, ed25519, s.tree); err != nil {
		return err
	}
	return s.tree.guard.checkState(ctx, s.tree)
}

// accompany begins what runs beside admission.
func (s *Service) accompany(ctx context.Context) {
	if s.cfg.Collateral != nil {
		s.running.Go(func() { s.cfg.Collateral.Run(ctx) })
	}
	s.running.Go(func() { s.roster.follow(ctx, s.published) })
	for _, c := range cosigners(s.roster, s.store, s.tree) {
		s.running.Go(func() { c.follow(ctx, s.published) })
	}
	s.running.Go(func() { s.patrol(ctx) })
	s.running.Go(func() { s.keepCheckpoints(ctx) })
	s.running.Go(func() { s.indexer.run(ctx) })
	s.running.Go(func() { s.duplicates.run(ctx) })
}

// admitting makes the log ready to admit: the disk can be written to, the tree is open, what was
// submitted before is known, and the policy is in force. Each step is made once, and again if it
// failed.
func (s *Service) admitting(ctx context.Context) error {
	known := s.duplicates.open(ctx) // also where the disk cannot be written to
	if err := s.store.Writable(); err != nil {
		return err
	}
	if known != nil {
		return known
	}
	if err := s.store.Prepare(); err != nil {
		return fmt.Errorf("prepare the evidence: %w", err)
	}
	if err := s.rules.keep(s.dir, s.cfg.Logger); err != nil {
		return err
	}
	if _, err := s.store.Evidence.Put(ctx, s.rules.file); err != nil {
		return err
	}
	if err := s.store.Join(ctx, poclog.Sum(s.rules.file)); err != nil {
		return err
	}
	if err := s.tree.open(ctx); err != nil {
		return err
	}
	size, err := s.tree.IntegratedSize(ctx)
	if err != nil {
		return err
	}
	if err := s.duplicates.open(ctx); err != nil { // Tessera may have integrated more
		return err
	}
	s.published.want(size)
	s.statements.begin(size)
	s.published.poll(ctx, s.tree.ReadCheckpoint) // a new log has its first checkpoint now
	return s.announce(ctx)
}

// lostTree gives up a tree that has to be opened for writing again, and returns why.
func (s *Service) lostTree() error {
	err := s.store.Lost()
	if err != nil {
		err = errors.Join(err, s.tree.abandon())
	}
	return err
}

// announce appends a config entry where policy or software is not that of the newest one: a policy
// takes effect only through its entry. Of front ends that start at one time one appends it.
func (s *Service) announce(ctx context.Context) error {
	c := poclog.Config{Policy: poclog.BlobOf(s.rules.file), Software: s.cfg.Software}
	if done, err := s.announced(ctx, &c); done || err != nil {
		return err
	}
	if err := s.rightClocks(ctx); err != nil {
		return fmt.Errorf("log the config entry: %w", err)
	}
	waiting, cancel := context.WithTimeout(ctx, s.cfg.PublishTimeout)
	defer cancel()
	release, next, err := s.store.Turn(waiting, "config")
	if err != nil {
		return fmt.Errorf("log the config entry: %w", err)
	}
	if done, err := s.announcedBelow(waiting, next, &c); done || err != nil {
		release()
		return err
	}
	c.Time = poclog.UnixTime(s.cfg.Now().Unix())
	leaf, err := c.Marshal()
	if err != nil {
		release()
		return err
	}
	number, _, err := s.append(ctx, leaf, poclog.Leaf{Config: &c}, settles(release))
	if err != nil {
		return fmt.Errorf("log the config entry: %w", err)
	}
	s.cfg.Logger.Info("policy in force", "entry", number, "policy", c.Policy.SHA256, "software", c.Software)
	return nil
}

// announced reports whether the newest config entry has this policy and software.
func (s *Service) announced(ctx context.Context, c *poclog.Config) (bool, error) {
	last, err := s.duplicates.config(ctx)
	return last != nil && last.Policy == c.Policy && last.Software == c.Software, err
}

// announcedBelow is announced once the entries below a number are known.
func (s *Service) announcedBelow(ctx context.Context, next uint64, c *poclog.Config) (bool, error) {
	for {
		size, err := s.tree.IntegratedSize(ctx)
		if err != nil {
			return false, err
		}
		if size >= next {
			break
		}
		select {
		case <-time.After(s.store.Poll):
		case <-ctx.Done():
			return false, fmt.Errorf("the tree has %d entries of %d: %w", size, next, context.Cause(ctx))
		}
	}
	if err := s.duplicates.open(ctx); err != nil {
		return false, err
	}
	return s.announced(ctx, c)
}

// settles gives a turn back once it is certain what became of a leaf.
func settles(release func()) func(uint64, error) {
	return func(_ uint64, err error) {
		if err == nil {
			release()
			return
		}
		time.AfterFunc(uncertain, release) // it may get a number yet
	}
}

// rightClocks waits until the published checkpoint shows that the witnesses' clocks are right. One
// that was published before the log was started may show what was mended since: the next comes
// soon.
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

// append adds a leaf, calls settled once it is certain what became of it, and waits until a
// published checkpoint covers it. Settled is called once, perhaps after append returned. Where
// publication takes too long, a later submission of the same evidence finds the leaf.
func (s *Service) append(ctx context.Context, leaf []byte, parsed poclog.Leaf, settled func(uint64, error)) (number uint64, checkpoint []byte, err error) {
	add, gone := s.tree.appender()
	if add == nil {
		s.unclaim(parsed.Proof)
		settled(0, errNotOpen)
		return 0, nil, errNotOpen
	}
	future := add(ctx, tessera.NewEntry(leaf))
	// The future blocks without a context: Tessera settles it within a batch.
	type sequenced struct {
		number uint64
		err    error
	}
	done := make(chan sequenced, 1)
	go func() {
		i, err := await(future, gone)
		if err == nil {
			s.duplicates.settle(i.Index, parsed)
			s.published.want(i.Index + 1)
		} else {
			s.unclaim(parsed.Proof)
		}
		settled(i.Index, err)
		done <- sequenced{i.Index, err}
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
	checkpoint, err = s.covering(ctx, number)
	return number, checkpoint, err
}

var errNotOpen = errors.New("the tree cannot be written yet")

var errGone = errors.New("the tree was opened anew: whether it took the entry shows in the log")

// await waits for the number of a leaf, as long as it is queued.
func await(future tessera.IndexFuture, gone <-chan struct{}) (tessera.Index, error) {
	type result struct {
		tessera.Index
		err error
	}
	got := make(chan result, 1)
	go func() {
		i, err := future()
		got <- result{i, err}
	}()
	select {
	case r := <-got:
		return r.Index, r.err
	case <-gone:
		return tessera.Index{}, errGone
	}
}

// nothing is for leaves of which nobody waits to know their numbers.
func nothing(uint64, error) {}

// unclaim ends the claim on the evidence of an entry that is not appended.
func (s *Service) unclaim(e *poclog.Entry) {
	if e != nil {
		s.duplicates.release(e)
	}
}

// covering returns the first published checkpoint that it sees of a tree with an entry. The error
// names the witnesses that the log waits for.
func (s *Service) covering(ctx context.Context, number uint64) ([]byte, error) {
	if size, _, _ := s.published.state(); size <= number {
		if err := httpd.Wait(ctx); err != nil {
			return nil, err
		}
	}
	checkpoint, err := s.published.wait(ctx, number+1)
	if who := s.roster.waiting(); err != nil && who != "" {
		err = fmt.Errorf("no checkpoint of size %d is published%s", number+1, who)
	}
	return checkpoint, err
}

// opening is work that is tried until it is done, and again when what it did is lost.
type opening struct {
	stop  context.CancelFunc
	ended chan struct{}

	mu   sync.Mutex // guards what follows
	done bool
	err  error // of the last try
}

// begin tries until the work is done, and goes on with it when it is lost, until close. It returns
// once the work was done, or failed once, or took startPatience.
func (o *opening) begin(ctx context.Context, work func(context.Context) error, lost func() error, report func(error)) {
	o.err = errors.New("the log is starting")
	ctx, o.stop = context.WithCancel(ctx)
	o.ended = make(chan struct{})
	tried := make(chan struct{}, 1)
	go func() {
		defer close(o.ended)
		told := ""
		for {
			err := o.try(ctx, work, lost)
			if err != nil && err.Error() != told && ctx.Err() == nil {
				report(err)
			}
			if told = ""; err != nil {
				told = err.Error()
			}
			select {
			case tried <- struct{}{}:
			default:
			}
			if pause.For(ctx, startAgain) != nil {
				return
			}
		}
	}()
	select {
	case <-o.ended:
	case <-tried:
	case <-time.After(startPatience):
	}
}

// try does the work, if it is not done or was lost.
func (o *opening) try(ctx context.Context, work func(context.Context) error, lost func() error) error {
	err := o.state()
	if err == nil {
		if err = lost(); err == nil {
			return nil
		}
		o.set(err)
		return err
	}
	err = work(ctx)
	o.set(err)
	return err
}

func (o *opening) set(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done, o.err = err == nil, err
}

// state is why the work is not done, or nil.
func (o *opening) state() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return nil
	}
	return o.err
}

// close ends the tries, and waits for the last.
func (o *opening) close() {
	if o.stop != nil {
		o.stop()
		<-o.ended
	}
}
