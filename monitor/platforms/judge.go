package platforms

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

// A Judgement says what collateral did.
type Judgement struct {
	Judged  int      // platforms that something judged
	Fallen  int      // of them, those that fell or were revoked
	Alerts  int      // that are new
	Ignored []string // collateral that judged nothing, each with the reason
}

// maxAffected is how many chips one alert names.
const maxAffected = 256

// Judge judges the kept platforms by collateral, at the keeper's time: every TCB info with the QE
// identity, the PCK and root CRLs, AMD's CRLs, and where the policy has a least firmware for
// SEV-SNP, that. Each is authenticated under the policy's roots; what is not valid now, not
// authentic, or older than what judged before is ignored, with the reason.
func (k *Keeper) Judge(ctx context.Context, col *poclog.Collateral) (j Judgement, err error) {
	run := &run{Keeper: k, ctx: ctx, given: col, col: withRootChain(col), at: k.clock(), j: &j}
	for _, it := range run.col.Items {
		switch it.Kind {
		case poclog.TDXTCBInfo:
			err = run.tcb(&it)
		case poclog.IntelPCKCRL, poclog.IntelRootCRL:
			err = run.intelCRL(&it)
		case poclog.AMDCRL:
			err = run.amdCRL(&it)
		}
		if err != nil {
			return j, err
		}
	}
	if err := run.leastFirmware(); err != nil {
		return j, err
	}
	return j, run.unread
}

// withRootChain gives the root CRL, which may come without a chain, that of the TCB info's root:
// the policy's roots decide whether it counts.
func withRootChain(col *poclog.Collateral) *poclog.Collateral {
	it, info := col.Get(poclog.IntelRootCRL), col.Get(poclog.TDXTCBInfo)
	if it == nil || len(it.Chain) > 0 || info == nil {
		return col
	}
	at := strings.LastIndex(string(info.Chain), "-----BEGIN CERTIFICATE-----")
	if at < 0 {
		return col
	}
	with := *it
	with.Chain = info.Chain[at:]
	return col.With(with)
}

// keep keeps a collateral file, so that whoever reads an alert can see what was seen. It returns
// its name below the folder.
func (k *Keeper) keep(col *poclog.Collateral) (string, error) {
	b, err := col.Marshal()
	if err != nil {
		return "", err
	}
	name := filepath.Join(collateralDir, poclog.Sum(b).String()+".collateral.json")
	path := filepath.Join(k.dir, name)
	if have, err := os.ReadFile(path); err == nil && string(have) == string(b) {
		return name, nil
	}
	if err := durable.Replace(path, b, 0o600); err != nil {
		return "", fmt.Errorf("keep collateral: %w", err)
	}
	return name, nil
}

// A run is one judgement.
type run struct {
	*Keeper
	ctx    context.Context
	given  *poclog.Collateral
	col    *poclog.Collateral // with the root CRL's chain
	at     time.Time
	j      *Judgement
	unread error // the first bundle that a log could not give now: its platform was not judged
}

func (r *run) ignore(kind poclog.CollateralKind, err error) error {
	r.j.Ignored = append(r.j.Ignored, fmt.Sprintf("%s: %s", kind, err))
	return nil
}

// issue asks whether an issue of collateral may judge, and ignores it if not.
func (r *run) issue(kind poclog.CollateralKind, key string, number *big.Int, issued time.Time) (bool, error) {
	ok, err := r.newer(r.ctx, key, number, issued)
	if err == nil && !ok {
		return false, r.ignore(kind, fmt.Errorf("number %s, issued %s, is older than what judged before", number, issued.UTC().Format(time.RFC3339)))
	}
	return ok, err
}

