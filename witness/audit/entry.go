package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// The checks of an audit, beside those of the appraisal that it repeats.
const (
	CheckLeaf      verify.Check = "audit.leaf"      // the leaf is well-formed, of a kind that is known, and what its evidence gives, byte for byte
	CheckConfig    verify.Check = "audit.config"    // the first entry is a config entry, and every one names a policy
	CheckPolicy    verify.Check = "audit.policy"    // the entry was judged by the policy in force
	CheckEvidence  verify.Check = "audit.evidence"  // the files that the entry names are there and have its digests
	CheckAppraised verify.Check = "audit.appraised" // the time of appraisal lies within its bounds
)

// An examiner verifies entries that one target covers. It may be used concurrently.
type examiner struct {
	files    *files
	appraise Appraiser
	policy   *tlogpolicy.Policy // of the log
	seen     time.Time          // by which the target was first seen
}

// A verdict is the outcome of one entry: it passed unless a member is set.
type verdict struct {
	refused  *verify.Error
	withheld *Withheld // without the entry's number
	err      error     // it could not be decided
}

// classify tells a refusal and a withheld file from what could not be decided.
func classify(err error) verdict {
	var refused *verify.Error
	var withheld *withheldError
	switch {
	case err == nil:
		return verdict{}
	case errors.As(err, &refused): // first: its cause may be a file that is withheld
		return verdict{refused: refused}
	case errors.As(err, &withheld):
		return verdict{withheld: &withheld.Withheld}
	}
	return verdict{err: err}
}

// A withheldError is a file that the log withholds by law.
type withheldError struct{ Withheld }

func (w *withheldError) Error() string {
	return fmt.Sprintf("%s %s is withheld by law", w.Part, w.Digest)
}

// config checks a config entry. Nothing after it could be verified without its policy: it cannot be
// withheld.
func (x *examiner) config(ctx context.Context, c *poclog.Config) error {
	if c.Time.After(x.seen.Add(verify.MaxSkew)) {
		return verify.Failf(CheckAppraised, "the config entry says %s, and was seen by %s", c.Time.Format(time.RFC3339), x.seen.Format(time.RFC3339))
	}
	b, err := x.fetch(ctx, "policy", c.Policy, true)
	if _, ok := errors.AsType[*withheldError](err); ok {
		return verify.Failf(CheckEvidence, "%w: nothing after it could be verified", err)
	}
	if err != nil {
		return err
	}
	if _, err := poclog.ParsePolicy(b); err != nil {
		return verify.Failf(CheckConfig, "policy %s: %w", c.Policy.SHA256, err)
	}
	return nil
}

// proof checks a proof entry: it is recomputed from its evidence.
func (x *examiner) proof(ctx context.Context, leaf []byte, e *poclog.Entry, inForce poclog.Blob) error {
	if e.Evidence.Policy != inForce {
		return verify.Failf(CheckPolicy, "judged by policy %s: policy %s was in force", e.Evidence.Policy.SHA256, inForce.SHA256)
	}
	if e.Appraised.After(x.seen.Add(verify.MaxSkew)) {
		return verify.Failf(CheckAppraised, "appraised at %s: a checkpoint that covers it was seen by %s", e.Appraised.Format(time.RFC3339), x.seen.Format(time.RFC3339))
	}
	in := profile.Input{Appraised: e.Appraised, Appraisal: e.Appraisal}
	withheld, err := x.evidence(ctx, e, &in)
	if err != nil {
		return err
	}
	if withheld != nil {
		return x.unseen(e, in.Policy, withheld)
	}
	if err := x.notBefore(e, &in); err != nil {
		return err
	}
	return x.recompute(leaf, in)
}

// evidence fetches what an entry names, all of it but what is withheld by law: of that it returns
// the first.
func (x *examiner) evidence(ctx context.Context, e *poclog.Entry, in *profile.Input) (withheld *withheldError, err error) {
	for _, part := range []struct {
		what   string
		blob   poclog.Blob
		dst    *[]byte
		shared bool // by many entries
	}{
		{"bundle", e.Evidence.Bundle, &in.Bundle, false},
		{"envelope", e.Evidence.Envelope, &in.Envelope, false},
		{"collateral", e.Evidence.Collateral, &in.Collateral, true},
		{"policy", e.Evidence.Policy, &in.Policy, true},
	} {
		if part.blob == (poclog.Blob{}) {
			continue
		}
		b, err := x.fetch(ctx, part.what, part.blob, part.shared)
		var w *withheldError
		switch {
		case errors.As(err, &w) && withheld == nil:
			withheld = w
		case err != nil && w == nil:
			return nil, err
		}
		*part.dst = b
	}
	return withheld, nil
}

