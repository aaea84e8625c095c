package log

import (
	"bytes"
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/verify/receipt"
)

// The log's own pages, for people: what log it is, an entry, and the verifier, which runs in the
// browser. They are read without scripts, but for checking. The first page is made once a second at
// most; what reads the tree has the few places of dossiers.

//go:embed pages
var pagesFS embed.FS

var pages = page.Parse(nil, pagesFS, "pages/*.html")

// homeLife is how long the first page is the same.
const homeLife = time.Second

// auditGroup is the group of a policy.txt whose cosignatures make an entry audited.
const auditGroup = "auditors"

// A home keeps the first page.
type home struct {
	mu   sync.Mutex // guards what follows
	file []byte
	made time.Time
}

// A shown is what every template gets.
type shown struct {
	Title, Description string
	Body               any
}

func (s *Service) servePages(mux *http.ServeMux) {
	mux.Handle("GET /{$}", s.http.Read(s.getHome))
	mux.Handle("GET /entry", s.http.Read(s.getEntry))
	mux.Handle("GET /receipt", s.http.Read(s.getReceipt))
	assets := []*page.Asset{page.Style, page.Verifier}
	if g := s.recheck; g != nil {
		assets = append(assets, g.WASM, g.Exec)
	}
	for _, a := range assets {
		mux.Handle("GET "+a.Path, s.http.Read(func(w http.ResponseWriter, _ *http.Request) error {
			a.Headers(w.Header())
			_, _ = w.Write(a.File) // the client may be gone
			return nil
		}))
	}
}

// getHome answers browsers with a page, and others with a short text.
func (s *Service) getHome(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Vary", "Accept")
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return s.getText(w)
	}
	file, err := s.homePage()
	if err != nil {
		return err
	}
	page.Headers(w.Header(), s.recheck)
	w.Header().Set("Cache-Control", "public, max-age=5")
	_, _ = w.Write(file) // the client may be gone
	return nil
}

// getText says the same to whoever asks without a browser.
func (s *Service) getText(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	size, _, _ := s.published.state()
	fmt.Fprintf(w, "%s: a Proof-of-Cloud log with %d entries.\n\n"+
		"GET  /checkpoint, /tile/…            the log (https://c2sp.org/tlog-tiles)\nPOST /v1/proofs                      submit evidence, get a receipt\nPOST /v1/statements                  the same for what a registrar states\n"+
		"GET  /v1/evidence/sha256/<digest>    what an entry names\nGET  /v1/policy                      what is admitted\nGET  /policy.txt                     the tlog-policy for clients\nGET  /v1/index, /v1/dossiers?name=…  every entry that states a name, with proof\n"+
		"GET  /health, /metrics, /openapi.json\nGET  / in a browser                  pages for people, which check files\n", s.origin, size)
	return nil
}

func (s *Service) homePage() ([]byte, error) {
	h := &s.home
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.file == nil || now.Sub(h.made) >= homeLife {
		b := s.homeBody()
		var buf bytes.Buffer
		err := pages.ExecuteTemplate(&buf, "home.html", shown{s.origin, fmt.Sprintf("A transparency log of Proofs of Cloud with %d entries", b.Size), b})
		if err != nil {
			return nil, err
		}
		h.file, h.made = buf.Bytes(), now
	}
	return h.file, nil
}

// homeBody is what the first page says.
type homeBody struct {
	Origin     string
	Lab        bool
	Trouble    []string
	Size, Last uint64
	Published  time.Time // by the log's signature or its witnesses; zero before the first
	Lag        uint64
	Checker    page.Checker
	Keys       []string
	Quorum     string
	Audited    string
	Members    []memberRow
	Checkpoint string
	Admits     []poclog.Admission
	Registrars []poclog.Registrar
}

// A memberRow is a witness or auditor.
type memberRow struct {
	Name, Role, URL string
	Failing         bool
}

func (s *Service) homeBody() *homeBody {
	own, p := s.rules.own, s.rules.policy
	b := &homeBody{
		Origin: s.origin, Lab: p.Realm == poclog.Lab, Lag: s.indexer.lag(), Quorum: own.QuorumWords(), Members: s.roster.rows(),
		Checkpoint: string(s.published.latest()), Admits: p.Admit, Registrars: p.Registrars,
		Checker: page.Checker{Origin: s.origin, Policy: string(s.rules.ownText), Whose: "this log", Lab: p.Realm == poclog.Lab, Entry: "/entry?n={n}", Go: s.recheck},
	}
	size, seen, _ := s.published.state()
	if b.Size = size; size > 0 {
		b.Last, b.Published = size-1, seen
	}
	for _, l := range own.Logs() {
		b.Keys = append(b.Keys, l.VKey)
	}
	if own.Has(auditGroup) {
		b.Audited = own.Words(auditGroup)
	}
	for _, err := range s.troubles() {
		b.Trouble = append(b.Trouble, err.Error())
	}
	return b
}

