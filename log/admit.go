package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// An admission is the answer to a submission.
type admission struct {
	receipt []byte
	isNew   bool
	number  uint64
}

// admit judges a submission and logs it, in the order: publishers, collateral, appraisal,
// duplicate, withheld, budget, disk, evidence, append, publication. What was returned is never lost.
func (s *Service) admit(ctx context.Context, sub *poclog.Submission) (*admission, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.admissions.Done()
	if _, err := s.rules.publishers.Verify(sub.Envelope, sub.Bundle); err != nil {
		return s.late(ctx, sub, err)
	}
	r, err := s.read(sub)
	if err != nil {
		return s.late(ctx, sub, err)
	}
	if err := s.withCollateral(ctx, r); err != nil {
		return s.late(ctx, sub, err)
	}
	a, err := s.appraise(ctx, r)
	if err != nil {
		return s.late(ctx, sub, err)
	}
	e := &a.Entry
	// What is once begun is finished, whether its submitter waits or not: others may.
	ctx = context.WithoutCancel(ctx)
	key := ownKey(e)
	for {
		mine := false
		out, err, _ := s.inflight.Do(string(key[:]), func() (any, error) {
			mine = true
			number, known, err := s.duplicates.claim(ctx, e)
			if err != nil {
				return nil, err
			}
			if known {
				return s.existing(ctx, number, r.Bundle, r.Envelope, r.Submission.Collateral, r.file)
			}
			// Whoever called keeps the submission while it waits: its files go with the reading's.
			*sub = poclog.Submission{}
			return s.logEntry(ctx, r, a)
		})
		if err != nil {
			return nil, err
		}
		answer := *out.(*admission)
		if mine {
			return &answer, nil
		}
		// Another submission of this evidence was on its way. Unless this one proves more, its
		// answer is this one's.
		number, ok, err := s.duplicates.find(ctx, e)
		if err != nil {
			return nil, err
		}
		if ok && number == answer.number {
			answer.isNew = false
			return &answer, nil
		}
	}
}

// late answers a submission that was refused: a bundle that is in the log gets its receipt however
// late it comes again, when its challenge is too old and its collateral expired.
func (s *Service) late(ctx context.Context, sub *poclog.Submission, refused error) (*admission, error) {
	if _, failed := verify.CheckOf(refused); failed {
		number, ok, err := s.duplicates.findBundle(ctx, poclog.Sum(sub.Bundle))
		if err != nil {
			return nil, err
		}
		if ok {
			return s.existing(ctx, number, sub.Bundle, sub.Envelope, sub.Collateral)
		}
	}
	return nil, refused
}

// appraise judges a submission at its time: now, or the time that historical evidence asks for.
// Historical evidence must also hold now, as far as it can without collateral: keys that expired
// since may have leaked.
func (s *Service) appraise(ctx context.Context, r *reading) (*verify.Appraisal, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	defer s.metrics.appraised(time.Now())
	a, err := profile.AppraiseAt(s.input(r), r.Judged, s.judge)
	if err != nil {
		return nil, err
	}
	// An auditor does not ask for it: what is refused here would have been a sound entry.
	if err := s.cfg.SecondOpinion(r.bundle, a.Entry.Appraised); err != nil {
		return nil, err
	}
	return a, nil
}

// turn waits for one of the concurrent appraisals, which addresses take in turn; done gives it
// back.
func (s *Service) turn(ctx context.Context) (done func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, queueTimeout, errQueue)
	defer cancel()
	if done, err = s.appraisal.Take(ctx, httpd.ClientOf(ctx)); err == nil {
		return done, nil
	}
	if errors.Is(err, errQueue) {
		s.http.Limited("appraisals")
	}
	return nil, refuse(kindUnavailable, "%w", err)
}

var errQueue = errors.New("too many submissions wait to be judged")

// judge appraises. A panic is this software's fault, and must not end the log's process.
func (s *Service) judge(in profile.Input) (*verify.Appraisal, error) {
	return s.judgeBy(s.cfg.Appraise, in)
}

func (s *Service) judgeBy(by Appraiser, in profile.Input) (a *verify.Appraisal, err error) {
	defer func() {
		if p := recover(); p != nil {
			a, err = nil, fmt.Errorf("the appraisal of bundle %s panicked: %v", poclog.Sum(in.Bundle), p)
		}
	}()
	return by(in)
}

