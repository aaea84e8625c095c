package query

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

// Ledger is what questions about quotes are answered from: a [monitor.Monitor].
type Ledger interface {
	Records(ctx context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error]
	Alerts(ctx context.Context, f monitor.AlertFilter) iter.Seq2[*monitor.Alert, error]
}

// Quotes answers whether the chip of a quote is proven to stand at a place.
type Quotes struct {
	Ledger   Ledger
	Policies []*poclog.Policy // whose roots say which quotes are genuine, of one realm each
}

// A Genuine is a quote whose signature and certificates hold. A report without certificates has no
// realm: it counts only where a log has it.
type Genuine struct {
	Realm poclog.Realm
	Chip  poclog.Identity
	Quote poclog.Identity // of the signed part, which nobody can change
}

// A Vouched is what is proven of a quote's chip.
type Vouched struct {
	Newest *monitor.Record // the newest fresh and bound proof of the chip that is not disputed
	Own    *monitor.Record // the quote's own entry; nil if no log has it
}

// ErrUnproven says that no log has a proof that binds a chip to a place.
var ErrUnproven = errors.New("no log that is followed has a proof that binds it to a place")

// A DisputedError says that there is a contradiction about a chip, a quote or its VM that nobody
// has silenced.
type DisputedError struct {
	Chip   poclog.Identity
	Alerts []string // ids
}

func (e *DisputedError) Error() string {
	return fmt.Sprintf("chip %s: there is a contradiction about it, or about this quote or its VM", e.Chip)
}

// maxDisputes is how many contradictions are named for one identity.
const maxDisputes = 100

// Authenticate holds a TDX quote's certificates and signature, at a time, to the roots of the
// realms. Zero padding is no part of it. It judges neither its TCB nor what runs. Errors are those
// of verify.
func (q *Quotes) Authenticate(raw []byte, at time.Time) (*Genuine, error) {
	if len(raw) == snp.ReportSize {
		return parseReport(raw)
	}
	item, err := tdx.TrimQuote(raw)
	if err != nil {
		return nil, err
	}
	quote, err := tdx.ParseQuote(item)
	if err != nil {
		return nil, err
	}
	chip, ok := poclog.HexIdentity(poclog.IntelPPID, quote.Platform.PPID[:])
	if !ok {
		return nil, errors.New("the quote's chip has no PPID")
	}
	err = errors.New("no policy says which quotes are genuine")
	for _, p := range q.Policies {
		if err = quote.CheckChain(p.RootsFor(poclog.RootIntelSGX), at); err == nil {
			return &Genuine{p.Realm, chip, quote.ID()}, quote.CheckSignature()
		}
	}
	return nil, err
}

// parseReport takes a report without certificates by what it says: it is checked where a log has
// it.
func parseReport(raw []byte) (*Genuine, error) {
	r, err := snp.ParseReport(raw)
	if err != nil {
		return nil, err
	}
	chip, ok := poclog.HexIdentity(poclog.AMDChipID, r.ChipID[:])
	if !ok {
		return nil, errors.New("the report's CHIP_ID is masked")
	}
	return &Genuine{Chip: chip, Quote: r.ID()}, nil
}

// Vouch finds what the logs prove of a quote's chip. If they prove nothing the error wraps
// [ErrUnproven]; if something is disputed it is a [*DisputedError].
func (q *Quotes) Vouch(ctx context.Context, g *Genuine) (*Vouched, error) {
	disputed, err := q.disputes(ctx)
	if err != nil {
		return nil, err
	}
	v, err := q.proofsOf(ctx, g, disputed)
	if err != nil {
		return nil, err
	}
	ids := []poclog.Identity{g.Chip, g.Quote}
	if v.Own != nil {
		ids = append(ids, v.Own.AK, v.Own.Instance)
	}
	if alerts := disputed.about(ids...); len(alerts) > 0 {
		return nil, &DisputedError{g.Chip, alerts}
	}
	if v.Newest == nil {
		return nil, fmt.Errorf("chip %s: %w", g.Chip, ErrUnproven)
	}
	return v, nil
}

// disputes are the contradictions that nobody has explained, by what they are about: their subject,
// and who cannot be honest. Whom a contradiction merely affects is not disputed, or a tenant could
// dispute the chip under him.
type disputes map[string][]string

func (q *Quotes) disputes(ctx context.Context) (disputes, error) {
	d := make(disputes)
	for a, err := range q.Ledger.Alerts(ctx, monitor.AlertFilter{Severity: "contradiction", Unsilenced: true}) {
		if err != nil {
			return nil, err
		}
		for _, id := range append([]string{string(a.Subject)}, a.Implicated...) {
			if len(d[id]) < maxDisputes && !slices.Contains(d[id], a.ID) {
				d[id] = append(d[id], a.ID)
			}
		}
	}
	return d, nil
}

// about returns the ids of the contradictions about any of the identities.
func (d disputes) about(ids ...poclog.Identity) (alerts []string) {
	for _, id := range ids {
		if id != "" {
			alerts = append(alerts, d[string(id)]...)
		}
	}
	slices.Sort(alerts)
	return slices.Compact(alerts)
}

// lies reports whether a contradiction implicates a log: then its entries prove nothing.
func (d disputes) lies(origin string) bool { return len(d["log:"+origin]) > 0 }

// proofsOf finds the newest bound proof of a quote's chip that is not disputed, and the quote's own
// entry. A report that came without certificates counts only if it is logged.
func (q *Quotes) proofsOf(ctx context.Context, g *Genuine, d disputes) (*Vouched, error) {
	v := new(Vouched)
	for r, err := range q.Ledger.Records(ctx, monitor.Filter{Identity: g.Chip, Kind: monitor.KindProof, Realm: g.Realm}) {
		if err != nil {
			return nil, err
		}
		if !q.judges(r.Realm) || d.lies(r.Origin) {
			continue
		}
		if r.Quote == g.Quote {
			v.Own = r
		}
		if Proven(r).IsZero() || r.Fresh == nil || len(d.about(r.AK, r.Instance, r.Quote)) > 0 {
			continue
		}
		if v.Newest == nil || !r.Appraised.Before(v.Newest.Appraised) {
			v.Newest = r
		}
	}
	if g.Realm == "" && v.Own == nil {
		return new(Vouched), nil
	}
	return v, nil
}

// judges reports whether a realm is one of those that the monitor was given: in a report nothing
// says of which it is.
func (q *Quotes) judges(realm poclog.Realm) bool {
	return slices.ContainsFunc(q.Policies, func(p *poclog.Policy) bool { return p.Realm == realm })
}
