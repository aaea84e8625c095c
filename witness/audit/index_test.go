package audit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/tlogpolicy"
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

// Right index entries are cosigned, by an auditor that goes on, and by one whose map is lost or
// damaged.
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

// A log that hides an entry from its index is convicted by what it says of the chip itself.
func TestHiddenEntryIsExposed(t *testing.T) {
	l := newLab(t)
	a, dir := l.auditor(audit.Config{})
	l.good(3)
	l.publish()
	look(t, a)
	l.good(2)
	// The index that the log shows is of a history in which the last entry says nothing.
	hidden := l.size() - 1
	leaves := append(slices.Clone(l.log.Leaves[:hidden]), []byte("nothing"))
	m := must(indexmap.Open(filepath.Join(t.TempDir(), "index.db"), nil))
	defer m.Close()
	if err := m.Follow(t.Context(), 0, leaves); err != nil {
		t.Fatal(err)
	}
	size := l.size()
	signed := l.signed(size, l.start)
	entry := must((&poclog.IndexEntry{Algorithm: 1, Size: size, Checkpoint: poclog.Sum(signed), Root: must(m.Predict(size))}).Marshal())
	l.add(entry)
	if err := m.Follow(t.Context(), size, [][]byte{entry}); err != nil {
		t.Fatal(err)
	}
	head := l.signed(l.size(), l.start)
	l.dossier = func(names []string) []byte {
		r := poclog.Receipt{Entry: entry, Index: size, Inclusion: l.log.Inclusion(size, size+1, head)}
		d := poclog.Dossier{Index: must(r.Marshal()), Checkpoint: signed}
		d.Names, _, _ = m.Lookup(names, 0)
		return must(d.Marshal())
	}
	l.publish()
	err := a.Look(t.Context(), origin)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("leaves out entry %d", hidden)) {
		t.Fatalf("%v", err)
	}
	l.publish() // another checkpoint, and so other receipts: the file is kept once
	if err := a.Look(t.Context(), origin); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("leaves out entry %d", hidden)) {
		t.Fatalf("again: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "contradictions", "*.index-wrong.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	found, err := dossier.CheckIndexWrong(must(os.ReadFile(files[0])), must(tlogpolicy.Parse([]byte(l.text))))
	if err != nil || found.Entry != hidden || !found.Omitted || found.Number != size {
		t.Errorf("a stranger reads %+v, %v", found, err)
	}
}