// tcb judges every platform of a family by its TCB info.
func (r *run) tcb(it *poclog.CollateralItem) error {
	roots := r.policy.RootsFor(poclog.RootIntelSGX)
	c, err := tdx.OpenTCB(it, r.col.Get(poclog.TDXQEIdentity), roots, r.at)
	if err == nil {
		err = r.checkSigners(c, roots)
	}
	if err != nil {
		return r.ignore(it.Kind, err)
	}
	fmspc, number := hex.EncodeToString(c.FMSPC()), new(big.Int).SetUint64(uint64(c.Evaluation()))
	key := fmt.Sprintf("%s.%x.%s", it.Kind, c.Root(), fmspc)
	if ok, err := r.issue(it.Kind, key, number, c.Issued); err != nil || !ok {
		return err
	}
	err = r.each(r.ctx, "fmspc = ?", []any{fmspc}, func(p *platform) error {
		if p.standing == nil {
			return nil
		}
		return r.tcbOf(p, c)
	})
	if err != nil {
		return err
	}
	return r.judged(r.ctx, key, number, c.Issued)
}

// checkSigners refuses collateral whose signer the root CRL at hand revokes.
func (r *run) checkSigners(c *tdx.Collateral, roots tdx.Roots) error {
	it := r.col.Get(poclog.IntelRootCRL)
	if it == nil {
		return nil
	}
	list, err := tdx.OpenRevocations(it, roots, r.at)
	if err != nil {
		return nil // said where the list itself judges
	}
	return list.CheckSigners(c)
}

// tcbOf judges one platform. One that would fall is first taken anew: its operator may have updated
// it since.
func (r *run) tcbOf(p *platform, c *tdx.Collateral) error {
	tcb, err := judgeTDX(p, c)
	if errors.Is(err, tdx.ErrOtherPlatform) {
		return nil
	}
	if worse(p.status, tcb.Status) && p.taken != p.bundle {
		if err := r.take(r.ctx, p); err != nil {
			r.unread = cmp.Or(r.unread, err)
			return nil
		}
		if tcb, err = judgeTDX(p, c); errors.Is(err, tdx.ErrOtherPlatform) {
			return r.save(r.ctx, p)
		}
	}
	r.j.Judged++
	if worse(p.status, tcb.Status) {
		if err := r.raise(fell(p, tcb, slices.Contains(r.policy.TCB, tcb.Status))); err != nil {
			return err
		}
	}
	if p.status == tcb.Status {
		return nil
	}
	p.status, p.evaluation = tcb.Status, tcb.Evaluation
	return r.save(r.ctx, p)
}

// unranked is the status of a platform that reaches no level.
const unranked = "no level"

// judgeTDX finds where a platform stands. One that reaches no level stands below all.
func judgeTDX(p *platform, c *tdx.Collateral) (*poclog.TCB, error) {
	tcb, err := c.Judge(p.standing)
	if check, ok := verify.CheckOf(err); ok && check == verify.TEETCB {
		return &poclog.TCB{Status: unranked, Evaluation: c.Evaluation()}, nil
	}
	if err != nil {
		return new(poclog.TCB), err
	}
	return tcb, nil
}

// ranks orders Intel's statuses from the best to the worst, as far as Intel does: where hardening
// or configuration is needed the firmware itself stands.
var ranks = []string{
	"UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", "Revoked", unranked,
}

// worse reports whether a status is worse than the one before. One that nobody knows is worse than
// any other; where there was none, all but the best are.
func worse(before, after string) bool {
	rank := func(s string) int {
		if i := slices.Index(ranks, s); i >= 0 {
			return i
		}
		return len(ranks)
	}
	if before == "" {
		before = ranks[0]
	}
	return before != after && rank(after) >= rank(before)
}

// raise keeps an alert, after the collateral that it rests on.
func (r *run) raise(a monitor.Alert) (err error) {
	r.j.Fallen++
	if a.Rule != RuleFell || len(r.given.Items) > 0 {
		if a.File, err = r.keep(r.given); err != nil {
			return err
		}
	}
	n, err := r.source.AddAlerts(r.ctx, []monitor.Alert{a})
	r.j.Alerts += n
	return err
}

// last says when and where a platform was proven last.
func (p *platform) last() string {
	s := fmt.Sprintf("last proven %s by entry %d of %s", p.appraised.Format(time.RFC3339), p.entry, p.origin)
	if p.place != "" {
		s += " at " + p.place
	}
	return s
}

