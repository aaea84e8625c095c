//go:build !goverifier

package web

// BuiltVerifier is what this build has: nil where its tags leave it out.
func BuiltVerifier() *GoVerifier { return nil }
