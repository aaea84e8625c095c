package audit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"filippo.io/torchwood"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/witness"
)

// retryAfter is what a log is told whose checkpoint is being audited.
const retryAfter = 5 * time.Second

// errPending is the cause of a wait that ended before the audit did.
var errPending = errors.New("the audit is under way")

// addCheckpoint answers a log with the cosignatures that its tree gets: with exceptions or without.
// The sizes on record of the two may differ, which a 409 tells.
func (a *Auditor) addCheckpoint(ctx context.Context, body []byte) ([]byte, error) {
	w := a.witness
	if r, err := witness.ParseRequest(body); err == nil {
		if w, err = a.signer(ctx, r.Checkpoint.Origin, uint64(r.Checkpoint.N)); err != nil {
			return nil, err
		}
	}
	cosignatures, err := w.AddCheckpoint(ctx, body)
	if errors.Is(err, errExceptions) {
		return a.except.AddCheckpoint(ctx, body)
	}
	return cosignatures, err
}

// signer returns the witness whose keys say what is true of a tree, as far as it was audited.
func (a *Auditor) signer(ctx context.Context, origin string, size uint64) (*witness.Witness, error) {
	n, err := a.state.unseen(ctx, origin, size)
	if err != nil || n == 0 {
		return a.witness, err
	}
	return a.except, nil
}

// errExceptions is the cause of a refusal to sign with the auditor's own keys.
var errExceptions = errors.New("evidence was withheld before it was seen")

// gate is the last condition of the auditor's own keys: every entry of the tree was verified.
func (a *Auditor) gate(ctx context.Context, c torchwood.Checkpoint, signed []byte) error {
	n, err := a.verified(ctx, c, signed)
	if err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("%w: of %d entries", errExceptions, n)
	}
	return nil
}

// gateExcept is the last condition of the keys for exceptions: every entry was verified but some,
// which fit into a note.
func (a *Auditor) gateExcept(ctx context.Context, c torchwood.Checkpoint, signed []byte) error {
	n, err := a.verified(ctx, c, signed)
	if err != nil {
		return err
	}
	if n == 0 || n > poclog.MaxExcepted {
		return &witness.Refusal{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("%d entries were withheld before they were seen: a note of exceptions lists 1 to %d", n, poclog.MaxExcepted)}
	}
	return nil
}

// verified returns how many entries of a tree are exceptions, once all others were verified. It
// waits for that only so long.
func (a *Auditor) verified(ctx context.Context, c torchwood.Checkpoint, signed []byte) (exceptions uint64, err error) {
	if err := a.await(ctx, c, signed); err != nil {
		return 0, err
	}
	if f, err := a.state.fault(ctx, c.Origin, uint64(c.N)); err != nil {
		return 0, err
	} else if f != nil {
		return 0, answer(c, &Refused{Origin: c.Origin, Findings: []Finding{*f}})
	}
	return a.state.unseen(ctx, c.Origin, uint64(c.N))
}

// await waits until a tree was audited.
func (a *Auditor) await(ctx context.Context, c torchwood.Checkpoint, signed []byte) error {
	if c.N == 0 {
		return nil
	}
	if c.Extension != "" {
		return &witness.Refusal{Status: http.StatusServiceUnavailable, Detail: "a checkpoint with extension lines, which are not audited"}
	}
	if err := a.refusedLately(c.Origin, uint64(c.N)); err != nil {
		return answer(c, err)
	}
	if err := httpd.Wait(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.cfg.Wait, errPending)
	defer cancel()
	tree := client.Tree{Origin: c.Origin, Size: uint64(c.N), Root: c.Hash}
	err := a.audit(ctx, target{Checkpoint: &client.Checkpoint{Tree: tree, Signed: signed}, seen: a.cfg.Clock()})
	if err != nil {
		return answer(c, err)
	}
	return nil
}

// answer says to a log why its checkpoint is not cosigned.
func answer(c torchwood.Checkpoint, err error) *witness.Refusal {
	var refused *Refused
	switch {
	case errors.Is(err, errPending):
		return &witness.Refusal{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("the audit up to size %d is under way", c.N), RetryAfter: retryAfter}
	case errors.As(err, &refused):
		return &witness.Refusal{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("refused: %s; see /audit/%s", oneLine(refused.Error()), witness.HashOf(c.Origin))}
	}
	return &witness.Refusal{Status: http.StatusServiceUnavailable, Detail: "the audit could not be finished: " + oneLine(err.Error()), RetryAfter: retryAfter}
}

// A refusal is the outcome of an audit that found something.
type refusal struct {
	err  *Refused
	at   time.Time
	size uint64 // that was audited
}

// refusedLately returns what was refused less than an interval ago, if a tree of a size contains
// it: a log that asks again at once must not make the auditor do the same work again.
func (a *Auditor) refusedLately(origin string, size uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.refused[origin]
	if !ok || size <= r.size || time.Since(r.at) >= a.cfg.Interval {
		return nil
	}
	return r.err
}