// fell is the alert of a platform whose status fell.
func fell(p *platform, tcb *poclog.TCB, accepted bool) monitor.Alert {
	severity := rule.Alert
	if accepted {
		severity = rule.Information
	}
	before := "which had no status"
	if p.status != "" {
		before = fmt.Sprintf("which was %s by evaluation %d", p.status, p.evaluation)
	}
	advisories := ""
	if len(tcb.Advisories) > 0 {
		advisories = " (" + strings.Join(tcb.Advisories, ", ") + ")"
	}
	return monitor.Alert{
		Finding: rule.Finding{
			Rule:     RuleFell,
			Severity: severity,
			Subject:  p.chip,
			Affected: []poclog.Identity{p.chip},
			Seen:     fmt.Sprintf("Chip %s, %s, %s, is %s by Intel's evaluation %d%s.", p.chip, p.last(), before, tcb.Status, tcb.Evaluation, advisories),
			Meaning:  "Weaknesses of its firmware are public: until its operator updates it, what its TEE attests is worth less, and later proofs may be forged.",
		},
		ID:      monitor.AlertID(RuleFell, p.chip, nil, fmt.Sprint(tcb.Evaluation), tcb.Status),
		Entries: []monitor.EntryRef{p.ref()},
	}
}

// intelCRL looks for kept platforms in a CRL of Intel's.
func (r *run) intelCRL(it *poclog.CollateralItem) error {
	list, err := tdx.OpenRevocations(it, r.policy.RootsFor(poclog.RootIntelSGX), r.at)
	if err != nil {
		return r.ignore(it.Kind, err)
	}
	key := fmt.Sprintf("%s.%s", it.Kind, list.Issuer())
	if ok, err := r.issue(it.Kind, key, list.Number, list.Issued); err != nil || !ok {
		return err
	}
	cas := make(map[poclog.Digest]*revokedCA)
	err = r.each(r.ctx, "standing IS NOT NULL", nil, func(p *platform) error {
		if list.Issuer() != p.standing.CAKey && list.Issuer() != p.standing.Root {
			return nil
		}
		what, at := list.Revoked(p.standing)
		if what != "" && p.taken != p.bundle {
			// Its operator may have updated it since: then it has another certificate.
			if err := r.take(r.ctx, p); err != nil {
				r.unread = cmp.Or(r.unread, err)
				return nil
			}
			if err := r.save(r.ctx, p); err != nil {
				return err
			}
			what, at = list.Revoked(p.standing)
		}
		r.j.Judged++
		switch {
		case what == "":
			return nil
		case it.Kind == poclog.IntelPCKCRL:
			return r.raise(revoked(p, what, at.UTC().Format(time.RFC3339), list.Number.String()))
		}
		if cas[p.standing.CAKey] == nil {
			cas[p.standing.CAKey] = &revokedCA{ca: p.standing.CA(), at: at}
		}
		cas[p.standing.CAKey].add(p.chip)
		return nil
	})
	if err != nil {
		return err
	}
	for ca, c := range cas {
		if err := r.raise(c.alert(ca, list.Number)); err != nil {
			return err
		}
	}
	return r.judged(r.ctx, key, list.Number, list.Issued)
}

// revoked is the alert of a platform whose certificate was taken back, at a time, by a list with a
// number; either may be unknown.
func revoked(p *platform, what, at, number string) monitor.Alert {
	seen := fmt.Sprintf("The manufacturer revoked %s", what)
	if at != "" {
		seen += fmt.Sprintf(" at %s (CRL number %s)", at, number)
	}
	return monitor.Alert{
		Finding: rule.Finding{
			Rule:     RuleRevoked,
			Severity: rule.Alert,
			Subject:  p.chip,
			Affected: []poclog.Identity{p.chip},
			Seen:     fmt.Sprintf("%s; chip %s was %s.", seen, p.chip, p.last()),
			Meaning: "The manufacturer no longer vouches for the chip's key, as when it was extracted: whoever has it can quote whatever he likes, and proofs from about " +
				"that time on show nothing.",
		},
		// Which list says so does not count: each later one says it again.
		ID:      monitor.AlertID(RuleRevoked, p.chip, nil, what, at),
		Entries: []monitor.EntryRef{p.ref()},
	}
}

