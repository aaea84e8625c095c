package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/poclog/poclog"
)

// maxEvidence is the size of the largest file that an entry can name.
const maxEvidence = max(poclog.MaxBundle, poclog.MaxEnvelope, poclog.MaxCollateral, poclog.MaxPolicy)

// ErrOtherFile says that a log answered with another file than the one that was asked for.
var ErrOtherFile = errors.New("the log's answer is another file")

// Evidence fetches the file that an entry names: a bundle, its envelope, collateral or an appraisal
// policy. It has the digest and, where the blob says one, the size; if the answer has not, the
// error is [ErrOtherFile]. A [*Problem] of status 451 says that the log withholds it by law; 404,
// that the log lost or hides it.
func (c *Client) Evidence(ctx context.Context, blob poclog.Blob) ([]byte, error) {
	limit := maxEvidence
	if blob.Size > 0 {
		limit = min(limit, int(blob.Size))
	}
	b, err := c.get(ctx, "v1/evidence/sha256/"+blob.SHA256.String(), limit)
	if errors.Is(err, errTooLong) {
		return nil, fmt.Errorf("evidence %s: %w: over %d bytes", blob.SHA256, ErrOtherFile, limit)
	}
	if err != nil {
		return nil, err
	}
	if got := poclog.Sum(b); got != blob.SHA256 {
		return nil, fmt.Errorf("evidence %s: %w, with digest %s", blob.SHA256, ErrOtherFile, got)
	}
	if blob.Size > 0 && len(b) != int(blob.Size) {
		return nil, fmt.Errorf("evidence %s: %w: %d bytes, and the entry says %d", blob.SHA256, ErrOtherFile, len(b), blob.Size)
	}
	return b, nil
}

// FetchPolicy fetches the appraisal policy that is in force: what the log admits. It is the log's
// word; an entry of kind "config" proves it.
func (c *Client) FetchPolicy(ctx context.Context) (file []byte, policy *poclog.Policy, err error) {
	if file, err = c.get(ctx, "v1/policy", poclog.MaxPolicy); err != nil {
		return nil, nil, err
	}
	policy, err = poclog.ParsePolicy(file)
	return file, policy, err
}

// ChallengeOf fetches the challenge's checkpoint of an entry, as a receipt carries it, from the
// entry's bundle; nil for historical evidence. It is the checkpoint that the entry names.
func (c *Client) ChallengeOf(ctx context.Context, e *poclog.Entry) ([]byte, error) {
	if e.Fresh == nil {
		return nil, nil
	}
	file, err := c.Evidence(ctx, e.Evidence.Bundle)
	if err != nil {
		return nil, fmt.Errorf("the bundle, which has the challenge: %w", err)
	}
	b, err := poclog.ParseBundle(file)
	if err != nil {
		return nil, err
	}
	challenge, err := b.Challenge()
	if err != nil {
		return nil, err
	}
	if poclog.Sum(challenge.Checkpoint) != e.Fresh.Checkpoint {
		return nil, errors.New("the bundle's challenge is not the one that the entry names")
	}
	return challenge.Checkpoint, nil
}
