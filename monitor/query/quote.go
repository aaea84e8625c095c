package query

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

// Limits of a question about a quote.
const (
	maxQuote       = 1 << 16           // bytes
	maxQuoteBody   = 2*maxQuote + 1024 // hexadecimal in JSON
	receiptTimeout = 10 * time.Second
)

// A QuoteAnswer is the answer to POST /v1/check_quote. The first five members are those of the Proof of Cloud Alliance's trust servers and of the token
// that they sign; nothing here is signed as the alliance, whose members answer for their own list. The receipts are what it stands on. Version V.
type QuoteAnswer struct {
	MachineIDCamel string `json:"machineId"`
	Label          string `json:"label"`      // the place, as the chip's newest bound proof shows it
	QuoteHash      string `json:"quote_hash"` // SHA-256 of the quote as it was sent
	MachineID      string `json:"machine_id"` // PPID or CHIP_ID, hexadecimal
	Timestamp      int64  `json:"timestamp"`  // now, Unix seconds

	V          int                `json:"v"`
	Quote      poclog.Identity    `json:"quote"` // of the signed part, which nobody can change
	Chip       poclog.Identity    `json:"chip"`
	Place      Place              `json:"place"`
	Level      uint32             `json:"level"`
	Realm      poclog.Realm       `json:"realm"`
	Proven     time.Time          `json:"proven"` // when that proof was appraised
	TCB        string             `json:"tcb,omitempty"`
	Logged     bool               `json:"logged"`   // this very quote has an entry
	Entries    []monitor.EntryRef `json:"entries"`  // the chip's newest bound proof, and the quote's own entry
	Receipts   []string           `json:"receipts"` // of these entries, base64 of a tlog-proof
	NoReceipts string             `json:"no_receipts,omitempty"`
}

// serveCheckQuote says whether a quote's chip is proven to stand at a place. It judges the quote's signature and certificates, not its TCB, nor what runs.
func (s *Server) serveCheckQuote(w http.ResponseWriter, r *http.Request) error {
	raw, err := readQuote(w, r)
	if err != nil {
		return err
	}
	release, err := acquire(s.judging)
	if err != nil {
		return err
	}
	defer release()
	q, err := s.open(raw)
	if err != nil {
		ref := &refusal{kind: kindRefused, err: err}
		if check, ok := verify.CheckOf(err); ok {
			ref.check = string(check)
		}
		return ref
	}
	a, err := s.checkQuote(r.Context(), q)
	if err != nil {
		return err
	}
	a.QuoteHash = poclog.Sum(raw).String()
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, a)
}

// readQuote reads {"quote": "<hexadecimal>"}.
func readQuote(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, refuse(kindMalformed, "content type %.80q: want application/json", r.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuoteBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, refuse(kindTooLarge, "body of over %d bytes", maxQuoteBody)
	}
	if err != nil {
		return nil, refuse(kindMalformed, "the body cannot be read")
	}
	var question struct {
		Quote string `json:"quote"`
	}
	if err := json.Unmarshal(body, &question); err != nil {
		return nil, refuse(kindMalformed, `want {"quote": "<hexadecimal>"}`)
	}
	raw, err := hex.DecodeString(question.Quote)
	if err != nil || len(raw) == 0 {
		return nil, refuse(kindMalformed, `want {"quote": "<hexadecimal>"}`)
	}
	return raw, nil
}

// genuine is a quote whose signature and certificates hold.
type genuine struct {
	realm       poclog.Realm
	chip, quote poclog.Identity
}

// open holds a TDX quote to the roots of the realms. Zero padding is no part of it.
func (s *Server) open(raw []byte) (*genuine, error) {
	if len(raw) == snp.ReportSize {
		return s.openSNP(raw)
	}
	item, err := tdx.TrimQuote(raw)
	if err != nil {
		return nil, err
	}
	q, err := tdx.ParseQuote(item)
	if err != nil {
		return nil, err
	}
	chip, ok := poclog.HexIdentity(poclog.IntelPPID, q.Platform.PPID[:])
	if !ok {
		return nil, errors.New("the quote's chip has no PPID")
	}
	for _, p := range s.cfg.Policies {
		if err = q.CheckChain(p.RootsFor(poclog.RootIntelSGX), s.cfg.Clock()); err == nil {
			return &genuine{p.Realm, chip, q.ID()}, q.CheckSignature()
		}
	}
	return nil, err
}

// openSNP takes a report without certificates by what it says: it is checked where a log has it.
func (s *Server) openSNP(raw []byte) (*genuine, error) {
	r, err := snp.ParseReport(raw)
	if err != nil {
		return nil, err
	}
	chip, ok := poclog.HexIdentity(poclog.AMDChipID, r.ChipID[:])
	if !ok {
		return nil, errors.New("the report's CHIP_ID is masked")
	}
	return &genuine{chip: chip, quote: r.ID()}, nil
}

