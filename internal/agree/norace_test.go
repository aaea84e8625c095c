//go:build !race

package agree

// files is how many files are tried where nobody says.
const files = 20_000
