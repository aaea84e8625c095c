package folder

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/poclog/poclog"
)

func newTestEvidence(t *testing.T) *evidence {
	t.Helper()
	s := newEvidence(t.TempDir())
	if err := s.sweep(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEvidenceKeepsWhatItWasGiven(t *testing.T) {
	s := newTestEvidence(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			b := fmt.Appendf(nil, "evidence %d", i%20)
			blob, err := s.Put(t.Context(), b)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := s.Get(t.Context(), blob.SHA256); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%q: %v", got, err)
			}
		})
	}
	wg.Wait()
	if left, err := os.ReadDir(s.files.Temp); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if _, err := s.Get(t.Context(), poclog.Sum(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestEvidenceRepairsADamagedFileAndNeverServesOne(t *testing.T) {
	b := []byte("evidence")
	for _, damaged := range []string{"", "evid", "evidences", "evidenca"} {
		s := newTestEvidence(t)
		blob, err := s.Put(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(blob.SHA256), []byte(damaged), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), blob.SHA256); err == nil {
			t.Errorf("a file of %q is served", damaged)
		}
		s = newEvidence(s.dir) // another process
		if err := s.sweep(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), blob.SHA256); err != nil || !bytes.Equal(got, b) {
			t.Errorf("after %q: %q %v", damaged, got, err)
		}
	}
}

func TestEvidenceSweepsWhatAKilledProcessLeft(t *testing.T) {
	s := newTestEvidence(t)
	left := filepath.Join(s.files.Temp, ".poclog-unfinished-123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestEvidenceForgetsWhatItKnowsRatherThanGrow(t *testing.T) {
	s := newTestEvidence(t)
	for i := range maxDurable + 1 {
		s.setDurable(poclog.Sum(fmt.Append(nil, i)))
	}
	if len(s.durable) > maxDurable {
		t.Errorf("%d digests", len(s.durable))
	}
}
