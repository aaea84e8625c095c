// Package realdata gives tests and the demonstration evidence that real machines made. Captures
// with their own licences stay out of the repository: they are read from the folder shared/evidence
// beside it, where there is one, or from modules that the project requires.
package realdata

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	quotes "github.com/google/go-tdx-guest/testing/testdata"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
)

// Times at which captures verify.
var (
	AzureTime   = time.Date(2026, 6, 8, 12, 42, 41, 0, time.UTC)
	GCETime     = time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC)
	QuoteTime   = time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC) // of Quotes()[0]
	QuoteV5Time = time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC) // of Quotes()[1]
)

// Folder returns the captures' folder, or false where it is absent. It looks beside the module that
// holds the working directory.
func Folder() (string, bool) {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			found := filepath.Join(filepath.Dir(dir), "shared", "evidence")
			_, err = os.Stat(found)
			return found, err == nil
		}
		dir = filepath.Dir(dir)
	}
	return "", false
}

// T is what this package needs of a test.
type T interface {
	Helper()
	Skipf(format string, args ...any)
	Fatal(args ...any)
}

// File reads a capture, or skips the test and says so.
func File(t T, path ...string) []byte {
	t.Helper()
	dir, ok := Folder()
	if !ok {
		t.Skipf("skipped: real evidence (%s) is not beside this repository", filepath.Join(path...))
	}
	b, err := os.ReadFile(filepath.Join(append([]string{dir}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// GCE returns the bundle of a Compute Engine quote without TPM evidence, and its collateral, valid
// at GCETime.
func GCE(t T) (*poclog.Bundle, *poclog.Collateral) {
	t.Helper()
	const dir = "gce-tdx-2026-06-30"
	im, err := importer.TDX(File(t, dir, "tdx-quote.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return im.Bundle, collateral(t, dir)
}

func collateral(t T, dir string) *poclog.Collateral {
	t.Helper()
	c, err := importer.Collateral(File(t, dir, "collateral.json"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Quotes returns the production quotes that come with go-tdx-guest, of version 4 and 5, without
// what its authors appended to the first. There is no collateral for them.
func Quotes() [][]byte {
	v4, _, _ := bytes.Cut(quotes.RawQuote, []byte("\nextra bytes"))
	return [][]byte{v4, quotes.RawQuoteV5}
}
