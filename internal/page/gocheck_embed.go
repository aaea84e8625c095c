//go:build goverifier

package page

import _ "embed"

//go:embed recheck/build/recheck.wasm.gz
var builtWASM []byte

//go:embed recheck/build/wasm_exec.js
var builtExec []byte

// BuiltVerifier is what this build has: nil where its tags leave it out.
func BuiltVerifier() *GoVerifier { return &GoVerifier{builtWASM, builtExec} }
