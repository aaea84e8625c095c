package main

import (
	"bytes"
	"context"
	"crypto/x509"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-tdx-guest/pcs"
	guest "github.com/google/go-tdx-guest/verify"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/verify/tdx"
)

// The JavaScript peer, as npm names it.
const qvl = "@phala/dcap-qvl@0.3.9"

//go:embed dcap-qvl.cjs
var qvlProgram []byte

// quotes compares the verification of a TDX quote. The evidence is the laboratory's, whose root
// each side is told to trust: everybody can make it, and the work is that of a real one.
func quotes(ctx context.Context, dir string, short bool) ([]row, func(), error) {
	ev := newEvidence()
	n := 300
	if short {
		n = 3
	}
	ours := func(judge func() error) func(context.Context) (time.Duration, error) {
		return func(context.Context) (time.Duration, error) { return repeat(n, judge) }
	}
	guestBy := func(opts guest.Options) func(context.Context) (time.Duration, error) {
		return func(context.Context) (time.Duration, error) {
			return repeat(n, func() error { o := opts; return guest.RawTdxQuote(ev.quote, &o) })
		}
	}
	times := &guest.TimeSet{PckCertChain: ev.at, TcbInfo: ev.at, QeIdentity: ev.at, PckCrl: ev.at, RootCaCrl: ev.at}
	pool := x509.NewCertPool()
	pool.AddCert(ev.root)
	rows := []row{
		{
			what: "TDX quote alone", turns: 9, peerName: "go-tdx-guest",
			ours: ours(func() error { return ev.judge(false, false) }),
			peer: guestBy(guest.Options{TrustedRoots: pool, Now: times}),
		},
		{
			what: "quote, TCB info, QE identity", turns: 9, peerName: "go-tdx-guest",
			ours: ours(func() error { return ev.judge(true, false) }),
			peer: guestBy(guest.Options{TrustedRoots: pool, Now: times, GetCollateral: true, Getter: ev}),
		},
	}
	if _, err := exec.LookPath("npm"); err != nil {
		fmt.Fprintln(os.Stderr, "skipped: dcap-qvl needs Node and npm; on Debian: apt-get install nodejs npm")
		return rows, func() {}, nil
	}
	peer, err := ev.javascript(ctx, dir, n/10+1)
	if err != nil {
		return nil, nil, err
	}
	return append(rows, row{
		what: "quote, TCB info, QE identity, both CRLs", turns: 5, peerName: qvl + " in Node",
		ours: ours(func() error { return ev.judge(true, true) }), peer: peer,
	}), func() {}, nil
}

// evidence is a quote with what its manufacturer publishes.
type evidence struct {
	quote      []byte
	collateral *poclog.Collateral
	roots      tdx.Roots
	root       *x509.Certificate
	at         time.Time
}

func newEvidence() *evidence {
	at := time.Now().UTC().Truncate(time.Second)
	m := chip.NewMaker("bench of peers", at.AddDate(-1, 0, 0))
	root := must.Get(x509.ParseCertificate(m.Root()))
	var td chip.TD
	binary.BigEndian.PutUint64(td.ReportData[:], 1)
	return &evidence{
		quote: m.NewPlatform("host", nil).Quote(td), collateral: m.Collateral(chip.CollateralOptions{At: at.Add(-time.Hour)}),
		roots: tdx.Roots{poclog.Sum(m.Root()): true}, root: root, at: at,
	}
}

// judge is our verification, from the bytes of quote and collateral.
func (e *evidence) judge(collateral, revocation bool) error {
	q, err := tdx.ParseQuote(e.quote)
	if err != nil {
		return err
	}
	if err := errors.Join(q.CheckChain(e.roots, e.at), q.CheckSignature(), q.CheckNoDebug()); err != nil || !collateral {
		return err
	}
	var c *tdx.Collateral
	if revocation {
		c, err = tdx.OpenCollateral(q, e.collateral, e.at)
	} else {
		c, err = tdx.OpenTCB(e.collateral.Get(poclog.TDXTCBInfo), e.collateral.Get(poclog.TDXQEIdentity), e.roots, e.at)
	}
	if err != nil {
		return err
	}
	if revocation {
		if err := c.CheckRevocation(q); err != nil {
			return err
		}
	}
	tcb, err := c.TCB(q)
	if err == nil && tcb.Status != "UpToDate" {
		err = fmt.Errorf("the platform is %s", tcb.Status)
	}
	return err
}

