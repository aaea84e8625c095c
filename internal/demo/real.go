package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
)

// A capture is evidence that a real machine made, with the time at which it is judged.
type capture struct {
	name       string
	what       string
	bundle     *poclog.Bundle
	collateral *poclog.Collateral
	at         time.Time
}

// captures returns the real evidence that is at hand.
func (s *stage) captures() ([]capture, error) {
	var list []capture
	if folder, ok := realdata.Folder(); ok {
		b, c, err := realdata.LoadAzure(folder)
		if err != nil {
			return nil, err
		}
		list = append(list, capture{"azure", "an Azure confidential VM: TD quote, vTPM quote, HCL report, with Intel's collateral of that day", b, c, realdata.AzureTime})
	} else {
		s.line("note", "the capture of an Azure VM is not at hand: the acts go on with bare quotes")
	}
	for i, q := range realdata.Quotes() {
		b := new(poclog.Bundle)
		b.Set(poclog.ItemTDXQuote, q)
		list = append(list, capture{
			name: []string{"quote", "quote-v5"}[i], what: fmt.Sprintf("a bare TDX quote of version %d, without collateral", 4+i), bundle: b,
			at: []time.Time{realdata.QuoteTime, realdata.QuoteV5Time}[i],
		})
	}
	return list, nil
}

// actRealEvidence logs what real machines made, and checks the receipts offline.
func (s *stage) actRealEvidence(ctx context.Context) error {
	s.act("Evidence of real machines")
	list, err := s.captures()
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := s.logCapture(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	s.say("Why level 0? These machines answered no challenge of a log and nobody vouches here for their firmware: a genuine chip, somewhere.",
		"A proof of level 2 carries a fresh nonce, the TPM's signature over the TEE quote, and a launch that the provider endorsed.")
	return nil
}

func (s *stage) logCapture(ctx context.Context, c capture) error {
	s.say("  " + c.what)
	sub, err := submission(c.bundle, c.collateral)
	if err != nil {
		return err
	}
	sub.Judged = c.at
	begun := time.Now()
	got, err := s.client.Submit(ctx, sub)
	if err != nil {
		return err
	}
	e := got.Verdict.Entry
	s.line("logged", "entry %d, judged at %s, receipt after %s", got.Verdict.Index, c.at.Format("2006-01-02 15:04:05"), time.Since(begun).Round(10*time.Millisecond))
	s.line("chip", "%s", e.Chip())
	s.line("passed", "%s", strings.Join(e.Checks, " "))
	s.line("absent", "%s", strings.Join(e.Absent, " "))
	file := filepath.Join(s.dir, c.name+".tlog-proof")
	if err := os.WriteFile(file, got.Receipt, 0o644); err != nil {
		return err
	}
	if _, err := receipt.Check(got.Receipt, s.policy, time.Now(), receipt.Demands{UnsafeLevel0: true}); err != nil {
		return fmt.Errorf("offline: %w", err)
	}
	s.line("yes", "its receipt verifies offline, with --level 0")
	if _, err := receipt.Check(got.Receipt, s.policy, time.Now(), receipt.Demands{}); err == nil {
		return fmt.Errorf("safe defaults accept an unproven place")
	}
	s.line("no", "without: safe defaults ask for level 2, a proven place")
	return nil
}

// actForgeries changes real evidence and shows what notices.
func (s *stage) actForgeries(ctx context.Context) error {
	s.act("Forgeries")
	list, err := s.captures()
	if err != nil {
		return err
	}
	type forgery struct {
		what   string
		item   poclog.Item
		offset int
		check  verify.Check
	}
	forgeries := []forgery{
		{"one bit of the launch measurement", poclog.ItemTDXQuote, 48 + 136, verify.TEESignature},
		{"one bit of the quote's signature", poclog.ItemTDXQuote, 48 + 584 + 4 + 8, verify.TEESignature},
	}
	if list[0].name == "azure" {
		forgeries = append(forgeries,
			forgery{"one bit of the TPM quote's clock", poclog.ItemTPMQuote, 2 + 6 + 2 + 34 + 2 + 32 + 7, verify.TPMSignature},
			forgery{"one bit of a PCR value", poclog.ItemTPMPCRs, 5, verify.TPMPCRDigest},
			forgery{"one bit of the AK certificate's signature", poclog.ItemTPMAKChain, 1200, verify.TPMAKChain},
			forgery{"one bit of the HCL report's JSON", poclog.ItemHCLReport, -3, verify.BindAKInTEE},
		)
	}
	for _, f := range forgeries {
		sub, err := submission(flip(list[0].bundle, f.item, f.offset), list[0].collateral)
		if err != nil {
			return err
		}
		sub.Judged = list[0].at
		_, err = s.client.Submit(ctx, sub)
		if err := s.expectRefusal(f.what, err, f.check); err != nil {
			return err
		}
	}
	return s.forgeReceipt()
}

// forgeReceipt changes a receipt: the log's own claim about its entry.
func (s *stage) forgeReceipt() error {
	file, err := os.ReadFile(filepath.Join(s.dir, "quote.tlog-proof"))
	if err != nil {
		return err
	}
	r, err := poclog.ParseReceipt(file)
	if err != nil {
		return err
	}
	r.Entry = []byte(strings.Replace(string(r.Entry), `"level":0`, `"level":2`, 1))
	forged, err := r.Marshal()
	if err != nil {
		return err
	}
	_, err = receipt.Check(forged, s.policy, time.Now(), receipt.Demands{})
	if err == nil || !strings.HasPrefix(err.Error(), string(receipt.StepInclusion)) {
		return fmt.Errorf("a receipt that claims another level: %w", errOrNone(err))
	}
	s.line("refused", "a receipt whose entry claims level 2 instead of 0")
	s.line("", "└ %s", shorten(err.Error()))
	return nil
}