// checkQuote finds what the logs prove of a quote's chip.
func (s *Server) checkQuote(ctx context.Context, q *genuine) (*QuoteAnswer, error) {
	release, err := acquire(s.scans)
	if err != nil {
		return nil, err
	}
	defer release()
	disputed, err := s.disputes(ctx)
	if err != nil {
		return nil, err
	}
	newest, own, err := s.proofsOf(ctx, q, disputed)
	if err != nil {
		return nil, err
	}
	ids := []poclog.Identity{q.chip, q.quote}
	if own != nil {
		ids = append(ids, own.AK, own.Instance)
	}
	if alerts := disputed.about(ids...); len(alerts) > 0 {
		return nil, &refusal{kind: kindDisputed, err: fmt.Errorf("chip %s: there is a contradiction about it, or about this quote or its VM", q.chip), alerts: alerts}
	}
	if newest == nil {
		return nil, refuse(kindUnknown, "chip %s: no log that is followed has a proof that binds it to a place", q.chip)
	}
	a := &QuoteAnswer{
		MachineIDCamel: q.chip.Value(), Label: Proven(newest).String(), MachineID: q.chip.Value(), Timestamp: s.cfg.Clock().Unix(),
		V: 1, Quote: q.quote, Chip: q.chip, Place: Proven(newest), Level: newest.Level, Realm: newest.Realm, Proven: newest.Appraised, TCB: newest.TCB,
		Logged: own != nil, Entries: []monitor.EntryRef{refOf(newest)}, Receipts: []string{},
	}
	if own != nil && refOf(own) != refOf(newest) {
		a.Entries = append(a.Entries, refOf(own))
	}
	s.addReceipts(ctx, a)
	return a, nil
}

func refOf(r *monitor.Record) monitor.EntryRef {
	return monitor.EntryRef{Origin: r.Origin, Index: r.Index}
}

// disputes are the contradictions that nobody has explained, by what they are about: their subject, and who cannot be honest. Whom a contradiction merely
// affects is not disputed, or a tenant could dispute the chip under him.
type disputes map[string][]string

func (s *Server) disputes(ctx context.Context) (disputes, error) {
	d := make(disputes)
	for a, err := range s.folder.Alerts(ctx, monitor.AlertFilter{Severity: "contradiction", Unsilenced: true}) {
		if err != nil {
			return nil, err
		}
		for _, id := range append([]string{a.Subject}, a.Implicated...) {
			if len(d[id]) < defaultListed && !slices.Contains(d[id], a.ID) {
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

// proofsOf finds the newest bound proof of a quote's chip that is not disputed, and the quote's own entry. A report that came without certificates counts
// only if it is logged.
func (s *Server) proofsOf(ctx context.Context, q *genuine, d disputes) (newest, own *monitor.Record, err error) {
	for r, err := range s.folder.Records(ctx, monitor.Filter{Identity: q.chip, Kind: monitor.KindProof, Realm: q.realm}) {
		if err != nil {
			return nil, nil, err
		}
		if !s.judges(r.Realm) {
			continue
		}
		if r.Quote == q.quote && !d.lies(r.Origin) {
			own = r
		}
		if Proven(r).IsZero() || r.Fresh == nil || len(d.about(r.AK, r.Instance, r.Quote)) > 0 || d.lies(r.Origin) {
			continue
		}
		if newest == nil || !r.Appraised.Before(newest.Appraised) {
			newest = r
		}
	}
	if q.realm == "" && own == nil {
		return nil, nil, nil
	}
	return newest, own, nil
}

// judges reports whether a realm is one of those that the monitor was given: in a report nothing says of which it is.
func (s *Server) judges(realm poclog.Realm) bool {
	return slices.ContainsFunc(s.cfg.Policies, func(p *poclog.Policy) bool { return p.Realm == realm })
}

// addReceipts adds what the logs give now. Without them the answer stands on the monitor's word, and says so.
func (s *Server) addReceipts(ctx context.Context, a *QuoteAnswer) {
	if s.cfg.Receipts == nil {
		a.NoReceipts = "this monitor gives none"
		return
	}
	ctx, cancel := context.WithTimeout(ctx, receiptTimeout)
	defer cancel()
	for _, e := range a.Entries {
		file, err := s.cfg.Receipts(ctx, e.Origin, e.Index)
		if err != nil {
			s.cfg.Logger.Warn("no receipt", "origin", e.Origin, "entry", e.Index, "error", err)
			a.NoReceipts = fmt.Sprintf("the log gives none now for entry %d of %s", e.Index, e.Origin)
			continue
		}
		a.Receipts = append(a.Receipts, base64.StdEncoding.EncodeToString(file))
	}
}
