package web

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	shared "github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// overview is the first page.
type overview struct {
	Proofs, Chips, CVMs, Places int
	Clashes                     int // contradictions that nobody silenced
	Top                         []query.PlaceCount
	Alerts                      []*monitor.Alert
	Days                        []bar
	Counted                     []day // the days of the chart, newest first
}

const (
	daysShown   = 90
	placesShown = 10
	alertsShown = 10
)

func (s *Server) overviewPage(_ http.ResponseWriter, r *http.Request) (string, *page, error) {
	snap, err := s.lists.get(r.Context())
	if err != nil {
		return "", nil, err
	}
	o := overview{Proofs: snap.proofs, Chips: len(snap.chips), CVMs: len(snap.cvms)}
	for _, p := range snap.places {
		if p.Proven {
			o.Places++
			o.Top = append(o.Top, p)
		}
	}
	slices.SortStableFunc(o.Top, func(a, b query.PlaceCount) int { return b.Chips - a.Chips })
	o.Top = o.Top[:min(len(o.Top), placesShown)]
	if o.Alerts, o.Clashes, err = s.gravest(r); err != nil {
		return "", nil, err
	}
	o.Counted = slices.Clone(snap.days[max(0, len(snap.days)-daysShown):])
	o.Days = barsOf(o.Counted)
	slices.Reverse(o.Counted)
	return "overview", &page{
		Title: "Where confidential VMs run", Section: "overview", Body: o,
		Description: fmt.Sprintf("%d proofs of %d chips in %d places; %d contradictions", o.Proofs, o.Chips, o.Places, o.Clashes),
	}, nil
}

// gravest returns the newest contradictions and alerts, newest first, and how many contradictions
// there are that nobody silenced.
func (s *Server) gravest(r *http.Request) (list []*monitor.Alert, n int, err error) {
	counts, err := s.folder.CountAlerts(r.Context())
	if err != nil {
		return nil, 0, err
	}
	for _, c := range counts {
		if c.Severity == rule.Contradiction && !c.Silenced && !slices.Contains(s.cfg.Private, c.Rule) {
			n += c.N
		}
	}
	for _, severity := range []rule.Severity{rule.Contradiction, rule.Alert} {
		var a AlertsAnswer
		if err := s.newest(r.Context(), monitor.AlertFilter{Severity: severity}, alertsShown, &a); err != nil {
			return nil, 0, err
		}
		slices.Reverse(a.Alerts)
		list = append(list, a.Alerts...)
	}
	return list[:min(len(list), alertsShown)], n, nil
}

// identityBody is what is known of an identity.
type identityBody struct {
	*IdentityAnswer
	Kind     string
	IsChip   bool
	Places   []stay
	Newest   *query.Statement
	Beside   []poclog.Identity // what the newest proofs name with it
	Timeline *timeline
	Shown    int
	Dossiers bool // that logs are asked for dossiers of it

	Standings []registry.Standing // of pinned registrars
	Stated    []statedRow
}

// A stay is a time in which proofs put an identity at one place, without another between.
type stay struct {
	Place       string
	First, Last time.Time
	Proofs      int
}

func (s *Server) identityPage(_ http.ResponseWriter, r *http.Request) (string, *page, error) {
	a, err := s.identity(r, maxListed)
	if err != nil {
		return "", nil, err
	}
	kind := kindWords[a.Identity.Kind()]
	if kind == "" {
		kind = a.Identity.Kind()
	}
	b := identityBody{IdentityAnswer: a, Kind: kind, IsChip: strings.Contains(kind, "chip"), Places: staysOf(a.Statements), Timeline: timelineOf(a.Statements), Dossiers: s.cfg.Dossiers != nil && a.Identity.Kind() != poclog.QuoteKind}
	if n := len(a.Statements); n > 0 {
		b.Newest = &a.Statements[n-1]
	}
	a.Statements = slices.Clone(a.Statements[max(0, len(a.Statements)-rowsOfPage):])
	slices.Reverse(a.Statements)
	b.Shown = len(a.Statements)
	for _, st := range a.Statements {
		for _, id := range st.Identities {
			if id != a.Identity && id.Kind() != poclog.QuoteKind && !slices.Contains(b.Beside, id) && len(b.Beside) < placesShown {
				b.Beside = append(b.Beside, id)
			}
		}
	}
	if err := s.registered(r.Context(), &b); err != nil {
		return "", nil, err
	}
	what := fmt.Sprintf("%s: %d proofs", kind, a.Total)
	if b.Newest != nil && !b.Newest.Place.IsZero() {
		what += ", the newest at " + b.Newest.Place.String()
	}
	return "identity", &page{Title: short(a.Identity), Section: "chips", Description: what, Body: b}, nil
}

