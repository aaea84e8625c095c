package web

import (
	"crypto/sha256"
	"fmt"
	"net/http"
)

// A GoVerifier is the Go verifier as WebAssembly, with which a browser checks a file again. A build
// has it if its tag is goverifier; `make build` makes both.
type GoVerifier struct {
	WASM []byte // of monitor/web/recheck/wasm, with gzip
	Exec []byte // Go's own wasm_exec.js
}

// assets are the files that the page loads; nil where there is no verifier.
func (g *GoVerifier) assets() *goAssets {
	if g == nil {
		return nil
	}
	named := func(name, ext, mediaType string, b []byte) *asset {
		digest := sha256.Sum256(b)
		return &asset{fmt.Sprintf("/assets/%s-%x%s", name, digest[:8], ext), mediaType, b, digest}
	}
	return &goAssets{
		WASM: named("recheck", ".wasm.gz", "application/gzip", g.WASM),
		Exec: named("wasm_exec", ".js", "text/javascript; charset=utf-8", g.Exec),
	}
}

type goAssets struct{ WASM, Exec *asset }

// Size is for people.
func (g *goAssets) Size() string { return fmt.Sprintf("%.1f MB", float64(len(g.WASM.file))/1e6) }

// recheckPolicy is contentPolicy where a page may compile WebAssembly, which is code of this host.
var recheckPolicy = contentPolicyWith("script-src 'self' 'wasm-unsafe-eval'")

// allowWASM lets the verifier's page, and no other, run the Go verifier.
func (s *Server) allowWASM(w http.ResponseWriter) {
	if s.recheck != nil {
		w.Header().Set("Content-Security-Policy", recheckPolicy)
	}
}
