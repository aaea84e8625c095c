package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/disclose"
)

// Terms are what a publisher agrees to beside what a bundle discloses: who logs it, and whose
// signatures it carries.
type Terms struct {
	Origin string          // of the log; of a policy with several logs, all of them
	Keys   []poclog.Digest // in the order in which they sign; none where nobody signs
}

// A consent is <window>-<key>.consent.json: that the publisher agreed to this bundle under these
// terms. It is written before the bundle beside it. Only who may write the folder can make one;
// CheckPrivate holds that nobody else does.
type consent struct {
	V         int             `json:"v"`
	Bundle    poclog.Digest   `json:"bundle"`
	Disclosed poclog.Digest   `json:"disclosed"` // what was shown: disclose.Digest
	Origin    string          `json:"origin"`
	Keys      []poclog.Digest `json:"keys"`
}

const maxConsent = 1 << 14

// A DeclinedError says that the publisher did not agree.
type DeclinedError struct{ Err error }

func (e *DeclinedError) Error() string { return e.Err.Error() }

// Unwrap returns why.
func (e *DeclinedError) Unwrap() error { return e.Err }

// errFound says that a bundle cannot be published without a publisher who looks at it.
var errFound = errors.New("there is no record that its publication was agreed to")

// keepConsent keeps a consent, before its bundle.
func (s *State) keepConsent(stem string, c *consent) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.disk.Replace(s.path(stem, consentSuffix), append(b, '\n'), 0o600)
}

// consent returns the record beside a bundle, or nil where there is none for these bytes.
func (s *State) consent(stem string, bundle []byte) (*consent, error) {
	b, err := readBounded(s.path(stem, consentSuffix), maxConsent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := new(consent)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if d.Decode(c) != nil || c.V != 1 || c.Bundle != poclog.Sum(bundle) {
		return nil, nil
	}
	return c, nil
}

// consentTo is the record of an agreement under this process's terms.
func (s *Series) consentTo(bundle []byte, disclosed poclog.Digest) *consent {
	return &consent{V: 1, Bundle: poclog.Sum(bundle), Disclosed: disclosed, Origin: s.Terms.Origin, Keys: slices.Clone(s.Terms.Keys)}
}

// disclosed lists what a bundle tells.
func (s *Series) disclosed(bundle []byte) ([]disclose.Fact, error) {
	if s.Discloses == nil {
		return nil, nil
	}
	return s.Discloses(bundle)
}

// agree asks the publisher about a bundle of this process, once for all that disclose the same.
func (s *Series) agree(ctx context.Context, bundle []byte) (poclog.Digest, error) {
	list, err := s.disclosed(bundle)
	if err != nil {
		return poclog.Digest{}, err
	}
	d := disclose.Digest(list)
	if s.Ask == nil || s.agreed[d] {
		return d, nil
	}
	if err := s.Ask(ctx, list, false); err != nil {
		return d, &DeclinedError{err}
	}
	if s.agreed == nil {
		s.agreed = make(map[poclog.Digest]bool)
	}
	s.agreed[d] = true
	return d, nil
}

// checkConsent decides whether a bundle that is in the folder may be sent. One that an earlier
// process agreed to may, under the same terms. A [refusedError] is of one that may not.
func (s *Series) checkConsent(ctx context.Context, name string, bundle []byte) error {
	c, err := s.State.consent(name, bundle)
	switch {
	case err != nil:
		return err
	case c == nil:
		return s.askFound(ctx, name, bundle)
	case !slices.Equal(c.Keys, s.Terms.Keys):
		return &refusedError{fmt.Errorf("it was agreed to with the signatures of %v, and not of %v", c.Keys, s.Terms.Keys)}
	case c.Origin != s.Terms.Origin:
		return &refusedError{fmt.Errorf("it was agreed to for log %q, and not for %q", c.Origin, s.Terms.Origin)}
	}
	list, err := s.disclosed(bundle)
	if err != nil {
		return &refusedError{err}
	}
	if disclose.Digest(list) == c.Disclosed {
		return nil
	}
	d, err := s.agree(ctx, bundle) // collateral beside it says more than then
	if err != nil {
		return err
	}
	return s.State.keepConsent(name, s.consentTo(bundle, d))
}

// askFound asks about a bundle of which nothing is known. Nobody's key signs such a one.
func (s *Series) askFound(ctx context.Context, name string, bundle []byte) error {
	if s.Ask == nil || len(s.Terms.Keys) > 0 {
		return &refusedError{errFound}
	}
	list, err := s.disclosed(bundle)
	if err != nil {
		return &refusedError{fmt.Errorf("%w: %w", errFound, err)}
	}
	if err := s.Ask(ctx, list, true); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return &refusedError{fmt.Errorf("%w: %w", errFound, err)}
	}
	return s.State.keepConsent(name, s.consentTo(bundle, disclose.Digest(list)))
}
