package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/witness"
	"github.com/poclog/poclog/witness/audit"
)

// A cloudStage is a laboratory cloud with a log of its own, which three witnesses cosign.
type cloudStage struct {
	*stage
	cloud     *gce.Cloud
	log       *client.Client
	policy    *tlogpolicy.Policy
	dir       string
	witnesses []string // addresses
	auditor   *audit.Auditor
	logOnly   string // tlog-policy of the log's keys alone
	receipts  [][]byte
	numbers   []uint64     // of their entries
	behind    atomic.Int64 // how far the clocks of log, witnesses and auditor are behind
	alliance  *endorser.Registrar
	serials   map[poclog.Identity]uint32 // of the alliance's statements
}

// now is the time in the demonstration.
func (s *cloudStage) now() time.Time { return time.Now().Add(-time.Duration(s.behind.Load())) }

// serveOn serves a handler on a free port of this machine until the demonstration ends.
func (s *cloudStage) serveOn(h http.Handler) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", &SetupError{err}
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }() // Close ends it
	s.stops = append(s.stops, srv.Close)
	return "http://" + l.Addr().String(), nil
}

// openCloud builds the laboratory cloud, three witnesses, and the log.
func (s *stage) openCloud(ctx context.Context) (*cloudStage, error) {
	c := &cloudStage{
		stage: s, cloud: gce.New("demonstration", time.Now().AddDate(-1, 0, 0)), dir: filepath.Join(s.dir, "cloud"),
		alliance: newAlliance(), serials: make(map[poclog.Identity]uint32),
	}
	c.behind.Store(int64(ago))
	c.cloud.Advance(c.now().Sub(c.cloud.Now))
	register, err := c.serveOn(c.cloud.Registry)
	if err != nil {
		return c, err
	}
	policy := c.cloud.Policy(nil, register+"/")
	policy.Registrars = []poclog.Registrar{c.alliance.Policy()}
	if err := log.Init(c.dir, log.InitOptions{Origin: "demo.poclog.example/cloud", Policy: policy}); err != nil {
		return c, err
	}
	if err := c.hireWitnesses(ctx); err != nil {
		return c, err
	}
	svc, err := log.Open(ctx, c.dir, log.Config{
		Software: s.software, Logger: slog.New(slog.DiscardHandler), CheckpointInterval: 200 * time.Millisecond, Republish: time.Second, IndexInterval: indexInterval,
		Now: c.now, Go: page.BuiltVerifier(),
	})
	if err != nil {
		return c, err
	}
	c.stops = append(c.stops, func() error { return svc.Close(context.WithoutCancel(ctx)) })
	url, err := c.serveOn(svc.Handler())
	if err != nil {
		return c, err
	}
	if _, err := c.auditor.AddLog(ctx, url, c.logOnly); err != nil {
		return c, err
	}
	c.log, err = client.New(client.Config{URL: url, Policy: c.policy})
	return c, err
}

