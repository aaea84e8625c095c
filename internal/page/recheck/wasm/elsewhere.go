//go:build !(js && wasm)

// Command wasm is the Go verifier for browsers. Elsewhere it only says so: poclog verify is the
// command.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "this runs in a browser alone: make recheck builds it, and poclog verify does the same here")
	os.Exit(2)
}
