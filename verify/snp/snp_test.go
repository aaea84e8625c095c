package snp

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/realdata/amddata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

var (
	labStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	labNow   = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

// judge parses a report and its certificates, and makes every check that needs neither collateral
// nor policy but the root.
func judge(report, certs []byte, root []byte, at time.Time) error {
	r, err := ParseReport(report)
	if err != nil {
		return err
	}
	c, err := ParseChain(certs)
	if err != nil {
		return err
	}
	for _, f := range []func() error{
		func() error { return c.CheckChain(r, Roots{sha256.Sum256(root): true}, at) },
		func() error { return r.CheckSignature(c) },
		func() error { return SecondOpinion(r, c, at) },
		r.CheckNoDebug, r.CheckVMPL,
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func wantCheck(t *testing.T, name string, err error, want verify.Check) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != want {
		t.Errorf("%s: refused by %q (%v): want %q", name, got, err, want)
	}
}

func must(t testing.TB, report, certs []byte) (*Report, *Chain) {
	t.Helper()
	r, err := ParseReport(report)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseChain(certs)
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

// The one report of a real processor that comes with go-sev-guest is of a guest that ran under
// debug: chain and signature are a genuine chip's, and its host could read it.
func TestReal(t *testing.T) {
	report, certs := amddata.Report()
	r, c := must(t, report, certs)
	if c.Product != Milan || c.Signer != VCEK || !bytes.Equal(c.HWID, r.ChipID[:]) || c.TCB != (TCB{2, 0, 0, 0, 0, 0, 5, 68}) {
		t.Errorf("%s, %s, HWID %x, TCB %x", c.Product, c.Signer, c.HWID, c.TCB)
	}
	wantCheck(t, "a real report of a guest under debug", judge(report, certs, c.Root.Raw, amddata.Time), verify.TEENoDebug)
	wantCheck(t, "the same before its certificate", judge(report, certs, c.Root.Raw, amddata.Time.AddDate(-1, 0, 0)), verify.TEEChain)
	if err := c.CheckTCB(r, poclog.SNPTCB{Product: "Milan", Bootloader: 2, SNP: 5, Microcode: 68}); err != nil {
		t.Error(err)
	}
	wantCheck(t, "newer firmware asked for", c.CheckTCB(r, poclog.SNPTCB{Product: "Milan", Bootloader: 2, SNP: 5, Microcode: 69}), verify.TEETCB)
}

// AMD's own CAs are what this package takes them for: a key that they certified would have a valid
// chain.
func TestRealCAsAreOfTheirProduct(t *testing.T) {
	for name, ders := range amddata.Chains() {
		product, kind, _ := strings.Cut(name, " ")
		list := amd.Certificates(ders)
		ca, err := x509.ParseCertificate(list[0])
		if err != nil {
			t.Fatal(err)
		}
		root, err := x509.ParseCertificate(list[1])
		if err != nil {
			t.Fatal(err)
		}
		leaf := &x509.Certificate{}
		leaf.Subject.CommonName = "SEV-" + strings.ToUpper(kind)
		c := &Chain{Leaf: leaf, CA: ca, Root: root}
		if err := c.parseNames(); err != nil || string(c.Product) != product || c.Signer.String() != kind {
			t.Errorf("%s: %s of %s: %v", name, c.Signer, c.Product, err)
		}
		if err := chain.CheckAuthorities([]*x509.Certificate{ca, root}, Roots{poclog.Sum(root.Raw): true}, labNow, ofAMD); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReportsOfEveryProductAndKeyPass(t *testing.T) {
	for _, product := range []string{"Milan", "Genoa", "Turin"} {
		m := amd.NewMaker("snp test", product, labStart)
		chip := m.NewChip("chip", [8]byte{})
		for version := uint32(2); version <= 5; version++ {
			for name, k := range map[string]*amd.CloudKey{"vcek": nil, "vlek": m.NewCloudKey("a cloud", [8]byte{})} {
				certs := chip.Certs()
				if k != nil {
					certs = k.Certs()
				}
				report := chip.Report(amd.Guest{Version: version}, k)
				if err := judge(report, certs, m.Root(), labNow); err != nil {
					t.Errorf("%s, version %d, %s: %v", product, version, name, err)
				}
				r, c := must(t, report, certs)
				if id, ok := c.ChipID(r); !ok || id != must1(poclog.HexIdentity(poclog.AMDChipID, chip.ID[:])) {
					t.Errorf("%s, %s: chip %s", product, name, id)
				}
			}
		}
	}
}

func must1(id poclog.Identity, _ bool) poclog.Identity { return id }

func TestMaskedChips(t *testing.T) {
	m := amd.NewMaker("snp test", "Turin", labStart)
	chip, k := m.NewChip("chip", [8]byte{}), m.NewCloudKey("a cloud", [8]byte{})
	r, c := must(t, chip.Report(amd.Guest{Masked: true}, nil), chip.Certs())
	if id, ok := c.ChipID(r); !ok || id != must1(poclog.HexIdentity(poclog.AMDChipID, chip.ID[:])) {
		t.Errorf("masked, with the chip's own key: %s: want the chip of the certificate", id)
	}
	r, c = must(t, chip.Report(amd.Guest{Masked: true}, k), k.Certs())
	if id, ok := c.ChipID(r); ok {
		t.Errorf("masked, with a cloud's key: %s: nobody says which", id)
	}
}

// What an attacker could bring together of genuine parts, and what he cannot make himself.
func TestHostileReportsAreRefused(t *testing.T) {
	m := amd.NewMaker("snp test", "Milan", labStart)
	a, b, k := m.NewChip("a", [8]byte{}), m.NewChip("b", [8]byte{}), m.NewCloudKey("a cloud", [8]byte{})
	old := m.NewChip("a", [8]byte{3, 0, 0, 0, 0, 0, 8, 115})
	genoa := amd.NewMaker("snp test", "Genoa", labStart)
	edit := func(report []byte, at int, value byte) []byte {
		out := bytes.Clone(report)
		out[at] = value
		return out
	}
	honest := a.Report(amd.Guest{}, nil)
	v2 := a.Report(amd.Guest{Version: 2}, nil)
	certs := amd.Certificates(a.Certs())
	for name, x := range map[string]struct {
		report, certs []byte
		want          verify.Check
	}{
		"debug":                          {a.Report(amd.Guest{Debug: true}, nil), a.Certs(), verify.TEENoDebug},
		"a migration agent":              {a.Report(amd.Guest{MigrateMA: true}, nil), a.Certs(), verify.TEENoDebug},
		"VMPL 1":                         {a.Report(amd.Guest{VMPL: 1}, nil), a.Certs(), verify.TEELaunch},
		"the host's own request":         {a.Report(amd.Guest{VMPL: 0xffffffff}, nil), a.Certs(), verify.TEELaunch},
		"another chip's certificate":     {honest, b.Certs(), verify.TEEChain},
		"another chip's, masked":         {a.Report(amd.Guest{Masked: true}, nil), b.Certs(), verify.TEESignature},
		"a VLEK's certificates":          {honest, k.Certs(), verify.TEESignature},
		"a VCEK's certificates":          {a.Report(amd.Guest{}, k), a.Certs(), verify.TEESignature},
		"older firmware's certificate":   {honest, old.Certs(), verify.TEEChain},
		"newer firmware than the key's":  {old.Report(amd.Guest{Reported: m.DefaultTCB()}, nil), old.Certs(), verify.TEEChain},
		"another product's root":         {honest, slices.Concat(certs[0], certs[1], genoa.Root()), verify.Format},
		"the root as the CA":             {honest, slices.Concat(certs[0], certs[2], certs[2]), verify.Format},
		"a certificate less":             {honest, slices.Concat(certs[0], certs[1]), verify.Format},
		"a certificate more":             {honest, slices.Concat(a.Certs(), certs[2]), verify.Format},
		"the CA of VLEKs over a VCEK":    {honest, slices.Concat(certs[0], amd.Certificates(k.Certs())[1], certs[2]), verify.Format},
		"a byte less":                    {honest[:len(honest)-1], a.Certs(), verify.Format},
		"a byte more":                    {append(bytes.Clone(honest), 0), a.Certs(), verify.Format},
		"version 1":                      {edit(honest, 0, 1), a.Certs(), verify.Format},
		"version 6":                      {edit(honest, 0, 6), a.Certs(), verify.Format},
		"another signature algorithm":    {edit(honest, 0x34, 2), a.Certs(), verify.Format},
		"no signature":                   {edit(honest, 0x48, 7<<2), a.Certs(), verify.Format},
		"an unknown bit of the policy":   {edit(honest, 0x0c, 1), a.Certs(), verify.Format},
		"a reserved byte":                {edit(honest, 0x4c, 1), a.Certs(), verify.Format},
		"a family before version 3":      {edit(v2, 0x188, 0x19), a.Certs(), verify.Format},
		"a vector before version 5":      {edit(honest, 0x1f8, 1), a.Certs(), verify.Format},
		"a byte over r":                  {edit(honest, signedSize+p384Size, 1), a.Certs(), verify.Format},
		"a byte after the signature":     {edit(honest, ReportSize-1, 1), a.Certs(), verify.Format},
		"another family":                 {edit(honest, 0x188, 0x1a), a.Certs(), verify.TEEChain},
		"another measurement":            {edit(honest, 0x90, honest[0x90]^1), a.Certs(), verify.TEESignature},
		"another's report data":          {edit(honest, 0x50, honest[0x50]^1), a.Certs(), verify.TEESignature},
		"debug taken out":                {edit(a.Report(amd.Guest{Debug: true}, nil), 0x0a, 3), a.Certs(), verify.TEESignature},
		"VMPL taken out":                 {edit(a.Report(amd.Guest{VMPL: 1}, nil), 0x30, 0), a.Certs(), verify.TEESignature},
		"a chip of one's own choice":     {edit(a.Report(amd.Guest{Masked: true}, k), 0x1a0, 1), k.Certs(), verify.TEESignature},
		"a signature of zeros":           {append(bytes.Clone(honest[:signedSize]), make([]byte, ReportSize-signedSize)...), a.Certs(), verify.TEESignature},
		"a root that the policy ignores": {genoa.NewChip("a", [8]byte{}).Report(amd.Guest{}, nil), genoa.NewChip("a", [8]byte{}).Certs(), verify.TEEChain},
	} {
		wantCheck(t, name, judge(x.report, x.certs, m.Root(), labNow), x.want)
	}
	if err := judge(honest, a.Certs(), m.Root(), labNow); err != nil {
		t.Error(err)
	}
}

// ECDSA's s can be negated by anybody: it is the same report.
func TestNegatedSignatureIsTheSameReport(t *testing.T) {
	m := amd.NewMaker("snp test", "Milan", labStart)
	chip := m.NewChip("a", [8]byte{})
	report := chip.Report(amd.Guest{}, nil)
	other := bytes.Clone(report)
	s := new(big.Int).Sub(elliptic.P384().Params().N, littleEndian(report[signedSize+numberSize:]))
	le := s.FillBytes(make([]byte, p384Size))
	slices.Reverse(le)
	copy(other[signedSize+numberSize:], le)
	if err := judge(other, chip.Certs(), m.Root(), labNow); err != nil {
		t.Fatal(err)
	}
	r, _ := must(t, report, chip.Certs())
	o, _ := must(t, other, chip.Certs())
	if r.ID() != o.ID() || bytes.Equal(report, other) {
		t.Errorf("%s and %s", r.ID(), o.ID())
	}
}

// The first and last bit of each byte of a report and of its certificates count: there is none that
// nobody protects.
func TestEveryByte(t *testing.T) {
	m := amd.NewMaker("snp test", "Milan", labStart)
	chip := m.NewChip("a", [8]byte{})
	report, certs := chip.Report(amd.Guest{}, nil), chip.Certs()
	real, realCerts := amddata.Report()
	_, c := must(t, real, realCerts)
	bits := []byte{0x01, 0x80}
	if testing.Short() || raceEnabled {
		bits = []byte{0x41}
	}
	for name, x := range map[string]struct {
		item []byte
		try  func([]byte) error
	}{
		"report":            {report, func(b []byte) error { return judge(b, certs, m.Root(), labNow) }},
		"certificates":      {certs, func(b []byte) error { return judge(report, b, m.Root(), labNow) }},
		"real certificates": {realCerts, func(b []byte) error { return ignoreDebug(judge(real, b, c.Root.Raw, amddata.Time)) }},
		"real report":       {real, func(b []byte) error { return ignoreDebug(judge(b, realCerts, c.Root.Raw, amddata.Time)) }},
	} {
		if err := x.try(x.item); err != nil {
			t.Fatalf("%s, unchanged: %v", name, err)
		}
		for at := range x.item {
			for _, bit := range bits {
				changed := bytes.Clone(x.item)
				changed[at] ^= bit
				if err := x.try(changed); err == nil {
					t.Errorf("%s: byte %d: bit %#x changed and accepted", name, at, bit)
				} else if _, ok := verify.CheckOf(err); !ok {
					t.Errorf("%s: byte %d: %v: no check is named", name, at, err)
				}
			}
		}
	}
}

func ignoreDebug(err error) error {
	if c, _ := verify.CheckOf(err); c == verify.TEENoDebug {
		return nil
	}
	return err
}

func TestTCBMustReachTheMinimumInEachVersionAndComponent(t *testing.T) {
	for product, least := range map[string]poclog.SNPTCB{
		"Milan": {Product: "Milan", Bootloader: 4, SNP: 24, Microcode: 219}, "Turin": {Product: "Turin", FMC: 1, Bootloader: 4, SNP: 24, Microcode: 219},
	} {
		m := amd.NewMaker("snp test", product, labStart)
		full := m.DefaultTCB()
		chip := m.NewChip("a", [8]byte{})
		try := func(g amd.Guest) error {
			r, c := must(t, chip.Report(g, nil), chip.Certs())
			return c.CheckTCB(r, least)
		}
		if err := try(amd.Guest{}); err != nil {
			t.Errorf("%s: %v", product, err)
		}
		for i, n := range full {
			less := full
			less[i]--
			if n > 0 {
				for name, g := range map[string]amd.Guest{
					"reported": {Reported: less}, "committed": {Committed: less}, "at launch": {Launch: less}, "reported over current": {Current: less},
				} {
					wantCheck(t, product+" "+name, try(g), verify.TEETCB)
				}
			}
			more := full
			more[i]++
			if err := try(amd.Guest{Current: more}); err != nil {
				t.Errorf("%s: newer firmware that is not committed: %v", product, err)
			}
		}
	}
}