// hireWitnesses starts three witnesses and makes two of them the log's quorum.
func (s *cloudStage) hireWitnesses(ctx context.Context) error {
	path := filepath.Join(s.dir, "policy.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	own, err := tlogpolicy.Parse(text)
	if err != nil {
		return err
	}
	var keys []string
	for _, l := range own.Logs() {
		keys = append(keys, l.VKey)
	}
	policy := strings.Replace(string(text), "quorum none\n", "", 1)
	for i := range 3 {
		name := fmt.Sprintf("witness-%c.example", 'a'+i)
		dir := filepath.Join(s.stage.dir, name)
		if err := witness.Init(dir, name); err != nil {
			return err
		}
		w, err := witness.Open(dir, witness.Config{Clock: s.now, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		s.stops = append(s.stops, w.Close)
		if err := w.AddLog(ctx, keys...); err != nil {
			return err
		}
		url, err := s.serveOn(w.Handler())
		if err != nil {
			return err
		}
		s.witnesses = append(s.witnesses, url)
		policy += fmt.Sprintf("witness %c %s %s\n", 'a'+i, w.VKeys()[0], url)
	}
	auditorLine, err := s.hireAuditor()
	if err != nil {
		return err
	}
	s.logOnly = string(text)
	policy += auditorLine + "group auditors any d\ngroup two-of-three 2 a b c\nquorum two-of-three\n"
	if s.policy, err = tlogpolicy.Parse([]byte(policy)); err != nil {
		return err
	}
	// The log takes challenges only if its quorum timed them.
	return os.WriteFile(path, []byte(policy), 0o644)
}

// hireAuditor starts an auditor, which cosigns only what it re-verified, and returns its line in a
// policy.
func (s *cloudStage) hireAuditor() (line string, err error) {
	const name = "auditor.example"
	dir := filepath.Join(s.stage.dir, name)
	if err := audit.Init(dir, name); err != nil {
		return "", err
	}
	if s.auditor, err = audit.Open(dir, audit.Config{Clock: s.now, Interval: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return "", err
	}
	s.stops = append(s.stops, s.auditor.Close)
	url, err := s.serveOn(s.auditor.Handler())
	return fmt.Sprintf("witness d %s %s\n", s.auditor.VKeys()[0], url), err
}

// audited waits until a receipt can be moved to a checkpoint that the auditor has signed.
func (s *cloudStage) audited(ctx context.Context, file []byte) error {
	demands := receipt.Demands{UnsafeRealm: poclog.Lab, Standing: receipt.Audited}
	if _, err := receipt.Check(file, s.policy, s.now(), demands); err == nil {
		s.line("audited", "the auditor had re-verified every entry already")
		return nil
	}
	s.line("logged", "so far the log alone vouches for the appraisals; an auditor repeats each from its evidence")
	if err := s.auditor.Look(ctx, "demo.poclog.example/cloud"); err != nil {
		return fmt.Errorf("auditor: %w", err)
	}
	var err error
	for range 200 {
		var moved []byte
		if moved, err = s.log.Refresh(ctx, file); err != nil {
			return err
		}
		if _, err = receipt.Check(moved, s.policy, s.now(), demands); err == nil {
			s.line("audited", "`poclog refresh` moved the receipt to a checkpoint that the auditor signed; entry and times did not move")
			return nil
		}
		if err := pause.For(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the receipt did not become audited: %w", err)
}

// actCloud shows proofs of level 2, and proxies that fail.
func (s *cloudStage) actCloud(ctx context.Context) error {
	s.act("A cloud, and proofs of where its machines stand")
	s.say("  A laboratory cloud: machines in two regions, chips that a laboratory maker certified, a log, and three witnesses of which two must cosign.")
	var vms []*gce.VM
	for i, zone := range s.cloud.Zones[:3] {
		h, err := s.cloud.NewHost(zone, 1+i%2)
		if err != nil {
			return err
		}
		vm, err := h.NewVM(0, gce.VMConfig{Version: 4 + i%2})
		if err != nil {
			return err
		}
		vms = append(vms, vm)
		if err := s.prove(ctx, vm, zone, ""); err != nil {
			return fmt.Errorf("VM in %s: %w", zone, err)
		}
	}
	if err := s.frankenstein(ctx, vms[0], vms[1]); err != nil {
		return err
	}
	s.say("  On whose word does a receipt stand?")
	return s.audited(ctx, s.receipts[0])
}

// submit logs the evidence that answers a challenge, with today's collateral.
func (s *cloudStage) submit(ctx context.Context, answer func(*poclog.Challenge) (*poclog.Bundle, error)) (*client.Submitted, error) {
	ch, err := s.log.Challenge(ctx, poclog.GCETDXvTPM, poclog.Sum([]byte("the VM's TLS key")))
	if err != nil {
		return nil, err
	}
	s.cloud.Advance(s.now().Sub(s.cloud.Now))
	b, err := answer(ch)
	if err != nil {
		return nil, err
	}
	col := s.cloud.Collateral(chip.CollateralOptions{At: s.now().AddDate(0, 0, -1)})
	sub, err := submission(b, col)
	if err != nil {
		return nil, err
	}
	return s.log.Submit(ctx, sub)
}

// prove has a VM prove itself, and checks the receipt offline.
func (s *cloudStage) prove(ctx context.Context, vm *gce.VM, zone, remark string) error {
	got, err := s.submit(ctx, vm.Prove)
	if err != nil {
		return err
	}
	key := poclog.Sum([]byte("the VM's TLS key"))
	v, err := receipt.Check(got.Receipt, s.policy, s.now(), receipt.Demands{
		UnsafeRealm: poclog.Lab, Place: "gce/" + zone, UserData: &key, MaxAge: 10 * time.Minute, MaxInterval: 10 * time.Minute,
	})
	if err != nil {
		return fmt.Errorf("offline: %w", err)
	}
	s.receipts, s.numbers = append(s.receipts, got.Receipt), append(s.numbers, got.Verdict.Index)
	s.line("level 2", "entry %d: %s on %s…%s", got.Verdict.Index, zone, string(v.Entry.Chip())[:30], remark)
	if remark == "" {
		s.line("", "└ %d checks passed; made between %s and %s, say %s", len(v.Entry.Checks), v.T1.Time.Format("15:04:05"), v.T2.Time.Format("15:04:05"), strings.Join(v.Witnesses, ", "))
	}
	return nil
}

// pass sets the clocks on to now, and waits until the log has a checkpoint of now.
func (s *cloudStage) pass(ctx context.Context) error {
	s.behind.Store(0)
	for range 300 {
		cp, err := s.log.Checkpoint(ctx)
		if err != nil {
			return err
		}
		if t1, known := cp.View.NotBefore(); known && time.Since(t1) < time.Minute {
			return nil
		}
		if err := pause.For(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("the log publishes no checkpoint of now")
}

// frankenstein puts evidence together from several machines, as a proxy would.
func (s *cloudStage) frankenstein(ctx context.Context, victim, rented *gce.VM) error {
	s.say("  Now an attacker has a genuine chip at home, and rents a VM in the cloud. He needs a proof that says his chip stands there.")
	home := s.cloud.Maker.NewPlatform("under the attacker's desk", nil)
	for _, try := range []struct {
		what  string
		check verify.Check
		forge func(ch *poclog.Challenge) (*poclog.Bundle, error)
	}{
		{"the victim's TD quote with the rented VM's TPM quote beside it", verify.BindAKInTEE, func(ch *poclog.Challenge) (*poclog.Bundle, error) {
			return patch(victim.Platform(), victim.TD(ch.ReportData(victim.TPM.Public)), rented, ch)
		}},
		{"his chip at home, running firmware of his own, with the rented TPM", verify.TEELaunch, func(ch *poclog.Challenge) (*poclog.Bundle, error) {
			td := rented.TD(ch.ReportData(rented.TPM.Public))
			td.MRTD[0] ^= 1
			return patch(home, td, rented, ch)
		}},
		{"his chip at home, with the provider's firmware, forwarding TPM commands to the rented VM", verify.PlaceRegistry, func(ch *poclog.Challenge) (*poclog.Bundle, error) {
			return patch(home, rented.TD(ch.ReportData(rented.TPM.Public)), rented, ch)
		}},
	} {
		_, err := s.submit(ctx, try.forge)
		if err := s.expectRefusal(try.what, err, try.check); err != nil {
			return err
		}
	}
	return nil
}

// patch is one chip's TD quote, covered by another VM's TPM.
func patch(p *chip.Platform, td chip.TD, vm *gce.VM, ch *poclog.Challenge) (*poclog.Bundle, error) {
	quote := p.Quote(td)
	sum := sha256.Sum256(quote)
	item, values, err := vm.TPM.Quote(sum[:], time.Now())
	if err != nil {
		return nil, err
	}
	return (&gce.Evidence{
		TDXQuote: quote, TPMQuote: item, PCRs: values, AK: vm.TPM.Public, AKChain: vm.TPM.Chain, TCGLog: vm.Config.Image.TCGLog, CCEL: vm.Config.Image.CCEL,
		Challenge: ch,
	}).Bundle()
}

// actHistory has the log's operator rewrite history, and shows who notices.
func (s *cloudStage) actHistory(ctx context.Context) error {
	s.act("A log that rewrites history")
	s.say("  The log's operator, bribed, signs another history of the same size, with the log's true key.")
	cp, err := s.log.Checkpoint(ctx)
	if err != nil {
		return err
	}
	forged, err := s.forge(cp)
	if err != nil {
		return err
	}
	for i, url := range s.witnesses {
		body := append(fmt.Appendf(nil, "old %d\n\n", cp.Size), forged...)
		resp, err := http.Post(url+"/add-checkpoint", "text/plain", bytes.NewReader(body))
		if err != nil {
			return &SetupError{err}
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return fmt.Errorf("witness %c cosigned another history", 'a'+i)
		}
		s.line("refused", "witness %c does not cosign it: status %d", 'a'+i, resp.StatusCode)
	}
	if _, err := s.policy.Open(forged); err == nil {
		return errors.New("a client accepts a checkpoint without its quorum")
	}
	s.line("refused", "a client whose policy asks for two witnesses does not read it")
	evidence, err := (&receipt.SplitView{Origin: cp.Origin, A: cp.Signed, B: forged}).Marshal()
	if err != nil {
		return err
	}
	if _, err := receipt.CheckSplitView(evidence, s.policy); err != nil {
		return fmt.Errorf("split view: %w", err)
	}
	s.line("kept", "both checkpoints in one file of %d bytes convince anybody who has the log's key: it signed two histories", len(evidence))
	for _, file := range s.receipts {
		if _, err := s.log.Refresh(ctx, file); err != nil {
			return fmt.Errorf("an honest receipt: %w", err)
		}
	}
	s.line("yes", "the %d honest receipts still lead to the history that everybody saw", len(s.receipts))
	return nil
}

// forge signs another root of a checkpoint's size with the log's own key.
func (s *cloudStage) forge(cp *client.Checkpoint) ([]byte, error) {
	key, err := os.ReadFile(filepath.Join(s.dir, "keys", "ed25519.key"))
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(key)))
	if err != nil {
		return nil, errors.New("the log's key does not read")
	}
	text, _, _ := strings.Cut(string(cp.Signed), "\n\n")
	lines := strings.Split(text, "\n")
	other := sha256.Sum256([]byte("another history"))
	lines[2] = base64.StdEncoding.EncodeToString(other[:])
	return note.Sign(&note.Note{Text: strings.Join(lines, "\n") + "\n"}, signer)
}
