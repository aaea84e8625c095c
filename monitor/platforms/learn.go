package platforms

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

// A platform is a row: what is kept of a chip.
type platform struct {
	chip      poclog.Identity
	origin    string
	entry     uint64
	appraised time.Time
	bundle    poclog.Digest
	place     string

	status     string
	evaluation uint32

	taken    poclog.Digest // zero before anything was taken
	standing *tdx.Standing
	report   []byte
	certs    []byte
	fmspc    string
	trouble  string
}

func (p *platform) ref() monitor.EntryRef { return monitor.EntryRef{Origin: p.origin, Index: p.entry} }

// batch is how many platforms are noted before progress is made durable.
const batch = 256

// Learn reads the records that are new, and takes what is to be judged of each chip that is. It
// returns how many chips are new. A bundle that a log cannot give now is an error, and asked for
// again; one that it withholds by law, has lost, or that is not what the entry says, is noted.
func (k *Keeper) Learn(ctx context.Context) (learned int, err error) {
	logs, err := k.source.Logs(ctx)
	if err != nil {
		return 0, err
	}
	for _, l := range logs {
		n, err := k.learnLog(ctx, l)
		learned += n
		if err != nil {
			return learned, err
		}
	}
	return learned, nil
}

func (k *Keeper) learnLog(ctx context.Context, l monitor.LogInfo) (learned int, err error) {
	reader := "platforms:" + string(k.policy.Realm)
	from, err := k.source.Mark(ctx, reader, l.Origin)
	if err != nil || from >= l.Next {
		return 0, err
	}
	newest := make(map[poclog.Identity]*monitor.Record)
	note := func(next uint64) error {
		n, err := k.noteAll(ctx, newest)
		if err != nil {
			return err
		}
		clear(newest)
		learned += n
		_, err = k.source.AddAlertsAndMark(ctx, nil, reader, l.Origin, next)
		return err
	}
	f := monitor.Filter{Origin: l.Origin, From: from, To: l.Next, Kind: monitor.KindProof, Realm: k.policy.Realm}
	for r, err := range k.source.Records(ctx, f) {
		if err != nil {
			return learned, err
		}
		if r.Chip == "" {
			continue
		}
		if have := newest[r.Chip]; have == nil || !r.Appraised.Before(have.Appraised) {
			newest[r.Chip] = r
		}
		if len(newest) >= batch {
			if err := note(r.Index + 1); err != nil {
				return learned, err
			}
		}
	}
	return learned, note(l.Next)
}

// noteAll remembers the newest entries of chips, and says how many chips are new.
func (k *Keeper) noteAll(ctx context.Context, newest map[poclog.Identity]*monitor.Record) (learned int, err error) {
	var changed []*platform
	for chip, r := range newest {
		p, isNew, err := k.note(ctx, chip, r)
		if err != nil {
			return 0, err
		}
		if p != nil {
			changed = append(changed, p)
		}
		if isNew {
			learned++
		}
	}
	return learned, k.save(ctx, changed...)
}

// note returns a chip with its newest entry, after taking what is to be judged where nothing was
// taken yet; nil if the entry is not the newest.
func (k *Keeper) note(ctx context.Context, chip poclog.Identity, r *monitor.Record) (p *platform, isNew bool, err error) {
	p = &platform{
		chip: chip, origin: r.Origin, entry: r.Index, appraised: r.Appraised, bundle: r.Bundle, place: query.Proven(r).String(),
		status: r.TCB, evaluation: r.Evaluation,
	}
	have, err := k.platform(ctx, chip)
	switch {
	case err != nil:
		return nil, false, err
	case have == nil:
		isNew = true
	case r.Appraised.Before(have.appraised):
		return nil, false, nil
	default:
		p.taken, p.standing, p.report, p.certs, p.fmspc, p.trouble = have.taken, have.standing, have.report, have.certs, have.fmspc, have.trouble
	}
	if p.standing == nil && p.report == nil {
		if err := k.take(ctx, p); err != nil {
			return nil, false, err
		}
	}
	return p, isNew, nil
}

// take takes what is to be judged from the platform's newest bundle. Where there is nothing to take
// it notes why.
func (k *Keeper) take(ctx context.Context, p *platform) error {
	file, err := k.evidence(ctx, p.origin, p.bundle)
	switch status := client.StatusOf(err); {
	case status == http.StatusUnavailableForLegalReasons || status == http.StatusNotFound:
		p.trouble = fmt.Sprintf("the log answers %d", status)
		return nil
	case errors.Is(err, client.ErrOtherFile):
		p.trouble = "the log's answer is another file"
		return nil
	case err != nil:
		return fmt.Errorf("bundle of entry %d of %s: %w", p.entry, p.origin, err)
	}
	if err := k.takeFrom(p, file); err != nil {
		p.trouble = err.Error()
		return nil
	}
	p.taken, p.trouble = p.bundle, ""
	return nil
}

// takeFrom reads a bundle, and checks that the chip's key signed what is taken: a log could say
// anything of a chip.
func (k *Keeper) takeFrom(p *platform, file []byte) error {
	b, err := poclog.ParseBundle(file)
	if err != nil {
		return err
	}
	switch p.chip.Kind() {
	case poclog.IntelPPID:
		return k.takeTDX(p, b)
	case poclog.AMDChipID:
		return k.takeSNP(p, b)
	}
	return fmt.Errorf("chip %s: nobody judges its kind", p.chip)
}

func (k *Keeper) takeTDX(p *platform, b *poclog.Bundle) error {
	q, err := tdx.ParseQuote(b.Get(poclog.ItemTDXQuote))
	if err != nil {
		return err
	}
	if id, ok := poclog.HexIdentity(poclog.IntelPPID, q.Platform.PPID[:]); !ok || id != p.chip {
		return fmt.Errorf("the bundle's quote is of chip %s", id)
	}
	if err := q.CheckChain(k.policy.RootsFor(poclog.RootIntelSGX), p.appraised); err != nil {
		return err
	}
	if err := q.CheckSignature(); err != nil {
		return err
	}
	p.standing, p.fmspc = q.Standing(), hex.EncodeToString(q.Platform.FMSPC[:])
	return nil
}

func (k *Keeper) takeSNP(p *platform, b *poclog.Bundle) error {
	report, certs := b.Get(poclog.ItemSNPReport), b.Get(poclog.ItemSNPCerts)
	r, c, err := parseSNP(report, certs)
	if err != nil {
		return err
	}
	if err := c.CheckChain(r, k.policy.RootsFor(poclog.RootAMDARK), p.appraised); err != nil {
		return err
	}
	if err := r.CheckSignature(c); err != nil {
		return err
	}
	if id, ok := c.ChipID(r); !ok || id != p.chip {
		return fmt.Errorf("the bundle's report is of chip %s", id)
	}
	p.report, p.certs = report, certs
	return nil
}

func parseSNP(report, certs []byte) (*snp.Report, *snp.Chain, error) {
	r, err := snp.ParseReport(report)
	if err != nil {
		return nil, nil, err
	}
	c, err := snp.ParseChain(certs)
	return r, c, err
}
