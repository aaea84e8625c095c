package poclog_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/specification"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// TestFilesAreBoundedAsSpecified holds each reader to the size in docs/format.md §1: a file that is
// a byte longer is refused for its length, whatever it says.
func TestFilesAreBoundedAsSpecified(t *testing.T) {
	readers := map[string]func([]byte) error{
		"bundle":                    errOf(poclog.ParseBundle),
		"collateral":                errOf(poclog.ParseCollateral),
		"receipt":                   errOf(poclog.ParseReceipt),
		"appraisal policy":          errOf(poclog.ParsePolicy),
		"challenge item":            errOf(poclog.ParseChallenge),
		"note of exceptions":        errOf(poclog.ParseExceptions),
		"signed checkpoint":         func(b []byte) error { _, err := tlogpolicy.ParseCheckpoint(b); return err },
		"entry":                     errOf(poclog.ParseEntry),
		"contradiction":             errOf(poclog.ParseContradiction),
		"dossier":                   errOf(poclog.ParseDossier),
		"submission":                errOf(poclog.ParseSubmission),
		"envelope":                  errOf(poclog.ParseEnvelope),
		"trust policy":              errOf(tlogpolicy.Parse),
		"split view":                errOf(receipt.ParseSplitView),
		"wrong index":               errOf(poclog.ParseIndexWrong),
		"statement":                 errOf(poclog.ParseStatement),
		"envelope of a statement":   errOf(poclog.ParseStatementEnvelope),
		"submission of a statement": errOf(poclog.ParseStatementSubmission),
		"opening":                   errOf(poclog.ParseOpening),
		"pinned registrars":         errOf(poclog.ParsePins),
	}
	section := specification.Section(t, "format.md", "## 1. ", "## 2. ")
	for _, row := range specification.Table(t, section, "file", "at most, in bytes") {
		limit, err := strconv.Atoi(strings.ReplaceAll(row[1], ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range strings.Split(row[0], ", ") {
			read := readers[file]
			if read == nil {
				t.Errorf("no reader of %s", file)
				continue
			}
			delete(readers, file)
			long := make([]byte, limit+1)
			if err := read(long); err == nil || !strings.Contains(err.Error(), strconv.Itoa(len(long))+" bytes") {
				t.Errorf("%s of %d bytes: %v", file, len(long), err)
			}
			if err := read(long[:limit]); err == nil || strings.Contains(err.Error(), strconv.Itoa(limit)+" bytes") {
				t.Errorf("%s of %d bytes, which are allowed: %v", file, limit, err)
			}
		}
	}
	for file := range readers {
		t.Errorf("§1 does not say how long %s may be", file)
	}
}

func errOf[T any](parse func([]byte) (*T, error)) func([]byte) error {
	return func(b []byte) error {
		_, err := parse(b)
		return err
	}
}
