package web

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// Limits of a question about a quote.
const (
	maxQuote     = 1 << 16           // bytes
	maxQuoteBody = 2*maxQuote + 1024 // hexadecimal in JSON
)

// A QuoteAnswer is the answer to POST /v1/check_quote. The first five members are those of the
// Proof of Cloud Alliance's trust servers and of the token that they sign; nothing here is signed
// as the alliance, whose members answer for their own list. The receipts are what it stands on.
// Version V.
type QuoteAnswer struct {
	MachineIDCamel string `json:"machineId"`
	Label          string `json:"label"`      // a pinned registrar's label; without one the place, as the chip's newest bound proof shows it
	QuoteHash      string `json:"quote_hash"` // SHA-256 of the quote as it was sent
	MachineID      string `json:"machine_id"` // PPID or CHIP_ID, hexadecimal
	Timestamp      int64  `json:"timestamp"`  // now, Unix seconds
	Revoked        bool   `json:"revoked"`    // a pinned registrar revoked it, as of a date that has come
	RevokedAt      string `json:"revoked_at,omitempty"`

	V          int                 `json:"v"`
	Quote      poclog.Identity     `json:"quote"` // of the signed part, which nobody can change
	Chip       poclog.Identity     `json:"chip"`
	Place      query.Place         `json:"place"`
	Level      uint32              `json:"level"`
	Realm      poclog.Realm        `json:"realm"`
	Proven     time.Time           `json:"proven,omitzero"`     // when that proof was appraised
	Standings  []registry.Standing `json:"standings,omitempty"` // what the registrars say that the monitor's operator pins
	TCB        string              `json:"tcb,omitempty"`
	Logged     bool                `json:"logged"`   // this very quote has an entry
	Entries    []monitor.EntryRef  `json:"entries"`  // the chip's newest bound proof, and the quote's own entry
	Receipts   []string            `json:"receipts"` // of these entries, base64 of a tlog-proof
	NoReceipts string              `json:"no_receipts,omitempty"`
}

