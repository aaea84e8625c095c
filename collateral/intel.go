package collateral

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/octets"
	"github.com/poclog/poclog/verify/tdx"
)

// Intel's addresses.
const (
	IntelPCS     = "https://api.trustedservices.intel.com"
	intelRootCRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
)

// Intel is Intel's Provisioning Certification Service, or a PCCS that stands for it: API version 4
// (https://api.portal.trustedservices.intel.com/content/documentation.html).
type Intel struct {
	base    base
	rootCRL string
	public  bool // whether the address is Intel's own
	roots   map[[32]byte]bool
}

// NewIntel returns the source at a base URL: IntelPCS, or a PCCS without path. The roots are the
// policy's for Intel.
func NewIntel(address string, roots map[[32]byte]bool) (*Intel, error) {
	b, err := parseBase(address)
	if err != nil {
		return nil, fmt.Errorf("PCS: %w", err)
	}
	s := &Intel{base: b, rootCRL: b.at("sgx/certification/v4/rootcacrl", nil), roots: roots}
	if b.is(IntelPCS) {
		s.rootCRL, s.public = intelRootCRL, true
	}
	return s, nil
}

// FMSPCNeeds returns what judges platforms of an FMSPC (12 hexadecimal digits) under a CA
// ("platform" or "processor").
func (s *Intel) FMSPCNeeds(fmspc, ca string) ([]Need, error) {
	needs := []Need{
		{Key: Key{poclog.TDXTCBInfo, strings.ToLower(fmspc)}}, {Key: Key{poclog.TDXQEIdentity, ""}},
		{Key: Key{poclog.IntelPCKCRL, ca}}, {Key: Key{poclog.IntelRootCRL, ""}},
	}
	for _, n := range needs {
		if !s.Has(n.Key) {
			return nil, fmt.Errorf("%s: want an FMSPC of 12 hexadecimal digits, and platform or processor", n.Key)
		}
	}
	return needs, nil
}

// Needs returns TCB info, QE identity and both CRLs for a TDX quote's platform.
func (s *Intel) Needs(b *poclog.Bundle) []Need {
	if !b.Has(poclog.ItemTDXQuote) {
		return nil
	}
	q, err := tdx.ParseQuote(b.Get(poclog.ItemTDXQuote))
	if err != nil {
		return nil
	}
	ca, err := tdx.CAOf(q.CA)
	if err != nil {
		return nil
	}
	needs, err := s.FMSPCNeeds(hex.EncodeToString(q.Platform.FMSPC[:]), ca)
	if err != nil {
		return nil
	}
	needs[2].Chain = pemOf(q.CA, q.Root)
	needs[3].Chain = pemOf(q.Root)
	return needs
}

func pemOf(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

var fmspcForm = regexp.MustCompile(`^[0-9a-f]{12}$`)

// Has reports whether Intel signs it.
func (s *Intel) Has(k Key) bool {
	switch k.Kind {
	case poclog.TDXTCBInfo:
		return fmspcForm.MatchString(k.For)
	case poclog.IntelPCKCRL:
		return k.For == "platform" || k.For == "processor"
	case poclog.TDXQEIdentity, poclog.IntelRootCRL:
		return k.For == ""
	}
	return false
}

// Headers that carry issuer chains.
const (
	headerTCBInfo    = "TCB-Info-Issuer-Chain"
	headerQEIdentity = "SGX-Enclave-Identity-Issuer-Chain"
	headerPCKCRL     = "SGX-PCK-CRL-Issuer-Chain"
)

// Fetch asks for one answer. The root CRL comes without a chain: its issuer is the root of the
// chain beside the QE identity.
func (s *Intel) Fetch(ctx context.Context, get Getter, r Request) (*poclog.CollateralItem, error) {
	address, header := s.address(r)
	a, err := get(ctx, address)
	if r.Kind == poclog.TDXTCBInfo {
		err = orNone(err) // there may be none for a platform; the others always exist
	}
	if err != nil {
		return nil, err
	}
	it := &poclog.CollateralItem{Kind: r.Kind, Body: a.Body}
	if s.public {
		// The address of an operator's own PCCS is nobody's business: collateral is published.
		it.URL = address
	}
	if r.Kind == poclog.IntelPCKCRL || r.Kind == poclog.IntelRootCRL {
		it.Body, _ = octets.Decode(a.Body) // a PCCS gives hexadecimal
	}
	if header != "" {
		if it.Chain, err = chainHeader(a, header); err != nil {
			return nil, err
		}
		return it, nil
	}
	address, header = s.address(Request{Key: Key{Kind: poclog.TDXQEIdentity}})
	if a, err = get(ctx, address); err != nil {
		return nil, err
	}
	chain, err := chainHeader(a, header)
	if err != nil {
		return nil, err
	}
	it.Chain, err = lastOf(chain)
	return it, err
}

func (s *Intel) address(r Request) (address, header string) {
	query := make(url.Values)
	if r.Early {
		query.Set("update", "early")
	}
	switch r.Kind {
	case poclog.TDXTCBInfo:
		query.Set("fmspc", r.For)
		return s.base.at("tdx/certification/v4/tcb", query), headerTCBInfo
	case poclog.TDXQEIdentity:
		return s.base.at("tdx/certification/v4/qe/identity", query), headerQEIdentity
	case poclog.IntelPCKCRL:
		return s.base.at("sgx/certification/v4/pckcrl", url.Values{"ca": {r.For}, "encoding": {"der"}}), headerPCKCRL
	}
	return s.rootCRL, ""
}

func chainHeader(a *Answer, name string) ([]byte, error) {
	values := a.Header.Values(name)
	if len(values) != 1 {
		return nil, fmt.Errorf("header %s: %d of them: want one", name, len(values))
	}
	text, err := url.PathUnescape(values[0])
	if err != nil {
		return nil, fmt.Errorf("header %s: %w", name, err)
	}
	return []byte(text), nil
}

// lastOf returns the last certificate of a PEM chain.
func lastOf(chain []byte) ([]byte, error) {
	var last *pem.Block
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		last = block
	}
	if last == nil {
		return nil, errors.New("issuer chain: no certificate")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: last.Bytes}), nil
}

// Open authenticates an answer and holds it to its key.
func (s *Intel) Open(k Key, it *poclog.CollateralItem, at time.Time) (*Facts, error) {
	f, err := tdx.OpenItem(it, s.roots, at)
	if err != nil {
		return nil, err
	}
	if k.Kind == poclog.TDXTCBInfo && hex.EncodeToString(f.FMSPC) != k.For {
		return nil, fmt.Errorf("TCB info for FMSPC %x: asked for %s", f.FMSPC, k.For)
	}
	if k.Kind == poclog.IntelPCKCRL && f.CA != k.For {
		return nil, fmt.Errorf("PCK CRL of the %s CA: asked for %s", f.CA, k.For)
	}
	return &Facts{f.Span, f.Issuer, f.Number}, nil
}
