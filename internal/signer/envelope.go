package signer

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sigstore/sigstore/pkg/signature"
	sigstore "github.com/sigstore/sigstore/pkg/signature/dsse"

	"github.com/poclog/poclog"
)

// Seal signs a submission and returns its envelope, docs/format.md §11: over the bundle alone where
// there is nothing else.
func Seal(ctx context.Context, sub *poclog.Submission, signers ...*Signer) ([]byte, error) {
	payloadType, payload := poclog.BundleType, sub.Bundle
	if len(sub.Collateral) > 0 || !sub.Judged.IsZero() {
		var err error
		if payload, err = sub.Marshal(); err != nil {
			return nil, err
		}
		payloadType = poclog.SubmissionType
	}
	return sign(ctx, &poclog.Envelope{PayloadType: payloadType, Payload: payload}, signers)
}

// Countersign adds signatures to an envelope. It verifies none of those that are there: that needs
// a policy.
func Countersign(ctx context.Context, envelope []byte, signers ...*Signer) ([]byte, error) {
	v, err := poclog.ParseEnvelope(envelope)
	if err != nil {
		return nil, err
	}
	return sign(ctx, v, signers)
}

func sign(ctx context.Context, v *poclog.Envelope, signers []*Signer) ([]byte, error) {
	if len(signers) == 0 {
		return nil, errors.New("sign envelope: no key")
	}
	list := make([]signature.Signer, len(signers))
	for i, s := range signers {
		list[i] = adapter{ctx, s}
	}
	file, err := sigstore.WrapMultiSigner(v.PayloadType, list...).SignMessage(bytes.NewReader(v.Payload))
	if err != nil {
		return nil, fmt.Errorf("sign envelope: %w", err)
	}
	made, err := poclog.ParseEnvelope(file)
	if err != nil {
		return nil, fmt.Errorf("sign envelope: %w", err)
	}
	all := append(slices.Clone(v.Signatures), made.Signatures...)
	for i, s := range all {
		if slices.ContainsFunc(all[:i], func(o poclog.Signature) bool { return o.KeyID == s.KeyID }) {
			return nil, fmt.Errorf("sign envelope: key %s signs twice", s.KeyID)
		}
	}
	made.Signatures = all
	return made.Marshal()
}

// adapter is a Signer as sigstore takes one.
type adapter struct {
	ctx context.Context
	*Signer
}

// PublicKey implements signature.Signer.
func (a adapter) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return a.key.Public, nil
}

// SignMessage implements signature.Signer.
func (a adapter) SignMessage(r io.Reader, _ ...signature.SignOption) ([]byte, error) {
	msg, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return a.Sign(a.ctx, msg)
}
