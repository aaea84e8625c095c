package log_test

import (
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/log"
)

// A fab makes distinct quotes of one laboratory chip.
type fab struct {
	maker    *chip.Maker
	platform *chip.Platform
}

func newFab() *fab {
	m := chip.NewMaker("log test", time.Now().AddDate(-1, 0, 0))
	return &fab{m, m.NewPlatform("host-1", nil)}
}

// submission is quote number n.
func (f *fab) submission(t testing.TB, n uint64) *poclog.Submission {
	t.Helper()
	var td chip.TD
	binary.BigEndian.PutUint64(td.ReportData[:], n)
	b := new(poclog.Bundle)
	b.Set(poclog.ItemTDXQuote, f.platform.Quote(td))
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &poclog.Submission{Bundle: file}
}

// policy admits this laboratory's bare quotes.
func (f *fab) policy() *poclog.Policy {
	return &poclog.Policy{
		V: 1, Realm: poclog.Lab, MaxChallengeAge: 600, TCB: []string{"UpToDate"},
		Admit: []poclog.Admission{{Profile: poclog.TDX, Level: poclog.LevelChip, Historical: true}},
		Roots: []poclog.Root{{Use: poclog.RootIntelSGX, SHA256: poclog.Sum(f.maker.Root()), Name: "laboratory"}},
	}
}

func (f *fab) initLog(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: f.policy()}); err != nil {
		t.Fatal(err)
	}
	return dir
}
