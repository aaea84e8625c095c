package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// A Refusal is why a checkpoint was not cosigned.
type Refusal struct {
	Status int    // the HTTP status that tlog-witness gives this
	Size   uint64 // with 409: the size of the latest cosigned checkpoint
	Detail string // one line for a person

	RetryAfter time.Duration // with 503: when to ask again, in whole seconds; 0 says nothing
}

func (r *Refusal) Error() string { return r.Detail }

func refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// maxRaces is how often a decision is made again because another process made one at the same time.
const maxRaces = 10

// AddCheckpoint does what add-checkpoint of tlog-witness says with a request body, and returns the
// cosignature lines. It is durable that they were given when it returns. The error is a *Refusal,
// unless the witness itself has failed.
func (w *Witness) AddCheckpoint(ctx context.Context, body []byte) (cosignatures []byte, err error) {
	origin := ""
	start := w.clock()
	defer func() { w.metrics.observe(origin, err, w.clock().Sub(start)) }()
	r, err := ParseRequest(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%s", err)
	}
	h, err := w.state.head(ctx, r.Checkpoint.Origin)
	if errors.Is(err, errNoLog) || err == nil && h.vkeys == "" {
		return nil, refuse(http.StatusNotFound, "unknown log %q", r.Checkpoint.Origin)
	}
	if err != nil {
		return nil, err
	}
	origin = r.Checkpoint.Origin // from here on it is one of ours, and fit to be a metric's label
	signed, err := w.openNote(r, h.vkeys)
	if err != nil {
		return nil, err
	}
	if lines := w.repeated(r, h); lines != nil {
		return lines, nil
	}
	l := w.laneOf(origin)
	l.mu.Lock()
	defer l.mu.Unlock()
	for range maxRaces {
		cosignatures, done, err := w.decide(ctx, l, r, signed)
		if err != nil || done {
			return cosignatures, err
		}
	}
	return nil, fmt.Errorf("record the checkpoint of %q: lost %d races against other processes", origin, maxRaces)
}

// openNote checks the signatures: one of a trusted key is there, and none of a trusted key is bad.
// Unknown keys are ignored.
func (w *Witness) openNote(r *Request, keys string) (n *note.Note, err error) {
	verifiers, err := w.verifiersOf(keys)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			n, err = nil, refuse(http.StatusBadRequest, "checkpoint: its signatures cannot be parsed: %v", p)
		}
	}()
	n, err = note.Open(r.Note, verifiers)
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		return nil, refuse(http.StatusForbidden, "no signature of a trusted key of %q", r.Checkpoint.Origin)
	case errors.As(err, &invalid):
		return nil, refuse(http.StatusForbidden, "the signature of the trusted key %s+%08x does not verify", invalid.Name, invalid.Hash)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "checkpoint: %s", err)
	}
	return n, nil
}

// repeated returns the cosignatures on record if the request is for the checkpoint on record, and
// another cosignature would say the same: it would be of the same second. What is public can be
// repeated by anybody: that costs neither a signature nor the log's budget.
func (w *Witness) repeated(r *Request, h *head) []byte {
	if h.checkpoint == nil || uint64(r.Checkpoint.N) != h.size || w.clock().Unix() > h.cosigned || check(r, h) != nil {
		return nil
	}
	asked, err := noteText(r.Note)
	if err != nil {
		return nil
	}
	have, err := noteText(h.checkpoint)
	if err != nil || asked != have {
		return nil
	}
	want := 0
	for _, s := range w.cosigners {
		if s.covers(r.Checkpoint) {
			want++
		}
	}
	// The log's signatures stand before ours.
	lines := bytes.SplitAfter(h.checkpoint[len(have)+1:], []byte("\n"))
	lines = lines[:len(lines)-1]
	if len(lines) < want {
		return nil
	}
	return bytes.Join(lines[len(lines)-want:], nil)
}

