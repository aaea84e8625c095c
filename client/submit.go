package client

import (
	"context"
	"crypto/rand"
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

// Submit sends evidence to the log and returns the receipt, checked against the client's policy. A [*Problem] is the log's refusal. A new
// entry must name exactly the files that were sent.
func (c *Client) Submit(ctx context.Context, s *poclog.Submission) (*Submitted, error) {
	body, err := s.Marshal()
	if err != nil {
		return nil, err
	}
	file, status, err := c.do(ctx, call{method: http.MethodPost, path: "v1/proofs", contentType: poclog.SubmissionType, body: body, max: poclog.MaxReceipt})
	if err != nil {
		return nil, err
	}
	v, err := receipt.Open(file, c.Policy)
	if err != nil {
		return nil, fmt.Errorf("the log's receipt: %w", err)
	}
	if v.Entry == nil {
		return nil, fmt.Errorf("the log's receipt: %w", receipt.ErrNotProof)
	}
	out := &Submitted{Receipt: file, Verdict: v, New: status == http.StatusCreated}
	if named := v.Entry.Evidence.Bundle; out.New && named != poclog.BlobOf(s.Bundle) {
		return nil, fmt.Errorf("the log's receipt is for a bundle with digest %s, not the one that was sent", named.SHA256)
	}
	return out, nil
}

// Challenge makes a challenge from the log's newest checkpoint and a random salt. userData is the digest of what the proof is to speak for.
func (c *Client) Challenge(ctx context.Context, profile poclog.Profile, userData poclog.Digest) (*poclog.Challenge, error) {
	cp, err := c.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	ch := &poclog.Challenge{Profile: profile, Checkpoint: cp.Signed, UserData: userData}
	rand.Read(ch.Salt[:]) // never fails: crypto/rand
	return ch, nil
}

// Refresh moves a receipt to the log's newest checkpoint, which more witnesses or auditors may have signed. Entry, t1 and t2 stay: the first
// covering checkpoint remains in the file. The old receipt needs its log's signature, but not yet the policy's quorum.
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
	hashes, err := c.include(ctx, r.Entry, r.Index, cp.Tree)
	if err != nil {
		return nil, err
	}
	if r.First == nil {
		first := r.Inclusion
		r.First = &first
	}
	r.Inclusion = poclog.Inclusion{Hashes: hashes, Checkpoint: cp.Signed}
	return r.Marshal()
}

func checkpointOf(v *tlogpolicy.View, signed []byte) *Checkpoint {
	return &Checkpoint{Tree: Tree{Origin: v.Origin, Size: v.Size, Root: v.Root}, Signed: signed, View: v}
}
