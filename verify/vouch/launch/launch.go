// Package launch reads providers' signed statements on launch measurements: which firmware is theirs.
//
// Google signs the measurements of Compute Engine's firmware (https://github.com/google/gce-tcb-verifier). Without such a statement an attacker
// runs firmware of his own in a trust domain and extends its registers with another machine's story. The package is pure.
package launch

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/google/gce-tcb-verifier/proto/endorsement"
	gce "github.com/google/gce-tcb-verifier/verify"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// maxStatement is the size of the largest statement, in bytes.
const maxStatement = 1 << 17

// CheckGCE verifies Google's endorsement (VMLaunchEndorsement) under one of the roots, which are named by SHA-256 of their DER, at a time, and
// that it names an MRTD. The item's chain carries the root's certificate. The result holds from one time to another: those of the certificates.
// Failures are [verify.TEELaunch].
func CheckGCE(item *poclog.CollateralItem, mrtd []byte, roots map[[32]byte]bool, at time.Time) (from, to time.Time, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = verify.Failf(verify.TEELaunch, "launch endorsement: the verifier fails on it: %.200v", r)
		}
	}()
	if len(item.Body) > maxStatement {
		return from, to, verify.Failf(verify.TEELaunch, "launch endorsement of %d bytes: want at most %d", len(item.Body), maxStatement)
	}
	root, err := rootOf(item.Chain, roots)
	if err != nil {
		return from, to, verify.Failf(verify.TEELaunch, "launch endorsement: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	statement, golden := new(endorsement.VMLaunchEndorsement), new(endorsement.VMGoldenMeasurement)
	if err := proto.Unmarshal(item.Body, statement); err != nil {
		return from, to, verify.Failf(verify.TEELaunch, "launch endorsement: %w", err)
	}
	if err := gce.EndorsementProto(statement, &gce.Options{RootsOfTrust: pool, Now: at}); err != nil {
		return from, to, verify.Failf(verify.TEELaunch, "launch endorsement: %w", err)
	}
	if err := proto.Unmarshal(statement.SerializedUefiGolden, golden); err != nil {
		return from, to, verify.Failf(verify.TEELaunch, "launch endorsement: %w", err)
	}
	signer, err := x509.ParseCertificate(golden.GetCert())
	if err != nil {
		return from, to, verify.Failf(verify.TEELaunch, "launch endorsement: signer: %w", err)
	}
	from, to = later(root.NotBefore, signer.NotBefore), earlier(root.NotAfter, signer.NotAfter)
	for _, m := range golden.GetTdx().GetMeasurements() {
		if len(m.GetMrtd()) == 48 && bytes.Equal(m.GetMrtd(), mrtd) {
			return from, to, nil
		}
	}
	return from, to, verify.Failf(verify.TEELaunch, "launch endorsement: it names %d launch measurements, and not MRTD %x", len(golden.GetTdx().GetMeasurements()), mrtd)
}

// CarriedRoot returns, in PEM, the root certificate that a statement carries itself, if its digest is one of the roots. It verifies nothing else.
func CarriedRoot(body []byte, roots map[[32]byte]bool) []byte {
	statement, golden := new(endorsement.VMLaunchEndorsement), new(endorsement.VMGoldenMeasurement)
	if len(body) > maxStatement || proto.Unmarshal(body, statement) != nil || proto.Unmarshal(statement.GetSerializedUefiGolden(), golden) != nil {
		return nil
	}
	for block, rest := pem.Decode(golden.GetCaBundle()); block != nil; block, rest = pem.Decode(rest) {
		if roots[sha256.Sum256(block.Bytes)] {
			return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})
		}
	}
	return nil
}

// MRTDs returns the launch measurements of TDX VMs that a statement names. It verifies nothing.
func MRTDs(body []byte) [][]byte {
	statement, golden := new(endorsement.VMLaunchEndorsement), new(endorsement.VMGoldenMeasurement)
	if len(body) > maxStatement || proto.Unmarshal(body, statement) != nil || proto.Unmarshal(statement.GetSerializedUefiGolden(), golden) != nil {
		return nil
	}
	var list [][]byte
	for _, m := range golden.GetTdx().GetMeasurements() {
		if len(m.GetMrtd()) == 48 {
			list = append(list, m.GetMrtd())
		}
	}
	return list
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// rootOf takes the one root that the chain carries, if its digest is listed.
func rootOf(chain []byte, roots map[[32]byte]bool) (*x509.Certificate, error) {
	block, rest := pem.Decode(chain)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("chain of %d bytes: want the root's certificate in PEM", len(chain))
	}
	if sum := sha256.Sum256(block.Bytes); !roots[sum] {
		return nil, fmt.Errorf("root certificate with digest %x is not one that the policy lists", sum)
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	return root, nil
}
