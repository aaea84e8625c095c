package collateral

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/snp"
)

// AMDKDS is the address of AMD's Key Distribution Service.
const AMDKDS = "https://kdsintf.amd.com"

// AMD is AMD's Key Distribution Service ("Versioned Chip Endorsement Key (VCEK) Certificate and KDS
// Interface Specification", 57230), or a mirror of it: the lists of revoked CAs, one for each
// product and kind of key.
type AMD struct {
	base   base
	public bool // whether the address is AMD's own
	roots  map[[32]byte]bool
}

// NewAMD returns the source at a base URL, such as AMDKDS. The roots are the policy's for AMD.
func NewAMD(address string, roots map[[32]byte]bool) (*AMD, error) {
	b, err := parseBase(address)
	if err != nil {
		return nil, fmt.Errorf("KDS: %w", err)
	}
	return &AMD{base: b, public: b.is(AMDKDS), roots: roots}, nil
}

// listOf names the list for a product and a kind of key, such as "vcek-milan".
func listOf(p snp.Product, s snp.Signer) string { return s.String() + "-" + strings.ToLower(string(p)) }

// Needs returns the list that is for the key of an SNP report.
func (s *AMD) Needs(b *poclog.Bundle) []Need {
	if !b.Has(poclog.ItemSNPCerts) {
		return nil
	}
	c, err := snp.ParseChain(b.Get(poclog.ItemSNPCerts))
	if err != nil {
		return nil
	}
	return []Need{{Key: Key{poclog.AMDCRL, listOf(c.Product, c.Signer)}, Chain: pemOf(c.CA, c.Root)}}
}

var amdListForm = regexp.MustCompile(`^(vcek|vlek)-(milan|genoa|turin)$`)

// Has reports whether it is one of AMD's lists.
func (s *AMD) Has(k Key) bool { return k.Kind == poclog.AMDCRL && amdListForm.MatchString(k.For) }

// Fetch asks for a list, and for the CA and root beside it.
func (s *AMD) Fetch(ctx context.Context, get Getter, r Request) (*poclog.CollateralItem, error) {
	signer, product, _ := strings.Cut(r.For, "-")
	base := s.base.below(signer, "v1", strings.ToUpper(product[:1])+product[1:])
	var bodies [2][]byte
	for i, name := range []string{"cert_chain", "crl"} {
		a, err := get(ctx, base.at(name, nil))
		if err != nil {
			return nil, err
		}
		bodies[i] = a.Body
	}
	it := &poclog.CollateralItem{Kind: r.Kind, Chain: bodies[0], Body: bodies[1]}
	if s.public {
		it.URL = base.at("crl", nil)
	}
	return it, nil
}

// Open authenticates a list and holds it to its key. Lists are ordered by their time of issue: AMD
// numbers those of two kinds of keys apart, and nothing in a list need tell which of the two it is,
// so that the number of the one would keep the other away.
func (s *AMD) Open(k Key, it *poclog.CollateralItem, at time.Time) (*Facts, error) {
	f, err := snp.OpenItem(it, s.roots, at)
	if err != nil {
		return nil, err
	}
	if of := listOf(f.Product, f.Signer); of != k.For {
		return nil, fmt.Errorf("CRL for %s: asked for %s", of, k.For)
	}
	return &Facts{Span: f.Span, Issuer: "ARK-" + string(f.Product)}, nil
}
