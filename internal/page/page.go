// Package page is what the pages of services share: a style sheet, the verifier that runs in a
// browser (js/, and the same again as Go's WebAssembly), and the headers that keep pages harmless.
// A page asks no host but its own and runs no script but those that are here. TestAssets and the
// tests of packages monitor/web and log are the evidence.
package page

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

//go:embed assets
var assets embed.FS

// An Asset is a file that pages load, under a name that changes with what is in it.
type Asset struct {
	Path, MediaType string
	File            []byte
}

// Digest is its SHA-256, in hexadecimal.
func (a *Asset) Digest() string { return fmt.Sprintf("%x", sha256.Sum256(a.File)) }

func newAsset(name, ext, mediaType string, file []byte) *Asset {
	digest := sha256.Sum256(file)
	return &Asset{fmt.Sprintf("/assets/%s-%x%s", name, digest[:8], ext), mediaType, file}
}

func built(name, ext, mediaType string) *Asset {
	b, err := assets.ReadFile("assets/" + name + ext)
	if err != nil {
		panic(err) // it is embedded
	}
	return newAsset(name, ext, mediaType, b)
}

const script = "text/javascript; charset=utf-8"

// What pages load. Both scripts are of js/src: npm run page writes them.
var (
	Style    = built("style", ".css", "text/css; charset=utf-8")
	Verifier = built("verify", ".js", script) // page.ts: checks what is dropped
	Finder   = built("find", ".js", script)   // find.ts: says what is dropped, and where to look for it
)

// Headers sets those of an asset.
func (a *Asset) Headers(h http.Header) {
	h.Set("Content-Type", a.MediaType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
}

func contentPolicy(scripts string) string {
	return "default-src 'none'; " + scripts + "; connect-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// Headers sets those of a page: it may load what is here, and nothing else. A page that has the
// verifier in Go may also compile WebAssembly, which is code of its host.
func Headers(h http.Header, g *GoAssets) {
	policy := contentPolicy("script-src 'self'")
	if g != nil {
		policy = contentPolicy("script-src 'self' 'wasm-unsafe-eval'")
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// A Checker is a form that checks files in the browser, of the template "checker".
type Checker struct {
	Origin string // of the log whose policy stands in the form
	Policy string
	Whose  string // who says that this is the policy, such as "this monitor"
	Lab    bool   // the log is no production
	Entry  string // address of an entry's page, with {log} and {n} for what they are; "": there is none
	Go     *GoAssets
}

// Parse returns templates that have the shared ones.
func Parse(funcs template.FuncMap, files embed.FS, patterns ...string) *template.Template {
	shared := template.FuncMap{
		"style": func() string { return Style.Path }, "verifier": func() *Asset { return Verifier }, "finder": func() *Asset { return Finder }, "at": Stamp,
	}
	t := template.New("").Funcs(shared).Funcs(funcs)
	return template.Must(template.Must(t.ParseFS(assets, "assets/*.html")).ParseFS(files, patterns...))
}

// Stamp is a time for people.
func Stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
