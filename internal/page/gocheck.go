package page

import "fmt"

// A GoVerifier is the Go verifier as WebAssembly, with which a browser checks a file again. A build
// has it if its tag is goverifier; `make build` makes both.
type GoVerifier struct {
	WASM []byte // of recheck/wasm, with gzip
	Exec []byte // Go's own wasm_exec.js
}

// Assets are the files that the page loads; nil where there is no verifier.
func (g *GoVerifier) Assets() *GoAssets {
	if g == nil {
		return nil
	}
	return &GoAssets{WASM: newAsset("recheck", ".wasm.gz", "application/gzip", g.WASM), Exec: newAsset("wasm_exec", ".js", script, g.Exec)}
}

// GoAssets are the files of a [GoVerifier].
type GoAssets struct{ WASM, Exec *Asset }

// Size is for people.
func (g *GoAssets) Size() string { return fmt.Sprintf("%.1f MB", float64(len(g.WASM.File))/1e6) }
