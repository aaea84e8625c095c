package chip_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	gtdx "github.com/google/go-tdx-guest/verify"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tdx"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// pcs answers go-tdx-guest from collateral, as Intel's PCS would.
type pcs struct{ col *poclog.Collateral }

func (p pcs) Get(u string) (map[string][]string, []byte, error) {
	for _, a := range []struct {
		part, header string
		kind         poclog.CollateralKind
	}{
		{"/tdx/certification/v4/tcb?", "Tcb-Info-Issuer-Chain", poclog.TDXTCBInfo},
		{"/qe/identity", "Sgx-Enclave-Identity-Issuer-Chain", poclog.TDXQEIdentity},
		{"/pckcrl?", "Sgx-Pck-Crl-Issuer-Chain", poclog.IntelPCKCRL},
		{"IntelSGXRootCA.der", "", poclog.IntelRootCRL},
	} {
		if strings.Contains(u, a.part) {
			it := p.col.Get(a.kind)
			h := map[string][]string{}
			if a.header != "" {
				h[a.header] = []string{url.QueryEscape(string(it.Chain))}
			}
			return h, it.Body, nil
		}
	}
	return nil, nil, fmt.Errorf("no answer for %s", u)
}

func oracle(m *chip.Maker, quote []byte, col *poclog.Collateral, at time.Time) error {
	root, err := x509.ParseCertificate(m.Root())
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return gtdx.RawTdxQuote(quote, &gtdx.Options{
		CheckRevocations: true, GetCollateral: true, Getter: pcs{col}, TrustedRoots: pool,
		Now: &gtdx.TimeSet{PckCertChain: at, TcbInfo: at, QeIdentity: at, PckCrl: at, RootCaCrl: at},
	})
}

// ours judges a quote with verify/tdx.
func ours(m *chip.Maker, quote []byte, col *poclog.Collateral, at time.Time) (*poclog.TCB, error) {
	q, err := tdx.ParseQuote(quote)
	if err != nil {
		return nil, err
	}
	roots := tdx.Roots{poclog.Sum(m.Root()): true}
	if err := q.CheckChain(roots, at); err != nil {
		return nil, err
	}
	if err := q.CheckSignature(); err != nil {
		return nil, err
	}
	if err := q.SecondOpinion(at); err != nil {
		return nil, err
	}
	c, err := tdx.OpenCollateral(q, col, at)
	if err != nil {
		return nil, err
	}
	if err := c.CheckRevocation(q); err != nil {
		return nil, err
	}
	tcb, err := c.TCB(q)
	if err != nil {
		return nil, err
	}
	return tcb, tdx.CheckTCB(tcb, []string{"UpToDate"})
}

func TestLabQuotesPassGoTDXGuestAndUs(t *testing.T) {
	m := chip.NewMaker("seed", start)
	p := m.NewPlatform("host-1", nil)
	col := m.Collateral(chip.CollateralOptions{At: start.AddDate(0, 1, 0)})
	at := start.AddDate(0, 1, 1)
	for _, td := range []chip.TD{{}, {Version: 5}, {Version: 5, BodyType: 3}, {MRTD: [48]byte{1}, ReportData: [64]byte{2}}} {
		quote := p.Quote(td)
		if err := oracle(m, quote, col, at); err != nil {
			t.Errorf("go-tdx-guest: %+v: %v", td.Version, err)
		}
		tcb, err := ours(m, quote, col, at)
		if err != nil {
			t.Errorf("version %d: %v", td.Version, err)
		} else if tcb.Status != "UpToDate" || tcb.Evaluation != 17 {
			t.Errorf("%+v", tcb)
		}
		q, err := tdx.ParseQuote(quote)
		if err != nil || q.Platform.PPID != p.PPID || q.Platform.PIID != p.PIID || q.Platform.FMSPC != p.FMSPC {
			t.Errorf("platform %x: %v", q.Platform.PPID, err)
		}
	}
}

