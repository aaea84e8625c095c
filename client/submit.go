package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/http"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A Submitted is a log's answer to a submission.
type Submitted struct {
	Receipt []byte // its file
	Verdict *receipt.Verdict
	New     bool // false if the log had this evidence already: the receipt is that entry's
}

// Submit sends evidence to the log, in its envelope if it has one, and returns the receipt, checked
// against the client's policy: a new entry names the file that was sent, and the entry that answers
// for a duplicate has its quotes. A [*Problem] is the log's refusal. With a store, the receipt's
// checkpoint is proven to extend those seen before; if that fails, the receipt is returned beside
// the error, for it is what the log signed. What the log shows before it is sent anything is held
// to that first: what is published is not taken back.
func (c *Client) Submit(ctx context.Context, s *poclog.Submission) (*Submitted, error) {
	body, contentType := s.Envelope, poclog.EnvelopeType
	if len(body) == 0 {
		var err error
		if body, err = s.Marshal(); err != nil {
			return nil, err
		}
		contentType = poclog.SubmissionType
	}
	return c.send(ctx, "v1/proofs", contentType, body, func(got *Submitted) error { return got.answers(s) })
}

// Register sends a statement to the log, with those of its documents that the log is to keep, and
// returns the receipt of its entry, checked against the client's policy. Of a statement that the
// log had already, others may have signed.
func (c *Client) Register(ctx context.Context, s *poclog.StatementSubmission) (*Submitted, error) {
	body, err := s.Marshal()
	if err != nil {
		return nil, err
	}
	sent, err := s.Envelope.Statement.Marshal()
	if err != nil {
		return nil, err
	}
	return c.send(ctx, "v1/statements", poclog.StatementSubmissionType, body, func(got *Submitted) error { return got.states(sent) })
}

// send submits a body and checks the receipt with which the log answers.
func (c *Client) send(ctx context.Context, path, contentType string, body []byte, answers func(*Submitted) error) (*Submitted, error) {
	if c.Store != nil {
		if _, err := c.Checkpoint(ctx); err != nil {
			return nil, err
		}
	}
	file, status, err := c.do(ctx, call{method: http.MethodPost, path: path, contentType: contentType, body: body, max: poclog.MaxReceipt})
	if err != nil {
		return nil, err
	}
	v, err := receipt.Open(file, c.Policy)
	if err != nil {
		return nil, fmt.Errorf("the log's receipt: %w", err)
	}
	out := &Submitted{Receipt: file, Verdict: v, New: status == http.StatusCreated}
	if err := answers(out); err != nil {
		return nil, fmt.Errorf("the log's receipt: %w", err)
	}
	return out, c.remember(ctx, checkpointOf(v.Checkpoint, v.Receipt.Inclusion.Checkpoint))
}

// states checks that the receipt is of the statement that was sent.
func (s *Submitted) states(sent []byte) error {
	if s.Verdict.Statement == nil {
		return fmt.Errorf("it is of an entry of kind %s", s.Verdict.Kind)
	}
	logged, err := s.Verdict.Statement.Envelope.Statement.Marshal()
	if err != nil {
		return err
	}
	if !bytes.Equal(sent, logged) {
		return fmt.Errorf("it is of another statement, with digest %s", poclog.Sum(logged))
	}
	return nil
}

// answers checks that the receipt is of an entry for what was sent, and not of somebody else's. The
// entry of a duplicate names the publishers of whoever came first.
func (s *Submitted) answers(sent *poclog.Submission) error {
	e := s.Verdict.Entry
	if e == nil {
		return receipt.ErrNotProof
	}
	if s.New {
		if named := e.Evidence.Bundle; named != poclog.BlobOf(sent.Bundle) {
			return fmt.Errorf("it is for a bundle with digest %s, not the one that was sent", named.SHA256)
		}
		var envelope poclog.Blob
		if len(sent.Envelope) > 0 {
			envelope = poclog.BlobOf(sent.Envelope)
		}
		if named := e.Evidence.Envelope; named != envelope {
			return fmt.Errorf("it is for an envelope with digest %s, not the one that was sent", named.SHA256)
		}
		return nil
	}
	b, err := poclog.ParseBundle(sent.Bundle)
	if err != nil {
		return err
	}
	if quote, ok := quoteIdentity(b); !ok || e.Quote != quote {
		return fmt.Errorf("it is of an entry with another quote: %s", e.Quote)
	}
	if e.Evidence.Bundle == poclog.BlobOf(sent.Bundle) {
		return nil // its entry names no boot where its TPM's quote and its TEE's are not bound to each other
	}
	if boot, ok := bootIdentity(b); ok && (e.Boot == nil || *e.Boot != boot) {
		return fmt.Errorf("it is of an entry with another TPM quote")
	}
	return nil
}