// serveCheckQuote says whether a quote's chip is proven to stand at a place. It judges the quote's
// signature and certificates, not its TCB, nor what runs.
func (s *Server) serveCheckQuote(w http.ResponseWriter, r *http.Request) error {
	raw, err := s.readQuote(w, r)
	if err != nil {
		return err
	}
	hash := poclog.Sum(raw)
	var g *query.Genuine
	err = s.within(r.Context(), s.judging, "judging", func() (err error) {
		if g, err = s.quotes.Authenticate(raw, s.cfg.Clock()); err != nil {
			return refuseQuote(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	standings, err := s.standings(r.Context(), g.Chip)
	if err != nil {
		return err
	}
	var v *query.Vouched
	err = s.within(r.Context(), s.scans, "scans", func() (err error) {
		v, err = s.quotes.Vouch(r.Context(), g)
		if errors.Is(err, query.ErrUnproven) && len(standings) > 0 && g.Realm != "" {
			v, err = &query.Vouched{}, nil // as the alliance's servers: registrars know the machine
		}
		return refuseChip(err)
	})
	if err != nil {
		return err
	}
	a := s.answer(g, v)
	a.stand(standings, s.cfg.Clock())
	a.QuoteHash = hash.String()
	if err := s.addReceipts(r.Context(), a); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.writeJSON(w, r, http.StatusOK, a)
}

// readQuote reads {"quote": "<hexadecimal>"}.
func (s *Server) readQuote(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, httpd.Refuse(httpd.KindMalformed, "content type %.80q: want application/json", r.Header.Get("Content-Type"))
	}
	body, err := s.http.ReadBody(w, r, maxQuoteBody)
	if err != nil {
		return nil, err
	}
	var question struct {
		Quote string `json:"quote"`
	}
	if err := json.Unmarshal(body, &question); err != nil {
		return nil, httpd.Refuse(httpd.KindMalformed, `want {"quote": "<hexadecimal>"}`)
	}
	raw, err := hex.DecodeString(question.Quote)
	if err != nil || len(raw) == 0 {
		return nil, httpd.Refuse(httpd.KindMalformed, `want {"quote": "<hexadecimal>"}`)
	}
	return raw, nil
}

func (s *Server) answer(g *query.Genuine, v *query.Vouched) *QuoteAnswer {
	a := &QuoteAnswer{
		MachineIDCamel: g.Chip.Value(), MachineID: g.Chip.Value(), Timestamp: s.cfg.Clock().Unix(),
		V: 1, Quote: g.Quote, Chip: g.Chip, Realm: g.Realm, Logged: v.Own != nil, Entries: []monitor.EntryRef{}, Receipts: []string{},
	}
	if n := v.Newest; n != nil {
		a.Place, a.Level, a.Realm, a.Proven, a.TCB = query.Proven(n), n.Level, n.Realm, n.Appraised, n.TCB
		a.Label, a.Entries = a.Place.String(), append(a.Entries, refOf(n))
	}
	if v.Own != nil && (v.Newest == nil || refOf(v.Own) != refOf(v.Newest)) {
		a.Entries = append(a.Entries, refOf(v.Own))
	}
	return a
}

// standings says what pinned registrars say of a chip: of those alone who know it.
func (s *Server) standings(ctx context.Context, chip poclog.Identity) ([]registry.Standing, error) {
	list, err := s.standingsOf(ctx, chip)
	return slices.DeleteFunc(list, func(x registry.Standing) bool { return !x.Endorsed && x.Withdrawn() == nil && x.Level == 0 }), err
}

// stand says what registrars say: the first one's label, and since when it is revoked at the
// earliest.
func (a *QuoteAnswer) stand(list []registry.Standing, now time.Time) {
	a.Standings = list
	var since time.Time
	for i := range list {
		if i == 0 && list[i].Label != "" {
			a.Label = list[i].Label
		}
		if w := list[i].Withdrawn(); w != nil && (since.IsZero() || w.Since.Before(since)) {
			since = w.Since
		}
	}
	if !since.IsZero() {
		a.Revoked, a.RevokedAt = !since.After(now), since.UTC().Format(time.RFC3339)
	}
}

func refOf(r *monitor.Record) monitor.EntryRef {
	return monitor.EntryRef{Origin: r.Origin, Index: r.Index}
}

// addReceipts adds what the logs give now. Without them the answer stands on the monitor's word,
// and says so. It holds no place that others need.
func (s *Server) addReceipts(ctx context.Context, a *QuoteAnswer) error {
	if s.cfg.Receipts == nil {
		a.NoReceipts = "this monitor gives none"
		return nil
	}
	if err := httpd.Wait(ctx); err != nil {
		return err
	}
	for _, e := range a.Entries {
		file, err := s.files.get(ctx, question{origin: e.Origin, index: e.Index})
		switch {
		case errors.Is(err, errBusy):
			a.NoReceipts = "too many ask for receipts now"
		case err != nil:
			a.NoReceipts = fmt.Sprintf("the log gives none now for entry %d of %s", e.Index, e.Origin)
		default:
			a.Receipts = append(a.Receipts, base64.StdEncoding.EncodeToString(file))
		}
	}
	return nil
}

// What is refused about quotes.
var (
	kindRefused  = httpd.Kind{Name: "refused", Title: "The quote was refused", Status: http.StatusUnprocessableEntity}
	kindUnproven = httpd.Kind{Name: "unproven", Title: "No log has a proof of this chip", Status: http.StatusForbidden}
	kindDisputed = httpd.Kind{Name: "disputed", Title: "There is a contradiction about this chip", Status: http.StatusConflict}
)

// costRefused is how many requests a quote that is not genuine counts as, beside itself.
const costRefused = 4

// refuseQuote is the refusal of a quote that is not genuine.
func refuseQuote(err error) error {
	check, _ := verify.CheckOf(err)
	return &httpd.Refusal{Kind: kindRefused, Err: err, Check: string(check), Cost: costRefused}
}

// refuseChip is the refusal of a chip that is not vouched for. The folder's own errors stay what
// they are.
func refuseChip(err error) error {
	var disputed *query.DisputedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &disputed):
		return &httpd.Refusal{Kind: kindDisputed, Err: err, Document: func(p httpd.Problem) any { return problem{p, p.Detail, disputed.Alerts} }}
	case errors.Is(err, query.ErrUnproven):
		return &httpd.Refusal{Kind: kindUnproven, Err: err}
	}
	return err
}

// A problem is a problem document. Error repeats the detail under the name that the alliance's
// servers give it.
type problem struct {
	httpd.Problem
	Error  string   `json:"error"`
	Alerts []string `json:"alerts,omitempty"` // ids
}

// document adds to every problem what the alliance's servers have.
func document(p httpd.Problem) any { return problem{Problem: p, Error: p.Detail} }
