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

// intelFacts authenticates at the time of issue: what expired can still be named.
func intelFacts(it *poclog.CollateralItem, p *poclog.Policy, now time.Time) (*Facts, string, error) {
	roots := p.RootsFor(poclog.RootIntelSGX)
	f, err := tdx.OpenItem(it, roots, now)
	if err != nil {
		from, _, e := tdx.Validity(&poclog.Collateral{Items: []poclog.CollateralItem{*it}})
		if e != nil {
			return nil, "", err
		}
		if f, e = tdx.OpenItem(it, roots, from); e != nil {
			return nil, "", err
		}
	}
	of := f.CA
	if it.Kind == poclog.TDXTCBInfo {
		of = hex.EncodeToString(f.FMSPC)
	}
	return &Facts{Issuer: f.Issuer, Issued: f.Issued, Until: f.Until, Number: f.Number}, of, nil
}

// amdFacts authenticates at the time of issue: what expired can still be named.
func amdFacts(it *poclog.CollateralItem, p *poclog.Policy, now time.Time) (*Facts, string, error) {
	roots := p.RootsFor(poclog.RootAMDARK)
	f, err := snp.OpenItem(it, roots, now)
	if err != nil {
		from, _, e := snp.Validity(&poclog.Collateral{Items: []poclog.CollateralItem{*it}})
		if e != nil {
			return nil, "", err
		}
		if f, e = snp.OpenItem(it, roots, from); e != nil {
			return nil, "", err
		}
	}
	return &Facts{Issuer: "ARK-" + string(f.Product), Issued: f.Issued, Until: f.Until}, listOf(f.Product, f.Signer), nil
}

func googleFacts(it *poclog.CollateralItem, p *poclog.Policy, now time.Time) (*Facts, string, error) {
	list := launch.MRTDs(it.Body)
	if len(list) == 0 {
		return nil, "", fmt.Errorf("it names no launch measurement")
	}
	from, to, err := launch.CheckGCE(it, list[0], p.RootsFor(poclog.RootGCELaunch), now)
	if err != nil {
		return nil, hex.EncodeToString(list[0]), err
	}
	return &Facts{Issuer: "Google", Issued: from, Until: to}, hex.EncodeToString(list[0]), nil
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

// ownerFacts authenticates an owner's endorsement, at its beginning where it does not hold now:
// what expired can still be named.
func ownerFacts(it *poclog.CollateralItem, p *poclog.Policy, now time.Time) (*Facts, string, error) {
	e, err := poe.Parse(it.Body)
	if err != nil {
		return nil, "", err
	}
	of, roots := hex.EncodeToString(e.PIID), p.RootsFor(poclog.RootPlatformOwner)
	s, err := poe.Check(it, roots, now)
	if err != nil {
		var then error
		if s, then = poe.Check(it, roots, e.NotBefore); then != nil {
			return nil, of, err
		}
	}
	return &Facts{Issuer: s.Signer, Issued: s.From, Until: s.To}, of, nil
}