// Lengths of what a TEE signs: Intel's DCAP quote library API, "Quote Format" (version 4: header
// and body; 5: header, descriptor whose size is its last four bytes, body), and AMD's SEV-SNP ABI,
// "ATTESTATION_REPORT".
const (
	tdxHeader     = 48
	tdxDescriptor = 6
	tdxBody       = 584
	snpSigned     = 0x2a0
)

// quoteIdentity is the identity of a bundle's TEE quote: SHA-256 of its signed part (docs/format.md
// §2). It judges nothing.
func quoteIdentity(b *poclog.Bundle) (poclog.Identity, bool) {
	q, n := b.Get(poclog.ItemTDXQuote), uint64(tdxHeader+tdxBody)
	if len(q) == 0 {
		q, n = b.Get(poclog.ItemSNPReport), snpSigned
	} else if len(q) >= tdxHeader+tdxDescriptor && binary.LittleEndian.Uint16(q) == 5 {
		n = tdxHeader + tdxDescriptor + uint64(binary.LittleEndian.Uint32(q[tdxHeader+2:]))
	}
	if n > uint64(len(q)) {
		return "", false
	}
	sum := poclog.Sum(q[:n])
	return poclog.HexIdentity(poclog.QuoteKind, sum[:])
}

// bootIdentity is the digest of a bundle's TPMS_ATTEST, whose length precedes it.
func bootIdentity(b *poclog.Bundle) (d poclog.Digest, ok bool) {
	q := b.Get(poclog.ItemTPMQuote)
	if len(q) < 2 || len(q)-2 < int(binary.BigEndian.Uint16(q)) {
		return d, false
	}
	return poclog.Sum(q[2 : 2+int(binary.BigEndian.Uint16(q))]), true
}

// Challenge makes a challenge from the log's newest checkpoint and a random salt. userData is the
// digest of what the proof is to speak for.
func (c *Client) Challenge(ctx context.Context, profile poclog.Profile, userData poclog.Digest) (*poclog.Challenge, error) {
	cp, err := c.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	ch := &poclog.Challenge{Profile: profile, Checkpoint: cp.Signed, UserData: userData}
	rand.Read(ch.Salt[:]) // never fails: crypto/rand
	return ch, nil
}

// Refresh moves a receipt to the log's newest checkpoint, which more witnesses or auditors may have
// signed, and adds auditors' notes of exceptions. Entry, t1 and t2 stay: the first covering
// checkpoint remains in the file. The old receipt needs its log's signature, but not yet the
// policy's quorum.
func (c *Client) Refresh(ctx context.Context, file []byte) ([]byte, error) {
	r, err := poclog.ParseReceipt(file)
	if err != nil {
		return nil, err
	}
	v, err := c.Policy.OpenLogged(r.Inclusion.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	old := checkpointOf(v, r.Inclusion.Checkpoint)
	cp, err := c.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if cp.Origin != old.Origin || cp.Size < old.Size {
		return nil, fmt.Errorf("the log at this address is %q at size %d: the receipt is of %q at size %d", cp.Origin, cp.Size, old.Origin, old.Size)
	}
	if err := c.Consistent(ctx, old, cp); err != nil {
		return nil, err
	}
	hashes, err := c.Inclusion(ctx, r.Entry, r.Index, cp.Tree)
	if err != nil {
		return nil, err
	}
	if r.First == nil {
		first := r.Inclusion
		r.First = &first
	}
	r.Inclusion = poclog.Inclusion{Hashes: hashes, Checkpoint: cp.Signed}
	if r.Exceptions, err = c.Exceptions(ctx, cp); err != nil {
		return nil, err
	}
	moved, err := r.Marshal()
	if err != nil {
		return nil, err
	}
	if _, err := receipt.Open(moved, c.Policy); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return moved, nil
}

func checkpointOf(v *tlogpolicy.View, signed []byte) *Checkpoint {
	return &Checkpoint{Tree: Tree{Origin: v.Origin, Size: v.Size, Root: v.Root}, Signed: signed, View: v}
}
