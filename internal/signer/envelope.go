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

// SignStatement adds signatures to a statement's envelope, which may have none yet. It verifies
// none of those that are there.
func SignStatement(ctx context.Context, v *poclog.StatementEnvelope, signers ...*Signer) error {
	payload, err := v.Statement.Marshal()
	if err != nil {
		return err
	}
	file, err := seal(ctx, poclog.StatementPayloadType, payload, signers)
	if err != nil {
		return err
	}
	made, err := poclog.ParseStatementEnvelope(file)
	if err != nil {
		return fmt.Errorf("sign envelope: %w", err)
	}
	v.Signatures, err = together(v.Signatures, made.Signatures)
	return err
}

func sign(ctx context.Context, v *poclog.Envelope, signers []*Signer) ([]byte, error) {
	file, err := seal(ctx, v.PayloadType, v.Payload, signers)
	if err != nil {
		return nil, err
	}
	made, err := poclog.ParseEnvelope(file)
	if err != nil {
		return nil, fmt.Errorf("sign envelope: %w", err)
	}
	if made.Signatures, err = together(v.Signatures, made.Signatures); err != nil {
		return nil, err
	}
	return made.Marshal()
}

// seal returns an envelope with new signatures.
func seal(ctx context.Context, payloadType string, payload []byte, signers []*Signer) ([]byte, error) {
	if len(signers) == 0 {
		return nil, errors.New("sign envelope: no key")
	}
	list := make([]signature.Signer, len(signers))
	for i, s := range signers {
		list[i] = adapter{ctx, s}
	}
	file, err := sigstore.WrapMultiSigner(payloadType, list...).SignMessage(bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("sign envelope: %w", err)
	}
	return file, nil
}

// together returns old and new signatures, of different keys.
func together(old, made []poclog.Signature) ([]poclog.Signature, error) {
	all := append(slices.Clone(old), made...)
	for i, s := range all {
		if slices.ContainsFunc(all[:i], func(o poclog.Signature) bool { return o.KeyID == s.KeyID }) {
			return nil, fmt.Errorf("sign envelope: key %s signs twice", s.KeyID)
		}
	}
	return all, nil
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