// unseen holds an entry whose evidence is withheld to what its leaf and the policy show. If it
// passes, the error is the withheldError.
func (x *examiner) unseen(e *poclog.Entry, policy []byte, withheld *withheldError) error {
	if policy == nil {
		return verify.Failf(CheckEvidence, "%w: what it admits cannot be shown", withheld)
	}
	p, err := poclog.ParsePolicy(policy)
	if err != nil {
		return verify.Failf(CheckPolicy, "%w", err)
	}
	if e.Realm != p.Realm {
		return verify.Failf(CheckPolicy, "an entry of realm %s, whose evidence is withheld, under a policy of realm %s", e.Realm, p.Realm)
	}
	if !p.Admits(e.Profile, int(e.Level), e.Fresh == nil) {
		return verify.Failf(CheckPolicy, "an entry of profile %s at level %d, whose evidence is withheld: the policy does not admit it", e.Profile, e.Level)
	}
	return withheld
}

// notBefore holds the time of appraisal to the challenge's: evidence cannot have been judged before
// it was made. What it parses of the input it keeps there.
func (x *examiner) notBefore(e *poclog.Entry, in *profile.Input) error {
	if e.Fresh == nil {
		return nil
	}
	b, err := poclog.ParseBundle(in.Bundle)
	if err != nil {
		return verify.Failf(verify.Format, "%w", err)
	}
	c, err := b.Challenge()
	if err != nil {
		return verify.Failf(verify.Format, "%w", err)
	}
	in.Parsed.Bundle, in.Parsed.Challenge = b, c
	// A checkpoint of another log, or without the quorum, has no time under this log's policy;
	// whether it is a challenge at all is the appraisal's to say.
	v, err := x.policy.Open(c.Checkpoint)
	if err != nil {
		return nil
	}
	if t1, known := v.NotBefore(); known && e.Appraised.Add(verify.MaxSkew).Before(t1) {
		return verify.Failf(CheckAppraised, "appraised at %s: its challenge was cosigned at %s", e.Appraised.Format(time.RFC3339), t1.Format(time.RFC3339))
	}
	return nil
}

// recompute appraises again and compares bytes.
func (x *examiner) recompute(leaf []byte, in profile.Input) error {
	a, err := x.judge(in)
	if err != nil {
		if _, ok := verify.CheckOf(err); !ok {
			return verify.Failf(CheckLeaf, "its evidence is refused: %w", err)
		}
		return err
	}
	again, err := a.Entry.Marshal()
	if err != nil {
		return verify.Failf(CheckLeaf, "its evidence gives no entry: %w", err)
	}
	if !bytes.Equal(again, leaf) {
		return verify.Failf(CheckLeaf, "its evidence gives another entry, which differs from byte %d on", firstDifference(again, leaf))
	}
	return nil
}

// judge appraises, and survives an appraiser that does not: one bundle must not stop the audit of a
// log.
func (x *examiner) judge(in profile.Input) (a *verify.Appraisal, err error) {
	defer func() {
		if p := recover(); p != nil {
			a, err = nil, verify.Failf(CheckLeaf, "the appraisal failed: %v", p)
		}
	}()
	return x.appraise(in)
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// fetch returns a file that an entry names: the client holds it to its digest. Its absence is a
// failed check or a withheldError; an error of the network is neither.
func (x *examiner) fetch(ctx context.Context, part string, blob poclog.Blob, shared bool) ([]byte, error) {
	get := x.files.get
	if shared {
		get = x.files.getShared
	}
	b, err := get(ctx, blob)
	switch status := client.StatusOf(err); {
	case err == nil && uint64(len(b)) != uint64(blob.Size):
		return nil, verify.Failf(CheckEvidence, "%s %s has %d bytes: the entry says %d", part, blob.SHA256, len(b), blob.Size)
	case err == nil:
		return b, nil
	case errors.Is(err, client.ErrOtherFile):
		return nil, verify.Failf(CheckEvidence, "%s: %w", part, err)
	case status == http.StatusUnavailableForLegalReasons:
		return nil, &withheldError{Withheld{Part: part, Digest: blob.SHA256}}
	case status == http.StatusNotFound || status == http.StatusGone || status == http.StatusForbidden:
		return nil, verify.Failf(CheckEvidence, "%s %s is not to be had: %w", part, blob.SHA256, err)
	}
	return nil, fmt.Errorf("%s %s: %w", part, blob.SHA256, err)
}
