package collateral

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/vouch/alliance"
	"github.com/poclog/poclog/verify/vouch/launch"
	"github.com/poclog/poclog/verify/vouch/poe"
)

// Describe says what the items of a file are, under the roots of a policy. What expired, is not yet
// valid or is not authentic has an error.
func Describe(c *poclog.Collateral, p *poclog.Policy, now time.Time) []poclog.CollateralState {
	var root []byte // of the root CRL, which comes without a chain
	if it := c.Get(poclog.TDXTCBInfo); it != nil {
		root, _ = lastOf(it.Chain) // without one the CRL is not authenticated, and says so
	}
	var out []poclog.CollateralState
	for _, it := range c.Items {
		if it.Kind == poclog.IntelRootCRL && len(it.Chain) == 0 {
			it.Chain = root
		}
		out = append(out, describeItem(&it, p, now))
	}
	return out
}

func describeItem(it *poclog.CollateralItem, p *poclog.Policy, now time.Time) poclog.CollateralState {
	st := poclog.CollateralState{Kind: it.Kind}
	var f *Facts
	var err error
	switch it.Kind {
	case poclog.TDXTCBInfo, poclog.TDXQEIdentity, poclog.IntelPCKCRL, poclog.IntelRootCRL:
		f, st.For, err = intelFacts(it, p, now)
	case poclog.AMDCRL:
		f, st.For, err = amdFacts(it, p, now)
	case poclog.AllianceToken:
		f, st.For, err = tokenFacts(it, p)
	case poclog.OwnerEndorsement:
		f, st.For, err = ownerFacts(it, p, now)
	case poclog.LaunchEndorsement:
		f, st.For, err = googleFacts(it, p, now)
	default:
		err = fmt.Errorf("%s: not examined here", it.Kind)
	}
	if f != nil {
		f.describe(it.Kind, &st, now)
	}
	if err == nil && !st.Valid {
		err = fmt.Errorf("not valid at %s", verify.Stamp(now))
	}
	if err != nil {
		st.Error = err.Error()
	}
	return st
}

// nowOrThen opens an item now or, where that fails, at the time of its issue: what expired can
// still be named.
func nowOrThen[F any](now, issued time.Time, open func(at time.Time) (F, error)) (F, error) {
	f, err := open(now)
	if err != nil {
		if old, then := open(issued); then == nil {
			return old, nil
		}
	}
	return f, err
}

func intelFacts(it *poclog.CollateralItem, p *poclog.Policy, now time.Time) (*Facts, string, error) {
	roots := p.RootsFor(poclog.RootIntelSGX)
	issued, _, _ := tdx.Validity(&poclog.Collateral{Items: []poclog.CollateralItem{*it}}) // what cannot be read does not open, either
	f, err := nowOrThen(now, issued, func(at time.Time) (*tdx.Facts, error) { return tdx.OpenItem(it, roots, at) })
	if err != nil {
		return nil, "", err
	}
	of := f.CA
	if it.Kind == poclog.TDXTCBInfo {
		of = hex.EncodeToString(f.FMSPC)
	}
	return &Facts{f.Span, f.Issuer, f.Number}, of, nil
}

func amdFacts(it *poclog.CollateralItem, p *poclog.Policy, now time.Time) (*Facts, string, error) {
	roots := p.RootsFor(poclog.RootAMDARK)
	issued, _, _ := snp.Validity(&poclog.Collateral{Items: []poclog.CollateralItem{*it}}) // what cannot be read does not open, either
	f, err := nowOrThen(now, issued, func(at time.Time) (*snp.ItemFacts, error) { return snp.OpenItem(it, roots, at) })
	if err != nil {
		return nil, "", err
	}
	return &Facts{Span: f.Span, Issuer: "ARK-" + string(f.Product)}, listOf(f.Product, f.Signer), nil
}

func googleFacts(it *poclog.CollateralItem, p *poclog.Policy, now time.Time) (*Facts, string, error) {
	list := launch.MRTDs(it.Body)
	if len(list) == 0 {
		return nil, "", fmt.Errorf("it names no launch measurement")
	}
	holds, err := launch.CheckGCE(it, list[0], p.RootsFor(poclog.RootGCELaunch), now)
	if err != nil {
		return nil, hex.EncodeToString(list[0]), err
	}
	return &Facts{Span: holds, Issuer: "Google"}, hex.EncodeToString(list[0]), nil
}

// tokenFacts authenticates a registry's token: of use to a judge for as long after its time as one
// may be old, or as its quote is fresh.
func tokenFacts(it *poclog.CollateralItem, p *poclog.Policy) (*Facts, string, error) {
	t, err := alliance.Parse(it.Body)
	if err != nil {
		return nil, "", err
	}
	keys := p.AllianceKeys()
	by, err := t.Signer(keys)
	if err != nil {
		return nil, t.Machine, err
	}
	name := p.Alliances[slices.Index(keys, by)].Name
	f := &Facts{Issuer: name}
	if !t.Time.IsZero() {
		f.Issued, f.Until = t.Time, t.Time.Add(alliance.MaxAge)
	}
	return f, t.Machine, nil
}

// ownerFacts authenticates an owner's endorsement.
func ownerFacts(it *poclog.CollateralItem, p *poclog.Policy, now time.Time) (*Facts, string, error) {
	e, err := poe.Parse(it.Body)
	if err != nil {
		return nil, "", err
	}
	of, roots := hex.EncodeToString(e.PIID), p.RootsFor(poclog.RootPlatformOwner)
	s, err := nowOrThen(now, e.NotBefore, func(at time.Time) (*poe.Signed, error) { return poe.Check(it, roots, at) })
	if err != nil {
		return nil, of, err
	}
	return &Facts{Span: s.Span, Issuer: s.Signer}, of, nil
}
