package log_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/log"
)

// What is withheld and was erased comes back by no submission. Who sends it again gets the receipt
// that exists, and no new entry names it.
func erasedStaysAway(t *testing.T, f *fab, a *endorser.Registrar, dir string, erase func(dir string, list []poclog.Digest)) {
	open := func() *testLog {
		cfg := logConfig()
		cfg.CheckpointInterval = time.Second
		return serveLogging(t, dir, cfg, slog.New(slog.DiscardHandler))
	}
	l := open()
	sub, page := f.submission(t, 1), []byte("a contract")
	collateral := f.collateral(t, chip.CollateralOptions{At: time.Now().Add(-time.Hour)})
	whole := &poclog.Submission{Bundle: sub.Bundle, Collateral: collateral}
	s := endorsing(1)
	s.Documents = []poclog.Document{{SHA256: poclog.Sum(page), Size: uint32(len(page)), Type: "text/plain"}}
	v := a.State(s, 2)
	first, stated := submit(t, l, sub), stating(t, l, v, page)
	list := []poclog.Digest{poclog.Sum(sub.Bundle), poclog.Sum(page)}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "withheld.txt"), []byte(list[0].String()+"\n"+list[1].String()+"\n"), 0o644), l.svc.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	erase(dir, list)
	l = open()
	if got := submit(t, l, sub); got.New || got.Verdict.Index != first.Verdict.Index {
		t.Errorf("the same bundle: new %v, entry %d: want entry %d", got.New, got.Verdict.Index, first.Verdict.Index)
	}
	if got := stating(t, l, v, page); got.New || got.Verdict.Index != stated.Verdict.Index {
		t.Errorf("the same statement: new %v, entry %d: want entry %d", got.New, got.Verdict.Index, stated.Verdict.Index)
	}
	if p := problemOf(t, l, whole); p.Status != http.StatusUnavailableForLegalReasons || !strings.Contains(p.Detail, "bundle "+list[0].String()) {
		t.Errorf("the bundle in evidence that proves more: %+v", p)
	}
	s.Serial = 2
	_, err := l.client.Register(t.Context(), &poclog.StatementSubmission{Envelope: *a.State(s, 2), Documents: [][]byte{page}})
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != http.StatusUnavailableForLegalReasons || !strings.Contains(p.Detail, "document "+list[1].String()) {
		t.Errorf("the document in another statement: %v", err)
	}
	src := dirSource(t, dir)
	for _, b := range [][]byte{sub.Bundle, page} {
		if _, err := src.Evidence(t.Context(), poclog.BlobOf(b)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was erased is back: %v", err)
		}
	}
	// The evidence is no longer withheld: its claim was given back, and nothing but the list kept it out.
	if err := os.Remove(filepath.Join(dir, "withheld.txt")); err != nil {
		t.Fatal(err)
	}
	if got := submit(t, l, whole); !got.New {
		t.Error("no longer withheld: not new")
	}
	if got := stating(t, l, a.State(s, 2), page); !got.New {
		t.Error("a statement with a document that is no longer withheld: not new")
	}
	if r := l.fsck(t); r.Wrong != 0 || r.Proofs != 2 || r.Statements != 2 {
		t.Errorf("fsck: %+v", r)
	}
}

func TestErasedEvidenceStaysAway(t *testing.T) {
	f, a := newFab(), endorser.NewRegistrar("log", "Alliance", 3)
	p := f.policy()
	p.Registrars = append(p.Registrars, a.Policy())
	erasedStaysAway(t, f, a, initWith(t, p), func(dir string, list []poclog.Digest) {
		if n, err := log.Erase(t.Context(), dir, ""); n != len(list) || err != nil {
			t.Fatalf("erased: %d, %v", n, err)
		}
	})
}

func TestFrontEndKeepsNoErasedEvidence(t *testing.T) {
	t.Parallel()
	a := endorser.NewRegistrar("log", "Alliance", 3)
	l := newSharedLog(t, 1, func(p *poclog.Policy) { p.Registrars = append(p.Registrars, a.Policy()) })
	erasedStaysAway(t, l.fab, a, l.fronts[0].dir, func(_ string, list []poclog.Digest) {
		for _, d := range list {
			if err := os.Remove(l.s3.Path("tiles", "evidence", "sha256", d.String()[:2], d.String())); err != nil {
				t.Fatal(err)
			}
		}
	})
}