// logEntry appends a new entry, whose evidence is claimed.
func (s *Service) logEntry(ctx context.Context, r *reading, a *verify.Appraisal) (*admission, error) {
	claimed := &a.Entry
	e, leaf, err := s.prepare(ctx, r, a)
	if err != nil {
		s.unclaim(claimed)
		return nil, err
	}
	challenge := r.covered()
	r.drop()
	number, checkpoint, err := s.append(ctx, leaf, poclog.Leaf{Proof: e}, nothing)
	if err != nil {
		return nil, refuse(kindUnavailable, "%w", err)
	}
	receipt, err := s.receipt(ctx, poclog.Receipt{Entry: leaf, Index: number, Challenge: challenge, Inclusion: poclog.Inclusion{Checkpoint: checkpoint}}, nil)
	if err != nil {
		return nil, err
	}
	s.cfg.Logger.Info("entry", "number", number, "profile", e.Profile, "level", e.Level, "chip", e.Chip())
	return &admission{receipt: receipt, isNew: true, number: number}, nil
}

// prepare does what comes before an entry is appended: what is withheld, budgets, if they were not
// taken before collateral was fetched, the provider's answer, and the evidence.
func (s *Service) prepare(ctx context.Context, r *reading, a *verify.Appraisal) (e *poclog.Entry, leaf []byte, err error) {
	if err := s.ready(); err != nil {
		return nil, nil, err
	}
	if err := s.publishable(poclog.Leaf{Proof: &a.Entry}); err != nil {
		return nil, nil, err
	}
	if !r.charged {
		if err := s.budget.spend(ctx, &a.Entry, s.cfg.Now()); err != nil {
			return nil, nil, err
		}
	}
	if a, err = s.observe(ctx, r, a); err != nil {
		return nil, nil, err
	}
	e = &a.Entry
	if err := s.inTime(e, r.covered()); err != nil {
		return nil, nil, err
	}
	if leaf, err = e.Marshal(); err != nil {
		return nil, nil, err
	}
	return e, leaf, s.keep(ctx, r)
}

// keep stores the evidence, which its address's share of the disk must have room for. The bundle is
// new, as far as the log knows: the share counts it without a look.
func (s *Service) keep(ctx context.Context, r *reading) error {
	size := len(r.Bundle)
	for _, file := range r.files()[1:] {
		has, err := s.store.Evidence.Has(ctx, poclog.BlobOf(file))
		if err != nil {
			return refuse(kindUnavailable, "%w", err)
		}
		if !has {
			size += len(file)
		}
	}
	if err := s.budget.disk(ctx, size, s.cfg.Now()); err != nil {
		return err
	}
	for _, file := range r.files() {
		if _, err := s.store.Evidence.Put(ctx, file); err != nil {
			return refuse(kindUnavailable, "%w", err)
		}
	}
	return nil
}

// ready refuses before anything is written what could not be finished.
func (s *Service) ready() error {
	for _, err := range s.troubles() {
		return refuse(kindUnavailable, "%w", err)
	}
	return nil
}

// troubles are why the log admits nothing now, the cause before what follows from it.
func (s *Service) troubles() (list []error) {
	_, seen, _ := s.published.state()
	refused := s.tree.guard.refusal(seen)
	for _, err := range []error{s.store.Writable(), s.opening.state(), refused, s.stale(), s.roster.clocks()} {
		same := func(e error) bool { return e.Error() == err.Error() }
		if err != nil && !slices.ContainsFunc(list, same) {
			list = append(list, err)
		}
	}
	return list
}

// inTime holds an entry to what every reader will hold it to, when it is about to be appended: it
// was judged before now, and not before its evidence was made. Clocks may differ by the skew, but
// t2 will be of witnesses whose clocks may be behind already.
func (s *Service) inTime(e *poclog.Entry, challenge []byte) error {
	now := s.cfg.Now()
	if e.Appraised.After(now) {
		return refuse(kindUnavailable, "the log's clock was set back, to %s: the evidence was judged at %s", verify.Stamp(now), e.Appraised.Format(time.RFC3339))
	}
	if e.Fresh == nil {
		return nil
	}
	v, err := s.rules.own.Open(challenge)
	if err != nil {
		return nil // another log's, or without the quorum: it has no time for the log's clients
	}
	if t1, known := v.NotBefore(); known && t1.After(e.Appraised.Add(verify.MaxSkew-s.roster.lag())) {
		return verify.Failf(verify.FreshChallenge, "the challenge's checkpoint was cosigned at %s, and it is %s here", t1.Format(time.RFC3339), e.Appraised.Format(time.RFC3339))
	}
	return nil
}

// stale is an error where no checkpoint was published for longer than one should be.
func (s *Service) stale() error {
	_, seen, err := s.published.state()
	if err != nil {
		return fmt.Errorf("read the checkpoint: %w", err)
	}
	if since, overdue := s.published.overdue(s.cfg.PublishTimeout / 3); overdue {
		return fmt.Errorf("entries wait to be published since %s%s", verify.Stamp(since), s.roster.waiting())
	}
	if limit := 2*s.cfg.Republish + s.cfg.PublishTimeout; time.Since(seen) > limit {
		return fmt.Errorf("no checkpoint was published for over %s%s", limit, s.roster.waiting())
	}
	return nil
}