// staysOf draws statements, in the order of their appraisal, together.
func staysOf(statements []query.Statement) (list []stay) {
	for _, st := range statements {
		place := st.Place.String()
		if n := len(list); n > 0 && list[n-1].Place == place {
			list[n-1].Last, list[n-1].Proofs = st.Appraised, list[n-1].Proofs+1
			continue
		}
		list = append(list, stay{place, st.Appraised, st.Appraised, 1})
	}
	slices.Reverse(list)
	return list[:min(len(list), rowsOfPage)]
}

// entryAsked reads which entry is asked for.
func entryAsked(r *http.Request) (monitor.EntryRef, error) {
	q := r.URL.Query()
	n, err := strconv.ParseUint(q.Get("n"), 10, 62)
	if err != nil || q.Get("log") == "" {
		return monitor.EntryRef{}, httpd.Refuse(httpd.KindMalformed, "log %.80q, n %.20q: want a log's origin and an entry's number", q.Get("log"), q.Get("n"))
	}
	return monitor.EntryRef{Origin: q.Get("log"), Index: n}, nil
}

// entryBody is one entry.
type entryBody struct {
	*monitor.Record
	Ref        monitor.EntryRef
	Identities []poclog.Identity
	Proven     query.Place
	Claimed    query.Place
	Image      string
	Receipts   bool
}

func (s *Server) entryPage(_ http.ResponseWriter, r *http.Request) (string, *page, error) {
	ref, err := entryAsked(r)
	if err != nil {
		return "", nil, err
	}
	rec, err := s.record(r, ref)
	if err != nil {
		return "", nil, err
	}
	if rec == nil {
		return "", nil, httpd.Refuse(httpd.KindNotFound, "this monitor has no entry %d of %.80q", ref.Index, ref.Origin)
	}
	if rec.Kind == monitor.KindStatement {
		return s.statementPage(r.Context(), rec)
	}
	b := entryBody{
		Record: rec, Ref: ref, Identities: query.IdentitiesOf(rec), Proven: query.Proven(rec), Claimed: query.Claimed(rec),
		Image: imageOf(rec), Receipts: s.cfg.Receipts != nil,
	}
	return "entry", &page{Title: fmt.Sprintf("Entry %d", ref.Index), Section: "logs", Description: fmt.Sprintf("Entry %d of %s", ref.Index, ref.Origin), Body: b}, nil
}

func imageOf(r *monitor.Record) string { return hex.EncodeToString(r.Measurement[:]) }

func (s *Server) serveReceipt(w http.ResponseWriter, r *http.Request) error {
	ref, err := entryAsked(r)
	if err != nil {
		return err
	}
	if s.cfg.Receipts == nil {
		return httpd.Refuse(httpd.KindNotFound, "this monitor gives no receipts")
	}
	file, err := s.files.get(r.Context(), question{origin: ref.Origin, index: ref.Index})
	if err != nil {
		return &httpd.Refusal{Kind: httpd.KindBusy, Err: err, Detail: "the log gives no receipt now"}
	}
	w.Header().Set("Content-Type", poclog.ReceiptType)
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fmt.Sprintf("entry-%d.tlog-proof", ref.Index)))
	return s.writeAnswer(w, r, http.StatusOK, file)
}

// serveDossier answers with what a log says of an identity, complete and to be checked offline.
func (s *Server) serveDossier(w http.ResponseWriter, r *http.Request) error {
	id, err := poclog.ParseIdentity(r.URL.Query().Get("id"))
	if err != nil {
		return httpd.Refuse(httpd.KindMalformed, "%w", err)
	}
	if id.Kind() == poclog.QuoteKind {
		return httpd.Refuse(httpd.KindMalformed, "a quote is in one entry, and not in the index")
	}
	logs, err := s.folder.Logs(r.Context())
	if err != nil {
		return err
	}
	origin := r.URL.Query().Get("log")
	if s.cfg.Dossiers == nil || !slices.ContainsFunc(logs, func(l monitor.LogInfo) bool { return l.Origin == origin && !l.Removed }) {
		return httpd.Refuse(httpd.KindNotFound, "this monitor gives no dossiers of %.80q", origin)
	}
	file, err := s.files.get(r.Context(), question{origin: origin, id: id})
	if err != nil {
		return &httpd.Refusal{Kind: httpd.KindBusy, Err: err, Detail: "the log gives no dossier now"}
	}
	w.Header().Set("Content-Type", poclog.DossierType)
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", strings.ReplaceAll(string(id), ":", "-")+".dossier.json"))
	return s.writeAnswer(w, r, http.StatusOK, file)
}