// A revokedCA is a CA whose certificate was taken back, with the kept chips that it certified.
type revokedCA struct {
	ca    string
	at    time.Time
	chips []poclog.Identity
	more  int
}

func (c *revokedCA) add(chip poclog.Identity) {
	if len(c.chips) < maxAffected {
		c.chips = append(c.chips, chip)
	} else {
		c.more++
	}
}

// alert is one alert for all of a CA's chips.
func (c *revokedCA) alert(key poclog.Digest, number *big.Int) monitor.Alert {
	subject := poclog.Identity("intel-pck-ca:" + key.String())
	return monitor.Alert{
		Finding: rule.Finding{
			Rule:     RuleRevoked,
			Severity: rule.Alert,
			Subject:  subject,
			Affected: c.chips,
			Seen: fmt.Sprintf("Intel revoked the certificate of its PCK %s CA at %s (CRL number %s), which certified %d chips with proofs in the logs.",
				c.ca, c.at.UTC().Format(time.RFC3339), number, len(c.chips)+c.more),
			Meaning: "Intel no longer vouches for what this CA certified: proofs of all of these chips from about that time on show nothing.",
		},
		ID: monitor.AlertID(RuleRevoked, subject, nil, c.at.UTC().Format(time.RFC3339)),
	}
}

// amdCRL looks for kept platforms in a CRL of AMD's.
func (r *run) amdCRL(it *poclog.CollateralItem) error {
	alone := &poclog.Collateral{Items: []poclog.CollateralItem{*it}}
	judged, last := 0, errors.New("no kept platform is of its issuer")
	err := r.each(r.ctx, "report IS NOT NULL", nil, func(p *platform) error {
		_, chain, err := parseSNP(p.report, p.certs)
		if err != nil {
			return fmt.Errorf("platform %s: %w", p.chip, err)
		}
		list, err := chain.OpenRevocations(alone, r.at)
		if err != nil {
			last = err // of another product's root, or of no use at all
			return nil
		}
		judged++
		r.j.Judged++
		if err := list.CheckRevocation(chain); err != nil {
			return r.raise(revoked(p, "a certificate of the chip's chain ("+err.Error()+")", "", ""))
		}
		return nil
	})
	if err == nil && judged == 0 {
		return r.ignore(it.Kind, last)
	}
	return err
}

// leastFirmware holds SEV-SNP platforms to the policy's minimum: AMD publishes no levels.
func (r *run) leastFirmware() error {
	if len(r.policy.SNPTCB) == 0 {
		return nil
	}
	return r.each(r.ctx, "report IS NOT NULL", nil, func(p *platform) error {
		below, err := r.below(p)
		if err == nil && below != nil && p.taken != p.bundle {
			if err := r.take(r.ctx, p); err != nil {
				r.unread = cmp.Or(r.unread, err)
				return nil
			}
			if err := r.save(r.ctx, p); err != nil {
				return err
			}
			below, err = r.below(p)
		}
		if err != nil || below == nil {
			return err
		}
		return r.raise(monitor.Alert{
			Finding: rule.Finding{
				Rule:     RuleFell,
				Severity: rule.Alert,
				Subject:  p.chip,
				Affected: []poclog.Identity{p.chip},
				Seen:     fmt.Sprintf("Chip %s, %s, has firmware below what this monitor's policy wants: %s.", p.chip, p.last(), below),
				Meaning:  "Weaknesses of its firmware may be public: until its operator updates it, what its TEE attests is worth less.",
			},
			ID:      monitor.AlertID(RuleFell, p.chip, nil, below.Error()),
			Entries: []monitor.EntryRef{p.ref()},
		})
	})
}

// below says how a platform's firmware is below the policy's minimum for its product, if it is.
func (r *run) below(p *platform) (below, err error) {
	report, chain, err := parseSNP(p.report, p.certs)
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", p.chip, err)
	}
	i := slices.IndexFunc(r.policy.SNPTCB, func(t poclog.SNPTCB) bool { return snp.Product(t.Product) == chain.Product })
	if i < 0 {
		return nil, nil
	}
	r.j.Judged++
	return chain.CheckTCB(report, r.policy.SNPTCB[i]), nil
}
