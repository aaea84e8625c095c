//go:build race

package agree

// files is how many files are tried where nobody says. The race detector makes this implementation
// many times slower and has nothing to find in a comparison: `make unit` runs the test without it.
const files = 500
