package profile

import (
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/alliance"
	"github.com/poclog/poclog/verify/vouch/poe"
)

// endorsedChip is the check of tokens by which registries of hardware vouch for the chip.
var endorsedChip = step{verify.EndorseChip, optional, checkTokens}

// endorsedPlatform is the check of what owners of Intel platforms say.
var endorsedPlatform = step{verify.EndorseOwner, optional, checkOwners}

// checkTokens verifies every token there is: one that is wrong is not passed over, for whoever
// brought it says that it counts.
func checkTokens(s *subject) error {
	if s.policy == nil || len(s.policy.Alliances) == 0 {
		return errUnasked
	}
	tokens := s.collateral.All(poclog.AllianceToken)
	if len(tokens) == 0 {
		return absentf("no registry's token vouches for the chip")
	}
	keys, chip := s.policy.AllianceKeys(), s.chip()
	for _, it := range tokens {
		t, err := alliance.Parse(it.Body)
		if err != nil {
			return err
		}
		by, err := t.Signer(keys)
		if err != nil {
			return err
		}
		// Whether the quote answers the challenge is a check of its own, and refuses if not.
		shown := alliance.Shown{Quote: s.tee(), Size: int(it.Shown), Chip: chip, Fresh: s.challenge != nil}
		if err := t.Check(shown, s.in.Appraised); err != nil {
			return err
		}
		if err := s.endorse(verify.EndorseChip, poclog.Endorsement{Kind: it.Kind, By: by, Of: chip, Says: t.Label, From: t.Time}); err != nil {
			return err
		}
		s.note(verify.EndorseChip, "%q lists it as %q", s.policy.Alliances[slices.Index(keys, by)].Name, t.Label)
	}
	return nil
}

// chip names the chip that signed the TEE's quote, or "" where nobody says which it is.
func (s *subject) chip() (id poclog.Identity) {
	if s.report != nil {
		id, _ = s.snpChain.ChipID(s.report)
		return id
	}
	id, _ = poclog.HexIdentity(poclog.IntelPPID, s.quote.Platform.PPID[:])
	return id
}

// checkOwners verifies every ownership endorsement there is. A root speaks for one owner, whom the
// policy names: else each of several could give his machines another's name. And a machine has one
// owner.
func checkOwners(s *subject) error {
	if s.policy == nil {
		return errUnasked
	}
	roots := s.roots(poclog.RootPlatformOwner)
	if len(roots) == 0 {
		return errUnasked
	}
	items := s.collateral.All(poclog.OwnerEndorsement)
	if len(items) == 0 {
		return absentf("nobody says whose the platform is")
	}
	instance, ok := poclog.HexIdentity(poclog.IntelPIID, s.quote.Platform.PIID[:])
	if !ok {
		return verify.Failf(verify.EndorseOwner, "ownership endorsement: the chip's certificate names no platform instance")
	}
	owner := ""
	for _, it := range items {
		e, err := s.openOwner(&it, roots)
		if err != nil {
			return err
		}
		if err := e.CheckPlatform(s.quote.Platform.PIID[:]); err != nil {
			return err
		}
		if name := s.ownerOf(e.Root); name != e.Owner {
			return verify.Failf(verify.EndorseOwner, "ownership endorsement: it names %q, the policy lists its root for %q", e.Owner, name)
		}
		if owner != "" && owner != e.Owner {
			return verify.Failf(verify.EndorseOwner, "ownership endorsements: one names %q, another %q", owner, e.Owner)
		}
		owner = e.Owner
		x := poclog.Endorsement{Kind: it.Kind, By: e.Root, Of: instance, Says: e.Owner, From: e.NotBefore, Until: e.NotAfter}
		if err := s.endorse(verify.EndorseOwner, x); err != nil {
			return err
		}
		s.note(verify.EndorseOwner, "a platform of %q, says %s", e.Owner, e.Signer)
	}
	return nil
}

// openOwner verifies an ownership endorsement, once while it is valid: its curve is a slow one.
func (s *subject) openOwner(it *poclog.CollateralItem, roots map[[32]byte]bool) (*poe.Signed, error) {
	key := keyOf("owner endorsement", roots, it.Chain, it.Body)
	if v, ok := s.in.Known.get(key, s.in.Appraised); ok {
		return v.(*poe.Signed), nil
	}
	e, err := poe.Check(it, roots, s.in.Appraised)
	if err == nil {
		s.in.Known.put(key, known{e.Span, e}, s.in.Appraised)
	}
	return e, err
}

// ownerOf returns the owner for whom the policy lists a root.
func (s *subject) ownerOf(root poclog.Digest) string {
	for _, r := range s.policy.Roots {
		if r.Use == poclog.RootPlatformOwner && r.SHA256 == root {
			return r.Name
		}
	}
	return ""
}

// endorse adds to what the entry says that others vouch for, once for each of them.
func (s *subject) endorse(check verify.Check, x poclog.Endorsement) error {
	at, twice := slices.BinarySearchFunc(s.entry.Endorsements, x, poclog.CompareEndorsements)
	if twice {
		return verify.Failf(check, "%s by %s: two of them", x.Kind, x.By)
	}
	s.entry.Endorsements = slices.Insert(s.entry.Endorsements, at, x)
	return nil
}
