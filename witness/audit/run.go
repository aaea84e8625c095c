package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/witness"
)

// batchSize is how many entries are verified before progress is made durable.
const batchSize = 256

// A target is a checkpoint up to which a log is to be audited, with the log's own signature.
type target struct {
	*client.Checkpoint
	seen time.Time // by which it was first seen, if it is new
}

// A Refused is the error of an audit that found something wrong with a log.
type Refused struct {
	Origin   string
	Findings []Finding // entries; none for a split view
	Err      error
}

func (r *Refused) Error() string {
	if len(r.Findings) == 0 {
		return r.Err.Error()
	}
	f := r.Findings[0]
	return fmt.Sprintf("entry %d: %s: %s", f.Entry, f.Check, f.Detail)
}

func (r *Refused) Unwrap() error { return r.Err }

// A run is an audit that is under way.
type run struct {
	done chan struct{} // closed at the end; then err is set
	err  error
}

// audit returns once every entry of a target's tree was verified, and its tree proven to be of one
// history with all that was audited before; or with a *Refused; or with another error if that could
// not be decided. If the context ends first, the audit goes on without the caller.
func (a *Auditor) audit(ctx context.Context, t target) error {
	for {
		r, mine := a.join(t)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.done:
			if mine {
				return r.err
			}
		}
	}
}

// join starts the audit of a target, unless one of its log is under way: then it returns that.
func (a *Auditor) join(t target) (r *run, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.runs[t.Origin]; r != nil {
		return r, false
	}
	r = &run{done: make(chan struct{})}
	a.runs[t.Origin] = r
	a.running.Add(1)
	go func() {
		defer a.running.Done()
		r.err = a.perform(a.background, t)
		a.note(t.Origin, r.err)
		a.mu.Lock()
		delete(a.runs, t.Origin)
		a.mu.Unlock()
		close(r.done)
	}()
	return r, true
}

// perform audits up to a target. What was begun is finished first: which entries an earlier
// checkpoint covered bounds their times.
func (a *Auditor) perform(ctx context.Context, t target) error {
	for {
		r, err := a.state.record(ctx, witness.HashOf(t.Origin))
		if err != nil {
			return err
		}
		cl, err := a.client(r.url, r.policy)
		if err != nil {
			return err
		}
		switch {
		case r.target != nil && t.Size <= r.audited:
			return a.consistent(ctx, cl, r, t)
		case r.target != nil && r.audited < r.target.Size:
			if err := a.advance(ctx, cl, r); err != nil {
				return err
			}
		case t.Size == 0:
			return nil
		default:
			if err := a.adopt(ctx, cl, r, t); err != nil {
				return err
			}
		}
	}
}

// adopt makes t the target, after it is proven to extend the one before.
func (a *Auditor) adopt(ctx context.Context, cl *client.Client, r *record, t target) error {
	if err := a.consistent(ctx, cl, r, t); err != nil {
		return err
	}
	return a.state.adopt(ctx, r, t.Signed, t.seen)
}

// consistent proves that a target and what was audited before are of one history. A split view is
// kept.
func (a *Auditor) consistent(ctx context.Context, cl *client.Client, r *record, t target) error {
	if r.target == nil {
		return nil
	}
	err := cl.Consistent(ctx, r.target, t.Checkpoint)
	var split *client.SplitView
	if !errors.As(err, &split) {
		return err
	}
	a.cfg.Logger.Error("the log has signed two histories", "origin", r.origin, "sizes", []uint64{split.Old.Size, split.New.Size})
	if split.Err != nil {
		return fmt.Errorf("the log has signed two histories, at sizes %d and %d, and the evidence cannot be kept: %w", split.Old.Size, split.New.Size, split.Err)
	}
	if err := a.state.addSplit(ctx, r.origin, split.Evidence, a.cfg.Clock()); err != nil {
		return err
	}
	return &Refused{Origin: r.origin, Err: fmt.Errorf("the log has signed two histories, at sizes %d and %d", split.Old.Size, split.New.Size)}
}

// logInterval is how often a long audit says how far it is.
const logInterval = 10 * time.Second