func (s *Server) alertsPage(_ http.ResponseWriter, r *http.Request) (string, *page, error) {
	f := monitor.AlertFilter{Severity: rule.Severity(r.URL.Query().Get("severity")), Rule: r.URL.Query().Get("rule")}
	a := AlertsAnswer{V: 1}
	if err := s.within(r.Context(), s.scans, "scans", func() error { return s.newest(r.Context(), f, rowsOfPage, &a) }); err != nil {
		return "", nil, err
	}
	slices.Reverse(a.Alerts)
	return "alerts", &page{Title: "Alerts", Section: "alerts", Description: "What contradicts, and what somebody should explain", Body: a}, nil
}

func (s *Server) alertPage(_ http.ResponseWriter, r *http.Request) (string, *page, error) {
	a, err := s.alert(r)
	if err != nil {
		return "", nil, err
	}
	return "alert", &page{Title: a.Rule, Section: "alerts", Description: a.Seen, Body: a}, nil
}

// verifyBody is what the verifier begins with.
type verifyBody struct {
	Checker shared.Checker
	Origins []string
}

// verifyPage has the verifier, with the policy under which this monitor follows a log: the reader
// sees it, and may put his own in its place.
func (s *Server) verifyPage(w http.ResponseWriter, r *http.Request) (string, *page, error) {
	logs, err := s.folder.Logs(r.Context())
	if err != nil {
		return "", nil, err
	}
	shared.Headers(w.Header(), s.recheck)
	q := r.URL.Query()
	b := verifyBody{Checker: shared.Checker{Origin: q.Get("log"), Whose: "this monitor", Lab: q.Get("realm") == string(poclog.Lab), Entry: "/entry?log={log}&n={n}", Go: s.recheck}}
	for _, l := range logs {
		if l.Removed {
			continue
		}
		b.Origins = append(b.Origins, l.Origin)
		if c := &b.Checker; c.Policy == "" && (c.Origin == "" || c.Origin == l.Origin) {
			c.Origin, c.Policy = l.Origin, l.Text
		}
	}
	return "verify", &page{Title: "Verify", Section: "verify", Description: "Check a receipt, a dossier or a contradiction in this browser", Body: b}, nil
}

// searchBody is what a search found, where that is not one thing.
type searchBody struct {
	Q    string
	IDs  []poclog.Identity
	More bool
	Cut  bool // the text is the beginning of a quote
	File *find
}

// searchPage finds an identity by all or a part of its text, a chip by the hexadecimal of its PPID or
// CHIP_ID, a place, or what names out of a file say. One that is found alone is gone to.
func (s *Server) searchPage(w http.ResponseWriter, r *http.Request) (string, *page, error) {
	show := func(b searchBody) (string, *page, error) {
		return "search", &page{Title: "Search", Section: "search", Description: "What a search found", Body: b}, nil
	}
	f, err := s.find(r)
	if err != nil {
		return "", nil, err
	}
	if f != nil {
		return show(searchBody{File: f})
	}
	text := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("q")))
	if len(text) > 512 {
		return "", nil, httpd.Refuse(httpd.KindMalformed, "a search of %d characters: want at most 512; longer things are pasted at /search", len(text))
	}
	to := func(path string) (string, *page, error) {
		w.Header().Del("ETag")
		http.Redirect(w, r, path, http.StatusSeeOther)
		return "", nil, nil
	}
	if id, err := poclog.ParseIdentity(text); err == nil {
		return to("/id/" + url.PathEscape(string(id)))
	}
	snap, err := s.lists.get(r.Context())
	if err != nil {
		return "", nil, err
	}
	if q, err := query.ParsePlace(text); err == nil && !q.All() && slices.ContainsFunc(snap.places, func(p query.PlaceCount) bool { return q.Has(p.Place) }) {
		return to("/chips?" + url.Values{"place": {text}}.Encode())
	}
	b := searchBody{Q: text, Cut: len(text) > 256 && (strings.HasPrefix(text, "0400020081000000") || strings.HasPrefix(text, "0500020081000000"))}
	if len(text) >= 4 {
		b.IDs, b.More = snap.find(text)
	}
	if len(b.IDs) == 1 {
		return to("/id/" + url.PathEscape(string(b.IDs[0])))
	}
	return show(b)
}

// find returns identities whose text contains another, or the one whose value it is.
func (snap *snapshot) find(text string) (list []poclog.Identity, more bool) {
	seen := make(map[poclog.Identity]bool)
	for _, c := range snap.cvms {
		for _, id := range []poclog.Identity{c.Chip, c.Instance, c.AK} {
			if seen[id] || !strings.Contains(string(id), text) {
				continue
			}
			if strings.HasSuffix(string(id), ":"+text) {
				return []poclog.Identity{id}, false
			}
			if seen[id] = true; len(list) == rowsOfPage {
				return list, true
			}
			list = append(list, id)
		}
	}
	return list, false
}
