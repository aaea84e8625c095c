package audit_test

import (
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/witness/audit"
)

// TestKilledAuditorsIndexGoesOn kills an auditor a hundred times while its log grows: at a number of
// read bundles that chance gives, which is anywhere between the first request and the cosignature.
// In the end its index is that of the log's entries, none missed and none twice.
func TestKilledAuditorsIndexGoesOn(t *testing.T) {
	const kills, each = 100, 5
	l := newLab(t)
	truth := must(indexmap.Open(filepath.Join(t.TempDir(), "truth.db"), nil))
	defer truth.Close()
	grow := func() {
		l.good(each)
		size := l.size()
		for _, add := range []bool{false, true} {
			if add {
				l.add(must((&poclog.IndexEntry{Algorithm: index.Algorithm, Size: size, Checkpoint: poclog.Sum(l.signed(size, l.start)), Root: must(truth.Predict(size))}).Marshal()))
			}
			next := truth.State().Next
			if err := truth.Follow(t.Context(), next, l.log.Leaves[next:]); err != nil {
				t.Fatal(err)
			}
		}
		l.publish()
	}
	grow()
	a, dir := l.auditor(audit.Config{})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	for range kills {
		read := len(l.bundleDigests())
		grow()
		cmd, url := startDaemon(t, dir)
		if r.IntN(3) == 0 { // late: while it signs, or after
			wait(t, "all was read", func() bool { return l.count(l.bundleDigests(), 1) == read+each })
			_, _ = http.Get(url + "/" + originHash() + "/checkpoint") // whatever it answers
		} else {
			more := r.IntN(each)
			wait(t, "some bundles were read", func() bool { return l.count(l.bundleDigests(), 1) >= read-each+more })
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
	}
	again := reopen(t, dir, audit.Config{})
	look(t, again)
	wantServed(t, again, l.size())
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	sameIndex(t, dir, truth, l.log.Leaves)
}

// sameIndex holds the index in an auditor's folder to another.
func sameIndex(t *testing.T, dir string, truth *indexmap.Map, leaves [][]byte) {
	t.Helper()
	files := must(filepath.Glob(filepath.Join(dir, "index", "*.db")))
	if len(files) != 1 {
		t.Fatalf("indexes: %v", files)
	}
	have := must(indexmap.Open(files[0], nil))
	defer have.Close()
	if have.State() != truth.State() {
		t.Errorf("the index is at %+v: want %+v", have.State(), truth.State())
	}
	names := make(map[string]bool)
	for _, leaf := range leaves {
		for _, n := range must(index.Names(leaf)) {
			names[n] = true
		}
	}
	for n := range names {
		if got, want := must(have.All(n)), must(truth.All(n)); !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s has numbers %v: want %v", n, got, want)
		}
	}
}
