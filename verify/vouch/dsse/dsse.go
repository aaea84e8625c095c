// Package dsse verifies who publishes a submission: DSSE envelopes
// (https://github.com/secure-systems-lab/dsse) over bundles and submissions, signed by keys that an
// appraisal policy lists.
//
// An envelope is parsed strictly by package poclog; its signatures are then sigstore's to verify.
// What is left to chance in DSSE is not here: every signature names its key, every key is listed
// and signs once, every signature verifies, and the payload is the bundle that is judged. Nothing
// of the bundle is looked at.
//
// It does not say that a publisher is honest, runs the VM or submitted it to this log: whoever has
// an envelope can send it again. TestVectors and the log's TestPublishersAreVerifiedBeforeAnyQuote
// are the evidence.
package dsse

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"slices"

	"github.com/sigstore/sigstore/pkg/signature"
	sigstore "github.com/sigstore/sigstore/pkg/signature/dsse"
	"golang.org/x/crypto/ssh"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Publishers are those whose submissions a policy admits. It may be used concurrently. The nil
// value is a policy that admits everybody's.
type Publishers struct {
	threshold int
	keys      map[string]*poclog.PublisherKey // by key id
}

// New returns the publishers of a policy, or nil for none.
func New(p *poclog.Publishers) (*Publishers, error) {
	if p == nil {
		return nil, nil
	}
	s := &Publishers{threshold: p.Threshold, keys: make(map[string]*poclog.PublisherKey, len(p.Keys))}
	for _, text := range p.Keys {
		k, err := poclog.ParsePublisherKey(text)
		if err != nil {
			return nil, verify.Failf(verify.Policy, "publishers: %w", err)
		}
		id, err := KeyID(k)
		if err != nil {
			return nil, verify.Failf(verify.Policy, "publishers: %w", err)
		}
		s.keys[id] = k
	}
	if s.threshold < 1 || s.threshold > len(s.keys) {
		return nil, verify.Failf(verify.Policy, "publishers: threshold %d of %d keys", s.threshold, len(s.keys))
	}
	return s, nil
}

// KeyID returns how an envelope names a key: its fingerprint as OpenSSH writes it, "SHA256:" and
// base64 without padding.
func KeyID(k *poclog.PublisherKey) (string, error) {
	key, err := ssh.NewPublicKey(k.Public)
	if err != nil {
		return "", fmt.Errorf("fingerprint of key %s: %w", k.Digest, err)
	}
	return ssh.FingerprintSHA256(key), nil
}

// Hash returns what a key's signatures are made over: SHA-256 for P-256, SHA-384 for P-384; Ed25519
// signs the message itself, and 0 is returned.
func Hash(k *poclog.PublisherKey) crypto.Hash {
	switch key, ok := k.Public.(*ecdsa.PublicKey); {
	case !ok:
		return 0
	case key.Curve == elliptic.P384():
		return crypto.SHA384
	}
	return crypto.SHA256
}

// Verify verifies the envelope that a bundle came in, which is empty where it came without, and
// returns the digests of the keys that signed, ascending. What is refused is a
// [verify.PublisherSignature], or [verify.Format] for an envelope that is none.
func (s *Publishers) Verify(envelope, bundle []byte) ([]poclog.Digest, error) {
	switch {
	case s == nil && len(envelope) == 0:
		return nil, nil
	case s == nil:
		return nil, verify.Failf(verify.PublisherSignature, "the policy lists no publishers, and without their keys signatures prove nothing: it takes submissions unsigned")
	case len(envelope) == 0:
		return nil, verify.Failf(verify.PublisherSignature, "not signed: the policy admits what %d of %d publishers signed", s.threshold, len(s.keys))
	}
	v, err := poclog.ParseEnvelope(envelope)
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	sub, err := v.Submission()
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	if !bytes.Equal(sub.Bundle, bundle) {
		return nil, verify.Failf(verify.PublisherSignature, "the publishers signed another bundle, with digest %s", poclog.Sum(sub.Bundle))
	}
	signers, err := s.signers(v)
	if err != nil {
		return nil, err
	}
	if err := verifyAll(v, envelope, signers); err != nil {
		return nil, err
	}
	digests := make([]poclog.Digest, len(signers))
	for i, k := range signers {
		digests[i] = k.Digest
	}
	slices.SortFunc(digests, func(a, b poclog.Digest) int { return bytes.Compare(a[:], b[:]) })
	return digests, nil
}

// signers finds the keys that an envelope's signatures name. Each must be listed: bytes that nobody
// judges have no place in the evidence.
func (s *Publishers) signers(v *poclog.Envelope) ([]*poclog.PublisherKey, error) {
	var list []*poclog.PublisherKey
	for _, sig := range v.Signatures {
		k, ok := s.keys[sig.KeyID]
		if !ok {
			return nil, verify.Failf(verify.PublisherSignature, "signed by key %q, which the policy does not list", sig.KeyID)
		}
		if slices.Contains(list, k) {
			return nil, verify.Failf(verify.PublisherSignature, "signed by key %q twice", sig.KeyID)
		}
		list = append(list, k)
	}
	if len(list) < s.threshold {
		return nil, verify.Failf(verify.PublisherSignature, "signed by %d of the policy's publishers: want %d", len(list), s.threshold)
	}
	return list, nil
}

// verifyAll demands that every signature is good: the keys are all of those that the envelope
// names, each once. A bad one is no absent one.
func verifyAll(v *poclog.Envelope, envelope []byte, keys []*poclog.PublisherKey) (err error) {
	// The envelope is a stranger's, and sigstore's code is not ours.
	defer func() {
		if p := recover(); p != nil {
			err = verify.Failf(verify.PublisherSignature, "the envelope's verification failed: %v", p)
		}
	}()
	verifiers := make([]signature.Verifier, len(keys))
	for i, k := range keys {
		if verifiers[i], err = signature.LoadVerifier(k.Public, Hash(k)); err != nil {
			return verify.Failf(verify.Policy, "publisher's key %s: %w", k.Digest, err)
		}
	}
	var payload []byte
	all := sigstore.WrapMultiVerifierWithOpts(v.PayloadType, len(verifiers), verifiers, sigstore.WithDecodedPayload(&payload))
	if err := all.VerifySignature(bytes.NewReader(envelope), nil); err != nil {
		return verify.Failf(verify.PublisherSignature, "not all of %d signatures are good: %w", len(keys), err)
	}
	if !bytes.Equal(payload, v.Payload) {
		return verify.Failf(verify.PublisherSignature, "the signatures are over another payload")
	}
	return nil
}
