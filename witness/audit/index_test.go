package audit_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/witness/audit"
)

// index is the right index entry of the log's first entries.
func (l *lab) index(size uint64) []byte {
	l.t.Helper()
	m := must(indexmap.Open(filepath.Join(l.t.TempDir(), "index.db"), nil))
	defer m.Close()
	if err := m.Follow(l.t.Context(), 0, l.log.Leaves[:size]); err != nil {
		l.t.Fatal(err)
	}
	root := must(m.Predict(size))
	return must((&poclog.IndexEntry{Algorithm: 1, Size: size, Checkpoint: poclog.Sum(l.signed(size, l.start)), Root: root}).Marshal())
}

// indexEntry is the right index entry of all entries so far, changed.
func (l *lab) indexEntry(change func(*poclog.IndexEntry)) []byte {
	e := must(poclog.ParseLeaf(l.index(l.size()))).Index
	change(e)
	return must(e.Marshal())
}

// Right index entries are cosigned, by an auditor that goes on, and by one whose map is lost or damaged.
func TestIndexesAreRecomputed(t *testing.T) {
	l := newLab(t)
	a, dir := l.auditor(audit.Config{})
	for i, damage := range []func(path string) error{
		nil, os.Remove, func(path string) error { return os.WriteFile(path, make([]byte, 5000), 0o600) },
	} {
		if damage != nil {
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			maps, err := filepath.Glob(filepath.Join(dir, "index", "*.db"))
			if err != nil || len(maps) != 1 {
				t.Fatalf("%v, %v", maps, err)
			}
			if err := damage(maps[0]); err != nil {
				t.Fatal(err)
			}
			a = reopen(t, dir, audit.Config{})
		}
		l.good(3)
		l.add(l.index(l.size() - 1))
		l.good(2)
		l.add(l.index(l.size() - 4))
		l.publish()
		look(t, a)
		wantServed(t, a, l.size())
		if t.Failed() {
			t.Fatalf("round %d", i)
		}
	}
}
