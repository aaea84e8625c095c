package amd

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/validate"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"
)

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now   = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
)

// getter answers with the maker's CRL.
type getter struct{ m *Maker }

func (g getter) Get(string) ([]byte, error) {
	return g.m.CRL(CRLOptions{At: now.AddDate(0, 0, -1)}).Body, nil
}

// The laboratory's reports, certificates and CRLs are accepted by go-sev-guest, revocation and
// platform included.
func TestLabReportsPassGoSEVGuest(t *testing.T) {
	for _, product := range []string{"Milan", "Genoa"} {
		m := NewMaker("amd test", product, start)
		chip := m.NewChip("chip", [8]byte{})
		for version := uint32(2); version <= 5; version++ {
			report, err := abi.ReportToProto(chip.Report(Guest{Version: version, ReportData: [64]byte{7}}, nil))
			if err != nil {
				t.Fatal(err)
			}
			root := trust.AMDRootCertsProduct(product)
			root.ProductCerts = new(trust.ProductCerts)
			if err := root.FromKDSCertBytes(m.CertChain("vcek")); err != nil {
				t.Fatal(err)
			}
			certs := Certificates(chip.Certs())
			a := &sevsnp.Attestation{Report: report, CertificateChain: &sevsnp.CertificateChain{VcekCert: certs[0], AskCert: certs[1], ArkCert: certs[2]}}
			o := &verify.Options{
				CheckRevocations: true, DisableCertFetching: true, Now: now, Getter: getter{m}, TrustedRoots: map[string][]*trust.AMDRootCerts{product: {root}},
			}
			if err := verify.SnpAttestation(a, o); err != nil {
				t.Errorf("%s, version %d: %v", product, version, err)
			}
			want := &validate.Options{
				GuestPolicy: abi.SnpPolicy{ABIMajor: 0, ABIMinor: 31, SMT: true}, ReportData: append([]byte{7}, make([]byte, 63)...), VMPL: new(int),
				MinimumTCB: kds.DecomposeTCBVersion(kds.TCBVersion(report.ReportedTcb)), MinimumLaunchTCB: kds.DecomposeTCBVersion(kds.TCBVersion(report.LaunchTcb)),
				ChipID: chip.ID[:], PlatformInfo: &abi.SnpPlatformInfo{SMTEnabled: true, ECCEnabled: true, AliasCheckComplete: true},
			}
			if err := validate.SnpAttestation(a, want); err != nil {
				t.Errorf("%s, version %d: %v", product, version, err)
			}
		}
	}
}

func TestOneSeedMakesTheSameOctets(t *testing.T) {
	make := func() []byte {
		m := NewMaker("amd test", "Milan", start)
		chip := m.NewChip("chip", [8]byte{})
		k := m.NewCloudKey("cloud", [8]byte{})
		return bytes.Join([][]byte{chip.Certs(), k.Certs(), chip.Report(Guest{}, nil), chip.Report(Guest{}, k), m.CRL(CRLOptions{At: now}).Body}, nil)
	}
	if !bytes.Equal(make(), make()) {
		t.Error("other octets the second time")
	}
}
