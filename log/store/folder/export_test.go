package folder

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/log/store"
)

// Fault has the system calls under evidence and guard fail.
func Fault(st *store.Store, f func(c durable.Call, made bool) error) {
	st.Evidence.(*evidence).files.Fault = f
	st.Guard.(*Register).Files.Fault = f
}

// Damage writes other bytes, again and again, over each copy of a file of evidence. Without any they
// are zeros.
func Damage(t *testing.T, dir string, d poclog.Digest, b []byte) {
	t.Helper()
	list, _, err := segments(filepath.Join(dir, dirEvidence))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range list {
		path := filepath.Join(dir, dirEvidence, s.name)
		all, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.walk(t.Context(), filepath.Dir(path), 0, func(r *record) error {
			if r.digest == d {
				n++
				copy(all[r.at:r.at+r.size], bytes.Repeat(append(b, make([]byte, 1)...), int(r.size)))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, all, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatalf("evidence %s is not there", d)
	}
}
