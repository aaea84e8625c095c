package log_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/log/store/folder"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// stopped is a log of some entries that is no longer served.
func stopped(t *testing.T, n int) (l *testLog, subs []*poclog.Submission) {
	t.Helper()
	f := newFab()
	l = serve(t, f.initLog(t), logConfig())
	for i := range n {
		subs = append(subs, f.submission(t, uint64(i)))
		submit(t, l, subs[i])
	}
	if err := l.svc.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, subs
}

// harm writes other bytes, again and again, over a file of evidence, wherever it is kept.
func harm(t *testing.T, dir string, digest poclog.Digest, with string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "evidence", "*.evidence"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; bytes.Contains(b[at:], digest[:]); n++ { // the size is before it
			at += bytes.Index(b[at:], digest[:]) + len(digest)
			size := int(binary.BigEndian.Uint32(b[at-len(digest)-4:]))
			copy(b[at:at+size], strings.Repeat(with, size))
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatalf("evidence %s is not there", digest)
	}
}

// lose erases a file of evidence.
func lose(t *testing.T, dir string, digest poclog.Digest) {
	t.Helper()
	if n, err := folder.Erase(t.Context(), dir, map[poclog.Digest]bool{digest: true}); n == 0 || err != nil {
		t.Fatalf("%d copies are erased, %v", n, err)
	}
}

func TestFsckNamesWhatIsWrong(t *testing.T) {
	entries := func(dir string) string { return filepath.Join(dir, "tiles", "tile", "entries", "000.p", "4") }
	flip := func(t *testing.T, path string, at int) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[(at+len(b))%len(b)] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, want string
		finding    uint64 // the entry; 0: the tree is refused as a whole
		harm       func(t *testing.T, dir string, subs []*poclog.Submission)
	}{
		{"evidence changed", "has digest", 2, func(t *testing.T, dir string, subs []*poclog.Submission) {
			harm(t, dir, poclog.Sum(subs[1].Bundle), "x")
		}},
		{"evidence lost", "does not exist", 3, func(t *testing.T, dir string, subs []*poclog.Submission) {
			lose(t, dir, poclog.Sum(subs[2].Bundle))
		}},
		{"entry changed", "tree", 0, func(t *testing.T, dir string, _ []*poclog.Submission) { flip(t, entries(dir), -10) }},
		{"tile changed", "tree", 0, func(t *testing.T, dir string, _ []*poclog.Submission) {
			flip(t, filepath.Join(dir, "tiles", "tile", "0", "000.p", "4"), 0)
		}},
		{"checkpoint changed", "checkpoint", 0, func(t *testing.T, dir string, _ []*poclog.Submission) {
			flip(t, filepath.Join(dir, "tiles", "checkpoint"), 20)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, subs := stopped(t, 3)
			c.harm(t, l.dir, subs)
			r, err := log.Fsck(t.Context(), dirSource(t, l.dir), l.policy, profile.Appraise, nil)
			if c.finding == 0 {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v: want %q", err, c.want)
				}
				return
			}
			if err != nil || r.Wrong != 1 || len(r.Findings) != 1 || r.Findings[0].Entry != c.finding || !strings.Contains(r.Findings[0].Detail, c.want) {
				t.Errorf("%+v %v: want entry %d, %q", r, err, c.finding, c.want)
			}
		})
	}
}

// An entry that its evidence does not give is a finding, and so is one whose evidence is refused.
func TestFsckRecomputesEveryEntry(t *testing.T) {
	l, _ := stopped(t, 3)
	for _, c := range []struct {
		name, want string
		appraise   log.Appraiser
	}{
		{"another entry", "another entry", func(in profile.Input) (*verify.Appraisal, error) {
			a, err := profile.Appraise(in)
			if err == nil {
				a.Entry.Realm = poclog.Production
			}
			return a, err
		}},
		{"refused", "refused: tee.tcb: x", func(profile.Input) (*verify.Appraisal, error) { return nil, verify.Failf(verify.TEETCB, "x") }},
	} {
		var last uint64
		r, err := log.Fsck(t.Context(), dirSource(t, l.dir), l.policy, c.appraise, func(done, _ uint64) { last = done })
		if err != nil || r.Wrong != 3 || !strings.Contains(r.Findings[0].Detail, c.want) || last != 4 {
			t.Errorf("%s: %+v %v, progress %d", c.name, r, err, last)
		}
	}
}

// A log on the network that shows one tree to the check of the tree, and other entries to the
// appraiser.
func TestFsckJudgesTheEntriesThatAreInTheTree(t *testing.T) {
	l, _ := stopped(t, 3)
	var reads atomic.Int64
	files := http.FileServer(http.Dir(filepath.Join(l.dir, "tiles")))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/tile/entries/") || reads.Add(1) == 1 {
			files.ServeHTTP(w, r)
			return
		}
		// The config entry alone, four times.
		b, err := os.ReadFile(filepath.Join(l.dir, "tiles", filepath.FromSlash(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(bytes.Repeat(b[:2+int(binary.BigEndian.Uint16(b))], 4))
	}))
	defer srv.Close()
	evidence := dirSource(t, l.dir).Evidence
	src, err := log.URLSource(srv.URL, evidence)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Fsck(t.Context(), src, l.policy, profile.Appraise, nil); err == nil || !strings.Contains(err.Error(), "that were judged") {
		t.Errorf("%v: want a refusal of the entries that were judged", err)
	}
	if reads.Load() < 2 {
		t.Errorf("entries were read %d times", reads.Load())
	}
}

func TestFsckOfANetworkLogBoundsItsAnswers(t *testing.T) {
	l, _ := stopped(t, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for block := make([]byte, 1<<20); r.Context().Err() == nil; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	src, err := log.URLSource(srv.URL, func(context.Context, poclog.Blob) ([]byte, error) { return nil, os.ErrNotExist })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Fsck(t.Context(), src, l.policy, profile.Appraise, nil); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("an answer without an end: %v", err)
	}
}

// Damage in what is derived is one finding, which names the file and what helps. Evidence and entries
// are checked without it.
func TestFsckNamesDerivedDatabasesThatAreDamaged(t *testing.T) {
	for file, table := range map[string]string{"evidence.db": "places", "duplicates.db": "known"} {
		t.Run(file, func(t *testing.T) {
			l, subs := stopped(t, 3)
			path := filepath.Join(l.dir, "state", file)
			flush(t, path)
			damagePage(t, path, table)
			r := l.fsck(t)
			if r.Wrong != 1 || r.Proofs != 3 || !strings.Contains(r.Findings[0].Detail, path) || !strings.Contains(r.Findings[0].Detail, "remove this file while the log is stopped") {
				t.Fatalf("%+v", r)
			}
			lose(t, l.dir, poclog.Sum(subs[0].Bundle))
			lost := "bundle " + poclog.Sum(subs[0].Bundle).String()
			if r := l.fsck(t); !slices.ContainsFunc(r.Findings, func(f log.Finding) bool { return strings.Contains(f.Detail, lost) }) {
				t.Errorf("with evidence that is lost: %+v", r)
			}
			noError(t, sqlite.Remove(path))
			l = serve(t, l.dir, logConfig())
			if got := submit(t, l, subs[0]); got.New {
				t.Error("new")
			}
			if r := l.fsck(t); r.Wrong != 0 || r.Proofs != 3 {
				t.Errorf("after the remedy: %+v", r)
			}
		})
	}
}
