package web

import (
	"bytes"
	"crypto/sha256"
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
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
)

// The explorer: pages for people, from the same records as the answers for programs. Whatever a log
// or its evidence says is a hostile string: html/template escapes it, and the Content-Security-Policy
// runs no script but those that are served here. No page sets a cookie, asks another host, or keeps
// what was looked up.

//go:embed pages
var pagesFS embed.FS

// contentPolicy allows what the pages have: a style sheet, the verifier, forms that ask this host.
var contentPolicy = contentPolicyWith("script-src 'self'")

func contentPolicyWith(scripts string) string {
	return "default-src 'none'; " + scripts + "; connect-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// An asset is a file that pages load, under a name that changes with what is in it.
type asset struct {
	path, mediaType string
	file            []byte
	digest          [sha256.Size]byte
}

func assetOf(name, ext, mediaType string) *asset {
	b, err := pagesFS.ReadFile("pages/" + name + ext)
	if err != nil {
		panic(err) // it is embedded
	}
	digest := sha256.Sum256(b)
	return &asset{fmt.Sprintf("/assets/%s-%x%s", name, digest[:8], ext), mediaType, b, digest}
}

var (
	styleAsset  = assetOf("style", ".css", "text/css; charset=utf-8")
	verifyAsset = assetOf("verify", ".js", "text/javascript; charset=utf-8") // js/src/page.ts; npm run page writes it
)

var pageFuncs = template.FuncMap{
	"short": short,
	"kind":  func(id poclog.Identity) string { return kindWords[id.Kind()] },
	"at":    stamp,
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
	"style":    func() string { return styleAsset.path },
	"verifier": func() *asset { return verifyAsset },
	"check":    checkLink,
}

// kindWords are what people call the kinds of identities.
var kindWords = map[string]string{
	"intel:tdx:ppid": "Intel chip (PPID)", "amd:chip": "AMD chip (CHIP_ID)", "tpm:ak": "TPM attestation key", "tpm:ek": "TPM endorsement key",
	"gce:instance": "Compute Engine VM", "azure:vm": "Azure VM", "quote": "quote", "publisher": "publisher",
}

var pages = template.Must(template.New("").Funcs(pageFuncs).ParseFS(pagesFS, "pages/*.html"))

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

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
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
		"/{$}": s.overviewPage, "/chips": s.chipsPage, "/vms": s.vmsPage, "/places": s.placesPage, "/images": s.imagesPage, "/logs": s.logsPage,
		"/alerts": s.alertsPage, "/alert/{id}": s.alertPage, "/id/{id}": s.identityPage, "/entry": s.entryPage, "/search": s.searchPage, "/verify": s.verifyPage,
	} {
		mux.Handle("GET "+path, s.http.Read(func(w http.ResponseWriter, r *http.Request) error { return s.servePage(w, r, f) }))
	}
	mux.Handle("GET /receipt", s.http.Read(s.serveReceipt))
	mux.Handle("GET /dossier", s.http.Read(s.serveDossier))
	mux.Handle("GET /feed/alerts", s.http.Read(s.serveFeed))
	mux.Handle("GET /feed/id/{id}", s.http.Read(s.serveFeed))
	assets := []*asset{styleAsset, verifyAsset}
	if s.recheck != nil {
		assets = append(assets, s.recheck.WASM, s.recheck.Exec)
	}
	for _, a := range assets {
		mux.Handle("GET "+a.path, s.http.Read(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", a.mediaType)
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			return s.writeAnswer(w, r, http.StatusOK, a.file)
		}))
	}
}

// Path and Digest are where the file is, and its SHA-256 in hexadecimal.
func (a *asset) Path() string   { return a.path }
func (a *asset) Digest() string { return fmt.Sprintf("%x", a.digest) }

// checkLink is the address at which a browser checks a file of this host.
func checkLink(origin, file string) string {
	return "/verify?" + url.Values{"log": {origin}, "file": {file}}.Encode()
}

// A pageFunc returns the template of an answer and what it shows. A nil page says that the answer
// was given.
type pageFunc func(w http.ResponseWriter, r *http.Request) (name string, p *page, err error)

// servePage answers with a page, also where the answer is no.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, f pageFunc) error {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
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
	h.Set("Content-Type", "text/html; charset=utf-8")
	return s.writeAnswer(w, r, status, b.Bytes())
}