// Where both judge, both say the same; each refusal is named.
func TestBothRefuseTheSame(t *testing.T) {
	m, other := chip.NewMaker("seed", start), chip.NewMaker("another", start)
	p := m.NewPlatform("host-1", nil)
	old := m.NewPlatform("host-2", func(p *chip.Platform) { p.SVN[0] = 1 })
	foreign := m.NewPlatform("host-3", func(p *chip.Platform) { p.FMSPC = [6]byte{9} })
	issue := start.AddDate(0, 1, 0)
	at := issue.AddDate(0, 0, 1)
	plain := chip.CollateralOptions{At: issue}
	flipped := p.Quote(chip.TD{})
	flipped[200] ^= 1
	spliced := m.NewPlatform("host-4", nil).Quote(chip.TD{})
	spliced = append(spliced[:632:632], p.Quote(chip.TD{MRTD: [48]byte{1}})[632:]...)
	for _, c := range []struct {
		name  string
		quote []byte
		col   *poclog.Collateral
		at    time.Time
		want  verify.Check
		agree bool // whether go-tdx-guest refuses it too
	}{
		{"another maker's chip", other.NewPlatform("x", nil).Quote(chip.TD{}), m.Collateral(plain), at, verify.TEEChain, true},
		{"a changed body", flipped, m.Collateral(plain), at, verify.TEESignature, true},
		{"one chip's report with another's certificates", spliced, m.Collateral(plain), at, verify.TEESignature, true},
		{"a revoked chip", p.Quote(chip.TD{}), m.Collateral(chip.CollateralOptions{At: issue, Revoked: []*chip.Platform{p}}), at, verify.TEERevocation, true},
		{"a revoked CA", p.Quote(chip.TD{}), m.Collateral(chip.CollateralOptions{At: issue, RevokeCA: true}), at, verify.TEERevocation, true},
		{"an old microcode", old.Quote(chip.TD{}), m.Collateral(plain), at, verify.TEETCB, true},
		{"a platform out of date", p.Quote(chip.TD{}), m.Collateral(chip.CollateralOptions{At: issue, Status: "OutOfDate", Advisories: []string{"LAB-1"}}), at, verify.TEETCB, false},
		{"an old TDX module", p.Quote(chip.TD{SVN: [16]byte{3, 1, 6}}), m.Collateral(plain), at, verify.TEETCB, true},
		{"an unknown TDX module", p.Quote(chip.TD{SVN: [16]byte{5, 9, 6}}), m.Collateral(plain), at, verify.TEETCB, true},
		{"collateral of another family", foreign.Quote(chip.TD{}), m.Collateral(plain), at, verify.Collateral, true},
		{"another maker's collateral", p.Quote(chip.TD{}), other.Collateral(plain), at, verify.Collateral, true},
		{"expired collateral", p.Quote(chip.TD{}), m.Collateral(plain), issue.AddDate(0, 2, 0), verify.Collateral, true},
		{"collateral of the future", p.Quote(chip.TD{}), m.Collateral(plain), issue.AddDate(0, 0, -1), verify.Collateral, false},
	} {
		_, err := ours(m, c.quote, c.col, c.at)
		if got, _ := verify.CheckOf(err); got != c.want {
			t.Errorf("%s: refused by %q (%v): want %q", c.name, got, err, c.want)
		}
		if err := oracle(m, c.quote, c.col, c.at); (err != nil) != c.agree {
			t.Errorf("%s: go-tdx-guest says %v", c.name, err)
		}
	}
}

func TestOneSeedMakesOneMaker(t *testing.T) {
	make := func() string {
		m := chip.NewMaker("seed", start)
		b, err := m.Collateral(chip.CollateralOptions{At: start}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(bytes.Join([][]byte{m.NewPlatform("a", nil).Quote(chip.TD{}), b}, nil))
	}
	first, second := make(), make()
	if first != second {
		t.Error("two makers of one seed differ")
	}
}

func BenchmarkQuote(b *testing.B) {
	p := chip.NewMaker("seed", start).NewPlatform("host-1", nil)
	var td chip.TD
	for i := 0; b.Loop(); i++ {
		td.ReportData[0] = byte(i)
		p.Quote(td)
	}
}