// followLogs looks at every log now and then, audits what is new and cosigns it, until the context
// ends. Logs that are added meanwhile are followed.
func (a *Auditor) followLogs(ctx context.Context) {
	tick := time.NewTicker(a.cfg.Interval)
	defer tick.Stop()
	busy := make(map[string]chan struct{}) // by origin; closed when that log's look has ended
	for {
		logs, err := a.state.logs(ctx)
		if err != nil && ctx.Err() == nil {
			a.cfg.Logger.Error("the logs cannot be listed", "error", err)
		}
		for _, r := range logs {
			if b := busy[r.origin]; b != nil && !closed(b) {
				continue
			}
			done := make(chan struct{})
			busy[r.origin] = done
			go func() {
				defer close(done)
				a.look(ctx, r)
			}()
		}
		select {
		case <-ctx.Done():
			for _, b := range busy {
				<-b
			}
			return
		case <-tick.C:
		}
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// look audits one log once, and notes what kept it from that.
func (a *Auditor) look(ctx context.Context, r *record) {
	err := a.Look(ctx, r.origin)
	if ctx.Err() != nil {
		return
	}
	a.note(r.origin, err)
	var refused *Refused
	if err != nil && !errors.As(err, &refused) {
		a.cfg.Logger.Warn("the log cannot be audited", "origin", r.origin, "error", err)
	}
}

// note remembers why an audit could not be decided, for the report, or what it refused, for those
// who ask again.
func (a *Auditor) note(origin string, err error) {
	var refused *Refused
	a.mu.Lock()
	defer a.mu.Unlock()
	if errors.As(err, &refused) && len(refused.Findings) > 0 {
		a.refused[origin] = refusal{refused, time.Now(), refused.Findings[0].Entry}
	}
	if err == nil {
		delete(a.refused, origin)
	}
	if err == nil || refused != nil {
		delete(a.trouble, origin)
		return
	}
	a.trouble[origin] = oneLine(err.Error())
}

// Look fetches a log's checkpoint, audits up to it and cosigns it. The error is a *Refused if the
// log is at fault.
func (a *Auditor) Look(ctx context.Context, origin string) error {
	r, err := a.state.record(ctx, witness.HashOf(origin))
	if err != nil {
		return err
	}
	cl, err := a.client(r.url, r.policy)
	if err != nil {
		return err
	}
	cp, err := cl.Checkpoint(ctx)
	if err != nil {
		return err
	}
	if cp.Origin != origin {
		return fmt.Errorf("the log at %s is %q", r.url, cp.Origin)
	}
	if err := a.again(ctx, cl, r); err != nil {
		return err
	}
	w, err := a.signer(ctx, origin, cp.Size)
	if err != nil {
		return err
	}
	head, err := head(ctx, w, origin)
	if err != nil {
		return err
	}
	settled := r.target != nil && r.target.Tree == cp.Tree && r.audited == cp.Size && head.Size == cp.Size
	if settled && a.cfg.Clock().Sub(head.Cosigned) < a.cfg.Refresh {
		return nil
	}
	if err := a.audit(ctx, target{Checkpoint: cp, seen: a.seen(cp)}); err != nil {
		return err
	}
	return a.cosign(ctx, cl, cp)
}

// seen is by when a checkpoint was seen. The time of the witnesses that the log's policy names is
// what its readers hold entries to; the auditor's own is as good while it is not further behind
// than clocks may be.
func (a *Auditor) seen(cp *client.Checkpoint) time.Time {
	now := a.cfg.Clock()
	if t, known := cp.View.NotAfter(); known && (t.Before(now) || t.Sub(now) > verify.MaxSkew) {
		return t
	}
	return now
}

// head returns what a witness cosigned of a log.
func head(ctx context.Context, w *witness.Witness, origin string) (witness.Log, error) {
	logs, err := w.Logs(ctx)
	if err != nil {
		return witness.Log{}, err
	}
	for _, l := range logs {
		if l.Origin == origin {
			return l, nil
		}
	}
	return witness.Log{}, fmt.Errorf("log %q: %w", origin, errNoLog)
}

// cosign asks the auditor's own witness for an audited tree, which decides like for everybody.
func (a *Auditor) cosign(ctx context.Context, cl *client.Client, cp *client.Checkpoint) error {
	w, err := a.signer(ctx, cp.Origin, cp.Size)
	if err != nil {
		return err
	}
	head, err := head(ctx, w, cp.Origin)
	if err != nil {
		return err
	}
	if cp.Size < head.Size {
		return fmt.Errorf("the log serves a checkpoint of size %d, smaller than %d, which was cosigned", cp.Size, head.Size)
	}
	req := witness.Request{Old: head.Size, Note: cp.Signed}
	if head.Size > 0 && head.Size < cp.Size {
		if req.Proof, err = cl.ConsistencyProof(ctx, head.Size, cp.Tree); err != nil {
			return err
		}
	}
	_, err = w.AddCheckpoint(ctx, req.Marshal())
	if refusal, ok := errors.AsType[*witness.Refusal](err); ok && refusal.Status == http.StatusConflict {
		return nil // the log itself was faster
	}
	if err != nil {
		return fmt.Errorf("cosign size %d: %w", cp.Size, err)
	}
	a.cfg.Logger.Info("cosigned", "origin", cp.Origin, "size", cp.Size, "as", w.Name())
	return nil
}

// oneLine is a text on one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