// advance verifies entries up to the end of the target on record, batch by batch.
func (a *Auditor) advance(ctx context.Context, cl *client.Client, r *record) error {
	x := &examiner{files: newFiles(cl.Evidence), appraise: a.cfg.Appraise, policy: r.policy, seen: r.seen}
	begun, said, first := time.Now(), time.Now(), r.audited
	if err := a.catchUp(ctx, cl, r); err != nil {
		return err
	}
	batch := make([]client.Leaf, 0, batchSize)
	for leaf, err := range cl.Entries(ctx, r.target.Tree, client.Range{From: r.audited, To: r.target.Size}) {
		if err != nil {
			return fmt.Errorf("read entries from %d on: %w", r.audited, err)
		}
		batch = append(batch, leaf)
		if len(batch) < batchSize && leaf.Index+1 < r.target.Size {
			continue
		}
		if err := a.batch(ctx, cl, x, r, batch); err != nil {
			return err
		}
		batch = batch[:0]
		if done := r.audited == r.target.Size; done || time.Since(said) > logInterval {
			said = time.Now()
			rate := float64(r.audited-first) / max(time.Since(begun).Seconds(), 1e-9)
			a.cfg.Logger.Info("audited", "origin", r.origin, "size", r.audited, "of", r.target.Size, "per_second", int(rate))
		}
	}
	return ctx.Err()
}

// batch verifies entries that follow each other from r.audited on, and records the outcome in the
// state and in r. Progress ends at the first entry that did not pass.
func (a *Auditor) batch(ctx context.Context, cl *client.Client, x *examiner, r *record, leaves []client.Leaf) error {
	verdicts, policies, passed := a.examine(ctx, x, r, leaves)
	wrong, err := a.follow(ctx, r.origin, leaves)
	if err != nil {
		return fmt.Errorf("keep the index of %s: %w", r.origin, err)
	}
	if wrong != nil {
		detail := wrong.What
		if found := a.expose(ctx, cl, r, wrong); found != "" {
			detail += ": " + found
		}
		verdicts[wrong.Entry-leaves[0].Index].refused = &verify.Error{Check: CheckIndex, Detail: detail}
	}
	out := step{audited: r.audited, inForce: r.inForce, at: a.cfg.Clock(), stated: passed}
	var undecided error
	passing := true
	for i, v := range verdicts {
		n := leaves[i].Index
		passing = passing && v.refused == nil && v.err == nil
		switch {
		case v.refused != nil:
			out.refused = append(out.refused, Finding{Entry: n, Check: string(v.refused.Check), Detail: oneLine(v.refused.Detail)})
		case v.err != nil && undecided == nil:
			undecided = fmt.Errorf("entry %d: %w", n, v.err)
		case v.withheld != nil && passing:
			w := *v.withheld
			w.Entry, w.judgedBy = n, policies[i]
			out.withheld = append(out.withheld, w)
		}
		if passing {
			out.audited, out.inForce = n+1, policies[i]
		}
	}
	if err := a.state.save(ctx, r, &out); err != nil {
		return err
	}
	r.audited, r.inForce = out.audited, out.inForce
	if len(out.refused) > 0 {
		a.cfg.Logger.Error("entry refused", "origin", r.origin, "entry", out.refused[0].Entry, "check", out.refused[0].Check, "detail", out.refused[0].Detail)
		return &Refused{Origin: r.origin, Findings: out.refused}
	}
	return undecided
}

// examine verifies entries concurrently, but for statements, which are verified in their order. It
// returns the verdict on each, the policy in force after it, and the statements that passed.
func (a *Auditor) examine(ctx context.Context, x *examiner, r *record, leaves []client.Leaf) ([]verdict, []poclog.Blob, []stated) {
	verdicts, policies, all := make([]verdict, len(leaves)), make([]poclog.Blob, len(leaves)), make([]poclog.Leaf, len(leaves))
	inForce := r.inForce
	var g errgroup.Group
	g.SetLimit(a.cfg.Parallel)
	for i, leaf := range leaves {
		parsed, err := poclog.ParseLeaf(leaf.Entry)
		if err == nil && parsed.Config != nil {
			inForce = parsed.Config.Policy
		}
		policies[i], all[i] = inForce, parsed
		judgedBy := inForce
		g.Go(func() error {
			verdicts[i] = classify(x.entry(ctx, leaf, parsed, err, judgedBy))
			return nil
		})
	}
	_ = g.Wait() // the verdicts carry the errors
	return verdicts, policies, a.statements(ctx, x, r, leaves, all, verdicts, policies)
}

// entry verifies one entry.
func (x *examiner) entry(ctx context.Context, leaf client.Leaf, parsed poclog.Leaf, malformed error, inForce poclog.Blob) error {
	switch {
	case malformed != nil:
		return verify.Failf(CheckLeaf, "%w", malformed)
	case leaf.Index == 0 && parsed.Config == nil:
		return verify.Failf(CheckConfig, "the first entry is no config entry")
	case parsed.Config != nil:
		return x.config(ctx, parsed.Config)
	case parsed.Index != nil:
		return nil // it is followed once those before it are known
	case parsed.Statement != nil:
		return nil // it is verified after those before it
	case parsed.Proof != nil:
		return x.proof(ctx, leaf.Entry, parsed.Proof, inForce)
	}
	return verify.Failf(CheckLeaf, "an entry of a kind or version that this auditor does not know")
}