// Get answers go-tdx-guest as Intel's PCS would.
func (e *evidence) Get(at string) (map[string][]string, []byte, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, nil, err
	}
	for path, of := range map[string]struct {
		kind   poclog.CollateralKind
		header string
	}{"/tdx/certification/v4/tcb": {poclog.TDXTCBInfo, pcs.TcbInfoIssuerChainPhrase}, "/tdx/certification/v4/qe/identity": {poclog.TDXQEIdentity, pcs.SgxQeIdentityIssuerChainPhrase}} {
		if u.Path == path {
			it := e.collateral.Get(of.kind)
			return map[string][]string{of.header: {url.QueryEscape(string(it.Chain))}}, it.Body, nil
		}
	}
	return nil, nil, fmt.Errorf("nobody answers %s here", at)
}

// javascript installs dcap-qvl and gives it the same evidence. Loading Node is not measured.
func (e *evidence) javascript(ctx context.Context, dir string, n int) (func(context.Context) (time.Duration, error), error) {
	at := filepath.Join(dir, "dcap-qvl")
	if err := os.Mkdir(at, 0o755); err != nil {
		return nil, err
	}
	install := exec.CommandContext(ctx, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", at, qvl)
	if out, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm install %s: %w: %.300s", qvl, err, out)
	}
	input, err := e.forJavaScript()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(at, "evidence.json"), input, 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(at, "bench.cjs"), qvlProgram, 0o644); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (time.Duration, error) {
		node := exec.CommandContext(ctx, "node", "bench.cjs", strconv.Itoa(n))
		var stderr bytes.Buffer
		node.Dir, node.Stderr = at, &stderr
		out, err := node.Output()
		if err != nil {
			return 0, fmt.Errorf("node: %w: %.500s", err, stderr.String())
		}
		ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		return time.Duration(ns), err
	}, nil
}

// forJavaScript is the evidence in dcap-qvl's form: its README, "Collateral".
func (e *evidence) forJavaScript() ([]byte, error) {
	signed := func(kind poclog.CollateralKind, member string) (inner, signature, chain string, err error) {
		it := e.collateral.Get(kind)
		var answer map[string]json.RawMessage
		if err := json.Unmarshal(it.Body, &answer); err != nil {
			return "", "", "", err
		}
		return string(answer[member]), strings.Trim(string(answer["signature"]), `"`), string(it.Chain), nil
	}
	tcb, tcbSignature, tcbChain, err := signed(poclog.TDXTCBInfo, "tcbInfo")
	if err != nil {
		return nil, err
	}
	qe, qeSignature, qeChain, err := signed(poclog.TDXQEIdentity, "enclaveIdentity")
	if err != nil {
		return nil, err
	}
	pck := e.collateral.Get(poclog.IntelPCKCRL)
	return json.Marshal(map[string]any{
		"quote": hex.EncodeToString(e.quote), "root": hex.EncodeToString(e.root.Raw), "at": e.at.Unix(),
		"collateral": map[string]string{
			"pck_crl_issuer_chain": string(pck.Chain), "pck_crl": hex.EncodeToString(pck.Body), "root_ca_crl": hex.EncodeToString(e.collateral.Get(poclog.IntelRootCRL).Body),
			"tcb_info_issuer_chain": tcbChain, "tcb_info": tcb, "tcb_info_signature": tcbSignature,
			"qe_identity_issuer_chain": qeChain, "qe_identity": qe, "qe_identity_signature": qeSignature,
		},
	})
}
