package audit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"filippo.io/torchwood"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/witness"
)

// retryAfter is what a log is told whose checkpoint is being audited.
const retryAfter = 5 * time.Second

// errPending is the cause of a wait that ended before the audit did.
var errPending = errors.New("the audit is under way")

// gate is the witness's last condition: every entry of the tree was verified. It waits for that only so long.
func (a *Auditor) gate(ctx context.Context, c torchwood.Checkpoint, signed []byte) error {
	if c.N == 0 {
		return nil
	}
	if c.Extension != "" {
		return &witness.Refusal{Status: http.StatusServiceUnavailable, Detail: "a checkpoint with extension lines, which are not audited"}
	}
	if err := a.refusedLately(c.Origin, uint64(c.N)); err != nil {
		return answer(c, err)
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
		return &witness.Refusal{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("refused: %s; see /audit/%s", oneLine(refused.Error()), hashOf(c.Origin))}
	}
	return &witness.Refusal{Status: http.StatusServiceUnavailable, Detail: "the audit could not be finished: " + oneLine(err.Error()), RetryAfter: retryAfter}
}

// A refusal is the outcome of an audit that found something.
type refusal struct {
	err  *Refused
	at   time.Time
	size uint64 // that was audited
}

// refusedLately returns what was refused less than an interval ago, if a tree of a size contains it: a log that asks again at once must not
// make the auditor do the same work again.
func (a *Auditor) refusedLately(origin string, size uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.refused[origin]
	if !ok || size <= r.size || time.Since(r.at) >= a.cfg.Interval {
		return nil
	}
	return r.err
}

// Follow looks at every log now and then, audits what is new and cosigns it, until the context ends. Logs that are added meanwhile are followed.
func (a *Auditor) Follow(ctx context.Context) {
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

// note remembers why an audit could not be decided, for the report, or what it refused, for those who ask again.
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

// Look fetches a log's checkpoint, audits up to it and cosigns it. The error is a *Refused if the log is at fault.
func (a *Auditor) Look(ctx context.Context, origin string) error {
	r, err := a.state.record(ctx, hashOf(origin))
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
	head, err := a.head(ctx, origin)
	if err != nil {
		return err
	}
	settled := r.target != nil && r.target.Tree == cp.Tree && r.audited == cp.Size && head.Size == cp.Size
	if settled && a.cfg.Clock().Sub(head.Cosigned) < a.cfg.Refresh {
		return nil
	}
	// The time of the witnesses that the log's policy names is what its readers hold entries to.
	seen := a.cfg.Clock()
	if t, known := cp.View.NotAfter(); known && t.Before(seen) {
		seen = t
	}
	if err := a.audit(ctx, target{Checkpoint: cp, seen: seen}); err != nil {
		return err
	}
	if cp.Size < head.Size {
		return fmt.Errorf("the log serves a checkpoint of size %d, smaller than %d, which was cosigned", cp.Size, head.Size)
	}
	return a.cosign(ctx, cl, head, cp)
}

// head returns what was cosigned of a log.
func (a *Auditor) head(ctx context.Context, origin string) (witness.Log, error) {
	logs, err := a.witness.Logs(ctx)
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

// cosign asks the auditor's own witness, which decides like for everybody.
func (a *Auditor) cosign(ctx context.Context, cl *client.Client, head witness.Log, cp *client.Checkpoint) error {
	req := witness.Request{Old: head.Size, Note: cp.Signed}
	if head.Size > 0 && head.Size < cp.Size {
		var err error
		if req.Proof, err = cl.ConsistencyProof(ctx, head.Size, cp.Tree); err != nil {
			return err
		}
	}
	_, err := a.witness.AddCheckpoint(ctx, req.Marshal())
	var refusal *witness.Refusal
	if errors.As(err, &refusal) && refusal.Status == http.StatusConflict {
		return nil // the log itself was faster
	}
	if err != nil {
		return fmt.Errorf("cosign size %d: %w", cp.Size, err)
	}
	a.cfg.Logger.Info("cosigned", "origin", cp.Origin, "size", cp.Size)
	return nil
}

// oneLine is a text on one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
