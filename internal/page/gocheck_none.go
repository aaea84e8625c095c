//go:build !goverifier

package page

// BuiltVerifier is what this build has: nil where its tags leave it out.
func BuiltVerifier() *GoVerifier { return nil }