// decide checks a request against the head on record, signs, and replaces the head. It is not done
// if the head has changed meanwhile: then the signatures are thrown away. The caller holds the
// log's lane.
func (w *Witness) decide(ctx context.Context, l *lane, r *Request, signed *note.Note) (cosignatures []byte, done bool, err error) {
	h, err := w.state.head(ctx, r.Checkpoint.Origin)
	if err != nil {
		return nil, false, err
	}
	if lines := w.repeated(r, h); lines != nil {
		return lines, true, nil
	}
	if refusal := check(r, h); refusal != nil {
		return nil, true, w.report(ctx, r, h, signed, refusal)
	}
	if w.before != nil {
		if err := w.before(ctx, r.Checkpoint, joinNote(signed)); err != nil {
			return nil, true, err
		}
	}
	// Only what is new is charged: a refusal costs no signature, and the tree on record is cosigned
	// once a second at most.
	if (uint64(r.Checkpoint.N) > h.size || h.checkpoint == nil) && !l.grow.Allow() {
		return nil, true, refuse(http.StatusTooManyRequests, "too many checkpoints of %q", r.Checkpoint.Origin)
	}
	at := w.clock()
	if last := time.Unix(h.cosigned, 0); at.Before(last) {
		at = last
	}
	cosignatures, err = w.cosign(r.Checkpoint, at)
	if err != nil {
		return nil, false, err
	}
	done, err = w.state.compareAndSet(ctx, advance{
		origin: r.Checkpoint.Origin, from: h, size: uint64(r.Checkpoint.N), root: r.Checkpoint.Hash, cosigned: at.Unix(),
		checkpoint: append(joinNote(signed), cosignatures...),
	})
	if err != nil || !done {
		return nil, false, err
	}
	return cosignatures, true, nil
}

// check says why a request is refused given the head on record, or nil. The order is that of the
// specification.
func check(r *Request, h *head) *Refusal {
	size := uint64(r.Checkpoint.N)
	switch {
	case r.Old > size:
		return refuse(http.StatusBadRequest, "old size %d is larger than the checkpoint's, %d", r.Old, size)
	case r.Old != h.size:
		return &Refusal{Status: http.StatusConflict, Size: h.size, Detail: fmt.Sprintf("old size %d: the latest cosigned is %d", r.Old, h.size)}
	case size == 0 && r.Checkpoint.Hash != emptyRoot:
		return refuse(http.StatusUnprocessableEntity, "size 0 with a root that is not the empty tree's")
	case r.Old == 0 && len(r.Proof) > 0:
		return refuse(http.StatusUnprocessableEntity, "a consistency proof from size 0: want none")
	case r.Old == size && r.Checkpoint.Hash != h.root:
		return refuse(http.StatusUnprocessableEntity, "another root than that cosigned at size %d", size)
	case r.Old == 0:
		return nil
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, r.Old, size, r.Proof, h.root[:], r.Checkpoint.Hash[:]); err != nil {
		return refuse(http.StatusUnprocessableEntity, "consistency proof from %d to %d: %s", r.Old, size, oneLine(err))
	}
	return nil
}

// report keeps a checkpoint that proves a split view, and returns the refusal, or a failure to keep
// it.
func (w *Witness) report(ctx context.Context, r *Request, h *head, signed *note.Note, refusal *Refusal) error {
	c := r.Checkpoint
	if refusal.Status == http.StatusUnprocessableEntity {
		w.log.Warn("checkpoint refused", "origin", c.Origin, "size", c.N, "old", r.Old, "why", refusal.Detail)
	}
	if h.checkpoint == nil || uint64(c.N) != h.size || c.Hash == h.root {
		return refusal
	}
	w.log.Error("the log has signed two trees of one size", "origin", c.Origin, "size", c.N, "root", c.Hash.String())
	err := w.state.addConflict(ctx, c.Origin, Conflict{Size: h.size, Root: c.Hash, Seen: w.clock(), Theirs: joinNote(signed), Ours: h.checkpoint})
	if err != nil {
		return err
	}
	return refusal
}

// cosign returns the lines of every key that can cover the checkpoint.
func (w *Witness) cosign(c torchwood.Checkpoint, at time.Time) ([]byte, error) {
	var lines []byte
	for _, s := range w.cosigners {
		if !s.covers(c) {
			continue
		}
		line, err := s.Cosign(c, at)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line...)
	}
	return lines, nil
}

// joinNote returns the signed note with the verified signatures only: what anybody can add is not
// kept.
func joinNote(n *note.Note) []byte {
	var b bytes.Buffer
	b.WriteString(n.Text)
	b.WriteByte('\n')
	for _, s := range n.Sigs {
		fmt.Fprintf(&b, "— %s %s\n", s.Name, s.Base64)
	}
	return b.Bytes()
}

func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// oneLine is the text of an error on one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