// existing answers with the receipt of an entry that is in the log, and restores what its evidence
// lost, if it was sent again.
func (s *Service) existing(ctx context.Context, number uint64, sent ...[]byte) (*admission, error) {
	return s.again(ctx, number, sent, func(ctx context.Context, l poclog.Leaf) ([]byte, error) {
		if l.Proof == nil {
			return nil, fmt.Errorf("entry %d is no proof", number)
		}
		if l.Proof.Fresh == nil {
			return nil, nil
		}
		return s.coveredBy(ctx, l.Proof.Evidence.Bundle.SHA256, sent...)
	})
}

// again answers with the receipt of an entry that is in the log, and restores what is lost of what
// it names, if that was sent. The challenge of its kind of entry goes into the receipt.
func (s *Service) again(ctx context.Context, number uint64, sent [][]byte, challengeOf func(context.Context, poclog.Leaf) ([]byte, error)) (*admission, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PublishTimeout)
	defer cancel()
	checkpoint, err := s.covering(ctx, number)
	if err != nil {
		return nil, refuse(kindUnavailable, "%w", err)
	}
	cp, err := tlogpolicy.ParseCheckpoint(checkpoint)
	if err != nil {
		return nil, err
	}
	leaf, err := s.leaf(ctx, number, cp.Size)
	if err != nil {
		return nil, err
	}
	parsed, err := poclog.ParseLeaf(leaf)
	if err != nil {
		return nil, err
	}
	s.restore(ctx, parsed, sent...)
	challenge, err := challengeOf(ctx, parsed)
	if err != nil {
		return nil, err
	}
	first, err := s.store.Checkpoints.Covering(ctx, number)
	if err != nil { // the receipt is less exact, and still one
		s.cfg.Logger.Error("read the checkpoint that covered an entry first", "entry", number, "error", err)
	}
	receipt, err := s.receipt(ctx, poclog.Receipt{Entry: leaf, Index: number, Challenge: challenge, Inclusion: poclog.Inclusion{Checkpoint: checkpoint}}, first)
	if err != nil {
		return nil, err
	}
	return &admission{receipt: receipt, number: number}, nil
}

// leaf reads an entry from its bundle in a published tree of a size.
func (s *Service) leaf(ctx context.Context, number, size uint64) ([]byte, error) {
	bundle, err := client.GetEntryBundle(ctx, s.tree.ReadEntryBundle, number/layout.EntryBundleWidth, size)
	if err != nil {
		return nil, fmt.Errorf("read entry %d: %w", number, err)
	}
	return entryOf(bundle, number)
}

func entryOf(bundle api.EntryBundle, number uint64) ([]byte, error) {
	if i := number % layout.EntryBundleWidth; i < uint64(len(bundle.Entries)) {
		return bundle.Entries[i], nil
	}
	return nil, fmt.Errorf("read entry %d: its bundle has %d entries", number, len(bundle.Entries))
}

// receipt fills in the proof that an entry is in the tree of its receipt's checkpoint, and of the
// first one that covered it, if that is known and another.
func (s *Service) receipt(ctx context.Context, r poclog.Receipt, first []byte) (file []byte, err error) {
	size, err := s.include(ctx, &r, &r.Inclusion)
	if err != nil {
		return nil, err
	}
	r.Exceptions = s.published.notesOn(size)
	if cp, err := tlogpolicy.ParseCheckpoint(first); err == nil && cp.Size < size {
		r.First = &poclog.Inclusion{Checkpoint: first}
		if _, err := s.include(ctx, &r, r.First); err != nil {
			return nil, err
		}
	}
	return r.Marshal()
}

// include proves a receipt's entry in the tree of a checkpoint, whose size it returns.
func (s *Service) include(ctx context.Context, r *poclog.Receipt, in *poclog.Inclusion) (size uint64, err error) {
	cp, err := tlogpolicy.ParseCheckpoint(in.Checkpoint)
	if err != nil {
		return 0, err
	}
	in.Hashes, err = s.tree.proofs.inclusion(ctx, r.Entry, r.Index, cp)
	return cp.Size, err
}

// coveredBy returns the checkpoint that a logged bundle's challenge covers, or nothing. What was sent
// is not read again: if it is withheld, it may be gone.
func (s *Service) coveredBy(ctx context.Context, d poclog.Digest, sent ...[]byte) ([]byte, error) {
	var file []byte
	var err error
	if i := slices.IndexFunc(sent, func(b []byte) bool { return poclog.Sum(b) == d }); i >= 0 {
		file = sent[i]
	} else if file, err = s.store.Evidence.Get(ctx, d); err != nil {
		return nil, err
	}
	r, err := s.read(&poclog.Submission{Bundle: file})
	if err != nil {
		return nil, err
	}
	return r.covered(), nil
}