// rows lists the members for people.
func (r *roster) rows() (list []memberRow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		row := memberRow{Name: strings.Join(m.names, ", "), Role: "beside the quorum", URL: strings.TrimSuffix(m.url, "/add-checkpoint"), Failing: m.failing != nil}
		if m.quorum {
			row.Role = "witness of the quorum"
		}
		for _, name := range m.names {
			if r.policy.Has(auditGroup) && r.policy.Contains(auditGroup, name) {
				row.Role = "auditor"
			}
		}
		list = append(list, row)
	}
	return list
}

// An entryBody is an entry for people.
type entryBody struct {
	poclog.Leaf
	Origin  string
	Number  uint64
	Before  uint64
	After   uint64 // 0: it is the last
	Kind    string
	Proven  string
	Files   []namedFile
	LeafSum string
	Receipt string
	Raw     string
}

// numberAsked reads which published entry is asked for.
func (s *Service) numberAsked(r *http.Request) (number, size uint64, err error) {
	text := r.URL.Query().Get("n")
	if number, err = strconv.ParseUint(text, 10, 62); err != nil {
		return 0, 0, refuse(httpd.KindMalformed, "n %.20q: want the number of an entry", text)
	}
	if size, _, _ = s.published.state(); number >= size {
		return 0, 0, refuse(httpd.KindNotFound, "no entry %d: the log has %d, numbered from 0", number, size)
	}
	return number, size, nil
}

// onPlace does something that reads the tree, on one of a few places.
func (s *Service) onPlace(ctx context.Context, do func() error) error {
	done, err := s.building.Take(ctx, httpd.ClientOf(ctx))
	if err != nil {
		return refuse(httpd.KindBusy, "%w", err)
	}
	defer done()
	return do()
}

func (s *Service) getEntry(w http.ResponseWriter, r *http.Request) error {
	status, name := http.StatusOK, "entry.html"
	var p shown
	b, err := s.entryBody(r)
	var refusal *httpd.Refusal
	switch {
	case err == nil:
		p = shown{fmt.Sprintf("Entry %d of %s", b.Number, s.origin), fmt.Sprintf("Entry %d of the transparency log %s", b.Number, s.origin), b}
	case errors.As(err, &refusal) && refusal.Kind.Status < http.StatusInternalServerError:
		status, name, p = refusal.Kind.Status, "refused.html", shown{refusal.Kind.Title, refusal.Kind.Title, refusal.Error()}
	default:
		return err
	}
	var buf bytes.Buffer
	if err := pages.ExecuteTemplate(&buf, name, p); err != nil {
		return err
	}
	if err := httpd.Hold(r.Context(), int64(buf.Len())); err != nil {
		return err
	}
	page.Headers(w.Header(), nil)
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the client may be gone
	return nil
}

func (s *Service) entryBody(r *http.Request) (b *entryBody, err error) {
	number, size, err := s.numberAsked(r)
	if err != nil {
		return nil, err
	}
	var leaf []byte
	err = s.onPlace(r.Context(), func() (err error) { leaf, err = s.leaf(r.Context(), number, size); return err })
	if err != nil {
		return nil, err
	}
	hash := receipt.LeafHash(leaf)
	b = &entryBody{Origin: s.origin, Number: number, Before: max(number, 1) - 1, LeafSum: hex.EncodeToString(hash[:]), Raw: string(leaf)}
	if number+1 < size {
		b.After = number + 1
	}
	if b.Leaf, err = poclog.ParseLeaf(leaf); err != nil {
		return nil, err
	}
	b.Files = filesOf(b.Leaf)
	switch {
	case b.Proof != nil:
		b.Files = append(b.Files, namedFile{"policy", b.Proof.Evidence.Policy})
		b.Kind, b.Proven, b.Receipt = "a proof", placeText(b.Proof.ProvenPlace()), fmt.Sprintf("/receipt?n=%d", number)
	case b.Statement != nil:
		b.Kind = "a statement"
		b.Files = append(b.Files, namedFile{"policy", b.Statement.Policy})
	case b.Config != nil:
		b.Kind = "a change of policy or software"
	case b.Index != nil:
		b.Kind = "the index"
	}
	return b, nil
}

// placeText is a place for people; "" is none.
func placeText(p poclog.Place) string {
	return strings.TrimRight(p.Provider.Value+"/"+p.Region.Value+"/"+p.Zone.Value, "/")
}

// getReceipt makes the receipt of a proof that is in the log.
func (s *Service) getReceipt(w http.ResponseWriter, r *http.Request) error {
	number, size, err := s.numberAsked(r)
	if err != nil {
		return err
	}
	var a *admission
	err = s.onPlace(r.Context(), func() (err error) {
		leaf, err := s.leaf(r.Context(), number, size)
		if err != nil {
			return err
		}
		if l, err := poclog.ParseLeaf(leaf); err != nil || l.Proof == nil {
			return refuse(httpd.KindNotFound, "entry %d is no proof", number)
		}
		a, err = s.existing(r.Context(), number)
		return err
	})
	if err != nil {
		return err
	}
	if err := httpd.Hold(r.Context(), int64(len(a.receipt))); err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fmt.Sprintf("entry-%d.tlog-proof", number)))
	return httpd.Send(w, poclog.ReceiptType, "no-cache", a.receipt)
}
