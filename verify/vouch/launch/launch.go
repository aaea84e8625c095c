// Package launch reads providers' signed statements on launch measurements: which firmware is
// theirs.
//
// Google signs the measurements of Compute Engine's firmware
// (https://github.com/google/gce-tcb-verifier, proto/endorsement.proto): RSASSA-PSS with SHA-256
// over the statement's octets, by a key under a root of its own, whose certificate the statement
// carries. Without such a statement an attacker runs firmware of his own in a trust domain and
// extends its registers with another machine's story. The package is pure;
// TestStatementIsHeldToSignatureChainAndTime and the vectors of attacks are the evidence.
package launch

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/gce-tcb-verifier/proto/endorsement"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// maxStatement is the size of the largest statement, in bytes.
const maxStatement = 1 << 17

// mrtdSize is the size of a launch measurement, in bytes.
const mrtdSize = 48

// provenanceFrom is since when every statement says what its firmware was built from. Google signed
// some earlier ones without.
var provenanceFrom = time.Date(2024, 8, 2, 0, 0, 0, 0, time.UTC)

// CheckGCE verifies Google's endorsement (VMLaunchEndorsement) under one of the roots, which are
// named by SHA-256 of their DER, at a time, and that it names an MRTD. The item's chain carries the
// root's certificate. The result holds while the certificates do.
// Failures are [verify.TEELaunch].
func CheckGCE(item *poclog.CollateralItem, mrtd []byte, roots chain.Roots, at time.Time) (holds verify.Span, err error) {
	if holds, err = checkGCE(item, mrtd, roots, at); err != nil {
		err = verify.Failf(verify.TEELaunch, "launch endorsement: %w", err)
	}
	return holds, err
}

func checkGCE(item *poclog.CollateralItem, mrtd []byte, roots chain.Roots, at time.Time) (holds verify.Span, err error) {
	s, err := parse(item.Body)
	if err != nil {
		return holds, err
	}
	certs, err := s.chain(item.Chain)
	if err != nil {
		return holds, err
	}
	if err := chain.Check(certs, roots, at, nil); err != nil {
		return holds, err
	}
	signer := certs[0]
	if err := signer.CheckSignature(x509.SHA256WithRSAPSS, s.signed, s.signature); err != nil {
		return holds, fmt.Errorf("not signed by %q: %w", signer.Subject, err)
	}
	if s.golden.GetTimestamp().AsTime().After(provenanceFrom) && s.golden.GetClSpec() == 0 && len(s.golden.GetCommit()) == 0 {
		return holds, errors.New("it does not say what the firmware was built from")
	}
	if named := s.mrtds(); !slices.ContainsFunc(named, func(m []byte) bool { return bytes.Equal(m, mrtd) }) {
		err = fmt.Errorf("it names %d launch measurements, and not MRTD %x", len(named), mrtd)
	}
	return chain.Validity(certs...), err
}

// A statement is what Google signs. Parsing believes nothing of it.
type statement struct {
	signed, signature []byte
	golden            *endorsement.VMGoldenMeasurement
}

func parse(body []byte) (s *statement, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("the decoder fails on it: %.200v", r)
		}
	}()
	if len(body) > maxStatement {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(body), maxStatement)
	}
	outer, golden := new(endorsement.VMLaunchEndorsement), new(endorsement.VMGoldenMeasurement)
	if err := proto.Unmarshal(body, outer); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(outer.GetSerializedUefiGolden(), golden); err != nil {
		return nil, err
	}
	return &statement{outer.GetSerializedUefiGolden(), outer.GetSignature(), golden}, nil
}

// chain returns the signer's certificate, which the statement carries, and the root's, which stands
// beside it in PEM.
func (s *statement) chain(beside []byte) ([]*x509.Certificate, error) {
	signer, err := x509.ParseCertificate(s.golden.GetCert())
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	root, err := chain.Root(beside)
	return []*x509.Certificate{signer, root}, err
}

// mrtds returns the launch measurements of TDX VMs.
func (s *statement) mrtds() (list [][]byte) {
	for _, m := range s.golden.GetTdx().GetMeasurements() {
		if len(m.GetMrtd()) == mrtdSize {
			list = append(list, m.GetMrtd())
		}
	}
	return list
}

// CarriedRoot returns, in PEM, the root certificate that a statement carries itself, if its digest
// is one of the roots. It verifies nothing else.
func CarriedRoot(body []byte, roots chain.Roots) []byte {
	s, err := parse(body)
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(s.golden.GetCaBundle()); block != nil; block, rest = pem.Decode(rest) {
		if roots[sha256.Sum256(block.Bytes)] {
			return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})
		}
	}
	return nil
}

// MRTDs returns the launch measurements of TDX VMs that a statement names. It verifies nothing.
func MRTDs(body []byte) [][]byte {
	s, err := parse(body)
	if err != nil {
		return nil
	}
	return s.mrtds()
}
