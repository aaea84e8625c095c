package client_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/client/clienttest"
	"github.com/poclog/poclog/verify/receipt"
)

func openStore(t testing.TB, dir string) *client.FileStore {
	t.Helper()
	s, err := client.NewFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFileStoreConforms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "checkpoints")
	clienttest.TestStore(t, func(t testing.TB) client.CheckpointStore { return openStore(t, dir) })
	left, err := filepath.Glob(filepath.Join(dir, ".poclog-unfinished-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

// An emptied file read as "nothing seen" would let a log begin another history.
func TestFileStoreRefusesWhatIsNoCheckpoint(t *testing.T) {
	for name, content := range map[string][]byte{"empty": {}, "too long": make([]byte, 1<<20)} {
		dir := t.TempDir()
		s := openStore(t, dir)
		if _, err := s.Replace(origin, nil, []byte("seen")); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.checkpoint"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v: want one file", files, err)
		}
		if err := os.WriteFile(files[0], content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load(origin); err == nil {
			t.Errorf("%s: read as %d bytes", name, len(got))
		}
		if ok, err := s.Replace(origin, nil, []byte("other")); err == nil || ok {
			t.Errorf("%s: replaced as if nothing had been seen", name)
		}
	}
}

func TestFileStoreKeepsNoEndlessEvidence(t *testing.T) {
	if name, err := openStore(t, t.TempDir()).Keep(origin, make([]byte, receipt.MaxSplitView+1)); err == nil {
		t.Errorf("kept as %s", name)
	}
}
