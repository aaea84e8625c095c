package collateral

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"regexp"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/vouch/launch"
)

// Google's addresses (https://github.com/google/gce-tcb-verifier).
const (
	GoogleBucket = "https://storage.googleapis.com/gce_tcb_integrity"
	googleRoot   = "https://pki.goog/cloud_integrity/GCE-cc-tcb-root_1.crt"
)

// Google is the bucket of Google's statements on the launch measurements of Compute Engine's
// firmware.
type Google struct {
	base   base
	public bool
	roots  map[[32]byte]bool
	listed map[string]bool // MRTDs that need no statement
}

// NewGoogle returns the source at a bucket's base URL, such as GoogleBucket. The policy says which
// roots judge, and which measurements it lists itself.
func NewGoogle(address string, p *poclog.Policy) (*Google, error) {
	b, err := parseBase(address)
	if err != nil {
		return nil, fmt.Errorf("launch endorsements: %w", err)
	}
	s := &Google{base: b, public: b.is(GoogleBucket), roots: p.RootsFor(poclog.RootGCELaunch), listed: make(map[string]bool)}
	for _, l := range p.Launch {
		if l.Profile == poclog.GCETDXvTPM {
			s.listed[l.Measurement] = true
		}
	}
	return s, nil
}

// Needs returns the statement on a managed VM's launch measurement, unless the policy lists it.
func (s *Google) Needs(b *poclog.Bundle) []Need {
	if p, err := profile.Of(b); err != nil || p != poclog.GCETDXvTPM {
		return nil
	}
	q, err := tdx.ParseQuote(b.Get(poclog.ItemTDXQuote))
	if err != nil {
		return nil
	}
	mrtd := hex.EncodeToString(q.Body.MRTD[:])
	if s.listed[mrtd] {
		return nil
	}
	return []Need{{Key: Key{poclog.LaunchEndorsement, mrtd}}}
}

var mrtdForm = regexp.MustCompile(`^[0-9a-f]{96}$`)

// Has reports whether it is a statement on an MRTD.
func (s *Google) Has(k Key) bool {
	return k.Kind == poclog.LaunchEndorsement && mrtdForm.MatchString(k.For)
}

// Fetch asks the bucket. The root's certificate is the one that the statement carries or, where it
// carries none that is trusted, Google's published one: its digest decides.
func (s *Google) Fetch(ctx context.Context, get Getter, r Request) (*poclog.CollateralItem, error) {
	address := s.base.at("ovmf_x64_csm/tdx/"+r.For+".binarypb", nil)
	a, err := get(ctx, address)
	if err != nil {
		return nil, orNone(err)
	}
	it := &poclog.CollateralItem{Kind: r.Kind, Body: a.Body}
	if s.public {
		it.URL = address
	}
	if it.Chain = launch.CarriedRoot(a.Body, s.roots); it.Chain != nil {
		return it, nil
	}
	root, err := get(ctx, googleRoot)
	if err != nil {
		return nil, fmt.Errorf("root of launch endorsements: %w", err)
	}
	it.Chain = root.Body
	if block, _ := pem.Decode(root.Body); block == nil {
		it.Chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Body})
	}
	return it, nil
}

// Open authenticates a statement and holds it to its measurement.
func (s *Google) Open(k Key, it *poclog.CollateralItem, at time.Time) (*Facts, error) {
	mrtd, err := hex.DecodeString(k.For)
	if err != nil {
		return nil, err
	}
	holds, err := launch.CheckGCE(it, mrtd, s.roots, at)
	if err != nil {
		return nil, err
	}
	return &Facts{Span: holds, Issuer: "Google"}, nil
}
