package web

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	shared "github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
)

// The explorer: pages for people, from the same records as the answers for programs. Whatever a log
// or its evidence says is a hostile string: html/template escapes it, and the Content-Security-Policy
// runs no script but those that are served here. No page sets a cookie, asks another host, or keeps
// what was looked up.

//go:embed pages
var pagesFS embed.FS

var pageFuncs = template.FuncMap{
	"short": short,
	"kind":  func(id poclog.Identity) string { return kindWords[id.Kind()] },
	"day":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"entry": func(e monitor.EntryRef) string {
		return "/entry?" + url.Values{"log": {e.Origin}, "n": {fmt.Sprint(e.Index)}}.Encode()
	},
	"receipt": func(e monitor.EntryRef) string {
		return "/receipt?" + url.Values{"log": {e.Origin}, "n": {fmt.Sprint(e.Index)}}.Encode()
	},
	"dossier": func(origin string, id poclog.Identity) string {
		return "/dossier?" + url.Values{"log": {origin}, "id": {string(id)}}.Encode()
	},
	"place": func(v fmt.Stringer) string {
		if s := v.String(); s != "" {
			return s
		}
		return "unproven"
	},
	"atplace": placeLink,
	"about": func(id poclog.Identity) string { // a log has no page of its own
		if strings.HasPrefix(string(id), "log:") {
			return "/logs"
		}
		return "/id/" + string(id)
	},
	"check":     checkLink,
	"checkIn":   checkIn,
	"registrar": func(name string) string { return "/registrar?" + url.Values{"name": {name}}.Encode() },
}

// kindWords are what people call the kinds of identities.
var kindWords = map[string]string{
	"intel:tdx:ppid": "Intel chip (PPID)", "amd:chip": "AMD chip (CHIP_ID)", "tpm:ak": "TPM attestation key", "tpm:ek": "TPM endorsement key",
	"gce:instance": "Compute Engine VM", "azure:vm": "Azure VM", "quote": "quote", "publisher": "publisher",
}

var pages = shared.Parse(pageFuncs, pagesFS, "pages/*.html")

// short is an identity as a table shows it: its kind, and the first 12 characters of its value.
func short(id poclog.Identity) string {
	text := string(id)
	i := strings.LastIndexByte(text, ':')
	if value := text[i+1:]; len(value) > 16 {
		return text[:i+1] + value[:12] + "…"
	}
	return text
}

// placeLink is the address of a place's chips; "": nobody can ask for it, for its name is none.
func placeLink(p query.Place) string {
	zone := p.Zone
	if zone == "" {
		zone = p.Region
	}
	text := strings.TrimSuffix(p.Provider+"/"+zone, "/")
	if q, err := query.ParsePlace(text); err != nil || q.All() {
		return ""
	}
	return "/chips?" + url.Values{"place": {text}}.Encode()
}

// A page is what every template gets.
type page struct {
	Title, Description string
	Section            string // of the navigation that it belongs to
	Logs               []LogState
	Body               any
}

// explore adds the explorer's pages.
func (s *Server) explore(mux *http.ServeMux) {
	for path, f := range map[string]pageFunc{
		"/{$}": s.overviewPage, "/chips": s.chipsPage, "/vms": s.vmsPage, "/places": s.placesPage, "/images": s.imagesPage, "/registrars": s.registrarsPage, "/registrar": s.registrarPage, "/statements": s.statementsPage, "/logs": s.logsPage,
		"/alerts": s.alertsPage, "/alert/{id}": s.alertPage, "/id/{id}": s.identityPage, "/entry": s.entryPage, "/search": s.searchPage, "/verify": s.verifyPage,
	} {
		mux.Handle("GET "+path, s.http.Read(func(w http.ResponseWriter, r *http.Request) error { return s.servePage(w, r, f) }))
	}
	mux.Handle("POST /search", s.http.Write(s.servePasted))
	mux.Handle("GET /receipt", s.http.Read(s.serveReceipt))
	mux.Handle("GET /dossier", s.http.Read(s.serveDossier))
	mux.Handle("GET /feed/alerts", s.http.Read(s.serveFeed))
	mux.Handle("GET /feed/id/{id}", s.http.Read(s.serveFeed))
	assets := []*shared.Asset{shared.Style, shared.Verifier, shared.Finder}
	if s.recheck != nil {
		assets = append(assets, s.recheck.WASM, s.recheck.Exec)
	}
	for _, a := range assets {
		mux.Handle("GET "+a.Path, s.http.Read(func(w http.ResponseWriter, r *http.Request) error {
			a.Headers(w.Header())
			return s.writeAnswer(w, r, http.StatusOK, a.File)
		}))
	}
}

// checkLink is the address at which a browser checks a file of this host.
func checkLink(origin, file string) string { return checkIn("", 2, origin, file) }

// checkIn is the same for a receipt of a realm and level.
func checkIn(realm poclog.Realm, level uint32, origin, file string) string {
	q := url.Values{"log": {origin}, "file": {file}}
	if realm == poclog.Lab {
		q.Set("realm", string(realm))
	}
	if level == 0 {
		q.Set("level", "0")
	}
	return "/verify?" + q.Encode()
}

// A pageFunc returns the template of an answer and what it shows. A nil page says that the answer
// was given.
type pageFunc func(w http.ResponseWriter, r *http.Request) (name string, p *page, err error)

// servePage answers with a page, also where the answer is no.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, f pageFunc) error {
	h := w.Header()
	shared.Headers(h, nil)
	logs, err := s.folder.Logs(r.Context())
	if err != nil {
		return err
	}
	fresh, err := s.unchanged(w, r, logs, s.lists.state(logs))
	if err != nil || fresh {
		return err
	}
	status := http.StatusOK
	name, p, err := f(w, r)
	var refusal *httpd.Refusal
	if errors.As(err, &refusal) && refusal.Kind.Status < http.StatusInternalServerError {
		status, name, p = refusal.Kind.Status, "refused", &page{Title: refusal.Kind.Title, Body: refusal.Error()}
		h.Del("ETag")
	} else if err != nil {
		return err
	}
	if p == nil {
		return nil
	}
	p.Logs = statesOf(logs)
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name+".html", p); err != nil {
		return err
	}
	return s.writeAnswer(w, r, status, b.Bytes())
}
