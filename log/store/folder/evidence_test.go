package folder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
)

func openEvidence(dir string) *evidence {
	return newEvidence(filepath.Join(dir, "evidence"), filepath.Join(dir, "state", "evidence.db"), slog.New(slog.DiscardHandler))
}

// serving opens the evidence of a folder as a process that serves it.
func serving(t *testing.T, dir string) *evidence {
	t.Helper()
	s := openEvidence(dir)
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeEvidence(t, s) })
	return s
}

func closeEvidence(t *testing.T, s *evidence) {
	t.Helper()
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func mustPut(t *testing.T, s *evidence, b []byte) {
	t.Helper()
	if _, err := s.Put(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// has reports whether a file is there, and right.
func has(t *testing.T, s *evidence, b []byte) bool {
	t.Helper()
	got, err := s.Get(t.Context(), poclog.Sum(b))
	if err == nil && !bytes.Equal(got, b) {
		t.Fatalf("evidence %q is %q", b, got)
	}
	return err == nil
}

// file is the i-th of a test, of one length each.
func file(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "evidence %04d ", i), 20) }

func segmentFiles(t *testing.T, dir string) (paths []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "evidence", "*.evidence"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func copyFolder(t *testing.T, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestEvidenceKeepsWhatItWasGiven(t *testing.T) {
	dir := t.TempDir()
	s := serving(t, dir)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if b := file(i % 20); true {
				if _, err := s.Put(t.Context(), b); err != nil || !has(t, s, b) {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := s.Get(t.Context(), poclog.Sum(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	if n := copies(t, dir); n != 20 {
		t.Errorf("%d files are kept: want each of 20 once", n)
	}
	// A file that was written since it was looked for is not written again, unless that is the bad one.
	at, _, err := s.places.find(t.Context(), poclog.Sum(file(0)))
	if err != nil || s.append(poclog.Sum(file(0)), file(0), place{}) != nil || copies(t, dir) != 20 {
		t.Errorf("%d files are kept, %v: want no more", copies(t, dir), err)
	}
	if err := s.append(poclog.Sum(file(0)), file(0), at); err != nil || copies(t, dir) != 21 {
		t.Errorf("%d files are kept, %v: want one more", copies(t, dir), err)
	}
}

// copies counts the files that are kept.
func copies(t *testing.T, dir string) (n int) {
	t.Helper()
	if err := EachEvidence(t.Context(), dir, func([]byte) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// All that wait while the disk is busy are written with one write and one fsync.
func TestEvidenceOfManyIsSyncedOnce(t *testing.T) {
	s := serving(t, t.TempDir())
	mustPut(t, s, file(0)) // the segment is there
	var syncs atomic.Int64
	first, release := make(chan struct{}), make(chan struct{})
	s.files.Fault = func(c durable.Call, made bool) error {
		if c.Op == durable.OpSync && !made && syncs.Add(1) == 1 {
			close(first)
			<-release
		}
		return nil
	}
	var wg sync.WaitGroup
	put := func(i int) { wg.Go(func() { mustPut(t, s, file(i)) }) }
	put(1)
	<-first
	for i := 2; i < 102; i++ {
		put(i)
	}
	for {
		s.mu.Lock()
		n := len(s.queue)
		s.mu.Unlock()
		if n == 100 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if has(t, s, file(1)) {
		t.Error("a file is found before it is synced")
	}
	close(release)
	wg.Wait()
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d times synced: want 2", n)
	}
}

func TestEvidenceRepairsADamagedFileAndNeverServesOne(t *testing.T) {
	for _, other := range []string{"in one process", "in another", "without the list"} {
		dir := t.TempDir()
		s := serving(t, dir)
		mustPut(t, s, file(1))
		Damage(t, dir, poclog.Sum(file(1)), []byte("x"))
		if has(t, s, file(1)) {
			t.Fatal("a damaged file is served")
		}
		if other != "in one process" {
			closeEvidence(t, s)
			if other == "without the list" {
				if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
					t.Fatal(err)
				}
			}
			s = serving(t, dir)
		}
		mustPut(t, s, file(1))
		if !has(t, s, file(1)) {
			t.Errorf("%s: it was put again, and is not there", other)
		}
		if reader := openEvidence(dir); !has(t, reader, file(1)) {
			t.Errorf("%s: another process does not find it", other)
		} else {
			closeEvidence(t, reader)
		}
	}
}

// A segment that ends anywhere, or of which any byte is another, loses what that touches, and
// nothing else.
func TestEvidenceLosesOnlyWhatIsDamaged(t *testing.T) {
	dir := t.TempDir()
	s := serving(t, dir)
	for i := range 3 {
		mustPut(t, s, file(i))
	}
	whole, err := os.ReadFile(segmentFiles(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	each := len(whole) / 3
	look := func(b []byte, lost func(i int) bool, what string) {
		t.Helper()
		dir := copyFolder(t, dir)
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, "state")), os.WriteFile(segmentFiles(t, dir)[0], b, 0o644)); err != nil {
			t.Fatal(err)
		}
		found := make(map[poclog.Digest]bool)
		if err := EachEvidence(t.Context(), dir, func(b []byte) error { found[poclog.Sum(b)] = true; return nil }); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if !found[poclog.Sum(file(i))] && !lost(i) {
				t.Fatalf("%s: file %d is lost", what, i)
			}
			delete(found, poclog.Sum(file(i)))
		}
		if len(found) > 0 {
			t.Fatalf("%s: there are files that nobody put", what)
		}
	}
	for n := range whole {
		if n%each == 0 || n%each == 1 || n%7 == 0 {
			look(whole[:n], func(i int) bool { return (i+1)*each > n }, fmt.Sprintf("ends after %d bytes", n))
		}
	}
	for n := range whole {
		if n%each < headerSize || n%7 == 0 {
			b := bytes.Clone(whole)
			b[n] ^= 1 << (n % 8)
			look(b, func(i int) bool { return n/each == i }, fmt.Sprintf("byte %d is another", n))
		}
	}
}

// What a Put said that it kept is there when the power fails after any call, whether the bytes that
// were not synced are missing then or others. Each fsync is needed for that.
func TestPowerLossLosesNoEvidence(t *testing.T) {
	lost, syncs := power(t, -1)
	if lost != "" {
		t.Error(lost)
	}
	if len(syncs) < 8 {
		t.Errorf("%d times synced", len(syncs))
	}
	for i, call := range syncs {
		if lost, _ := power(t, i); lost == "" && !strings.Contains(call.Path, "unfinished") { // that one is empty
			t.Errorf("without fsync %d nothing is lost: %v", i, call)
		}
	}
}

// power puts files, each into a segment of its own, with fsync number skip left out. The first is
// there already, and was never synced: its process was killed. It returns what a loss of power takes.
func power(t *testing.T, skip int) (lost string, syncs []durable.Call) {
	t.Helper()
	dir := t.TempDir()
	if err := Make(dir); err != nil {
		t.Fatal(err)
	}
	left := newSegment(0)
	if err := os.WriteFile(filepath.Join(dir, "evidence", left.name), left.appendTo(nil, poclog.Sum(file(0)), file(0)), 0o644); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards what follows
	kept := 0         // files that were acknowledged
	bytesOf, names := make(map[string][]byte), make(map[string]bool)
	look := func(call durable.Call) {
		for _, more := range []func(n int) []byte{func(int) []byte { return nil }, func(n int) []byte { return bytes.Repeat([]byte("x"), n) }} {
			if lost != "" {
				return
			}
			there := t.TempDir()
			if err := Make(there); err != nil {
				t.Fatal(err)
			}
			for name := range names {
				now, err := os.ReadFile(filepath.Join(dir, "evidence", name))
				if err == nil {
					b := bytesOf[name]
					err = os.WriteFile(filepath.Join(there, "evidence", name), append(bytes.Clone(b), more(max(0, len(now)-len(b)))...), 0o644)
				}
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			}
			found := make(map[poclog.Digest]bool)
			if err := EachEvidence(t.Context(), there, func(b []byte) error { found[poclog.Sum(b)] = true; return nil }); err != nil {
				t.Fatal(err)
			}
			for i := range kept {
				if !found[poclog.Sum(file(i))] && lost == "" {
					lost = fmt.Sprintf("file %d is lost after %v", i, call)
				}
			}
		}
	}
	s := openEvidence(dir)
	s.limit = 1
	s.files.Fault = func(call durable.Call, made bool) error {
		mu.Lock()
		defer mu.Unlock()
		if !made || !strings.HasPrefix(call.Path, s.dir) {
			return nil
		}
		if call.Op == durable.OpSync || call.Op == durable.OpSyncDir {
			if syncs = append(syncs, call); len(syncs)-1 == skip {
				look(call)
				return nil
			}
		}
		switch call.Op {
		case durable.OpSync:
			b, err := os.ReadFile(call.Path)
			if err != nil {
				t.Error(err)
			}
			bytesOf[filepath.Base(call.Path)] = b
		case durable.OpLink:
			bytesOf[filepath.Base(call.To)] = bytesOf[filepath.Base(call.Path)]
		case durable.OpSyncDir:
			clear(names)
			list, _, err := segments(s.dir)
			if err != nil {
				t.Error(err)
			}
			for _, seg := range list {
				names[seg.name] = true
			}
		}
		look(call)
		return nil
	}
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		mustPut(t, s, file(i))
		mu.Lock()
		kept = i + 1
		look(durable.Call{Path: "the end"})
		mu.Unlock()
	}
	closeEvidence(t, s)
	return lost, syncs
}

// After any failure the next Put works, in another segment, and what was kept before is there.
func TestASegmentThatCouldNotBeWrittenIsLeft(t *testing.T) {
	for _, op := range []durable.Op{durable.OpWrite, durable.OpSync} {
		for _, also := range []durable.Op{"", durable.OpTruncate} {
			dir := t.TempDir()
			s := serving(t, dir)
			mustPut(t, s, file(0))
			s.files.Fault = func(c durable.Call, made bool) error {
				if (c.Op == op || c.Op == also) && made == (op == durable.OpSync) {
					return errors.New("input/output error")
				}
				return nil
			}
			if _, err := s.Put(t.Context(), file(1)); err == nil {
				t.Fatalf("%s fails: kept", op)
			}
			s.files.Fault = nil
			if has(t, s, file(1)) {
				t.Errorf("%s fails: what was not kept is found", op)
			}
			mustPut(t, s, file(1))
			mustPut(t, s, file(2))
			if n := len(segmentFiles(t, dir)); n != 2 {
				t.Errorf("%s fails: %d segments", op, n)
			}
			for i := range 3 {
				if other := serving(t, copyFolder(t, dir)); !has(t, s, file(i)) || !has(t, other, file(i)) {
					t.Errorf("%s fails: file %d is lost", op, i)
				}
			}
		}
	}
}

// Other processes find what the serving one appends, also where the list is gone, damaged, of other
// segments or cannot be read, and leave nothing behind.
func TestOthersFindEvidenceAtOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	index := func(dir string) string { return filepath.Join(dir, "state", "evidence.db") }
	for name, harm := range map[string]func(dir string) error{
		"whole":   func(string) error { return nil },
		"gone":    func(dir string) error { return os.RemoveAll(filepath.Join(dir, "state")) },
		"damaged": func(dir string) error { return os.WriteFile(index(dir), bytes.Repeat([]byte("x"), 8192), 0o600) },
		"of other segments": func(dir string) error {
			name := segmentFiles(t, dir)[0]
			return errors.Join(os.Truncate(name, 100), os.Rename(name, name+"x"), os.WriteFile(name, nil, 0o644))
		},
		"a folder": func(dir string) error { return errors.Join(os.Remove(index(dir)), os.Mkdir(index(dir), 0o700)) },
	} {
		dir := t.TempDir()
		s := serving(t, dir)
		mustPut(t, s, file(1))
		closeEvidence(t, s)
		if err := harm(dir); err != nil {
			t.Fatal(err)
		}
		want := name != "of other segments"
		reader := openEvidence(dir)
		if got := has(t, reader, file(1)); got != want {
			t.Errorf("%s: another process finds it: %v", name, got)
		}
		if has(t, reader, file(2)) {
			t.Error("a file is there that nobody put")
		}
		if name != "a folder" {
			s = serving(t, dir)
			mustPut(t, s, file(2))
			if !has(t, reader, file(2)) || has(t, s, file(1)) != want {
				t.Errorf("%s: the serving process, or the other, does not find it", name)
			}
		}
		closeEvidence(t, reader)
		closeEvidence(t, s)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// The list of places is made anew while the log is served, and nothing is called missing meanwhile.
func TestADamagedListIsMadeAnewWhileTheLogIsServed(t *testing.T) {
	dir := t.TempDir()
	s := serving(t, dir)
	for i := range 50 {
		mustPut(t, s, file(i))
	}
	s.places.turn()
	s.places.mu.Lock()
	s.places.damaged = true
	s.places.mu.Unlock()
	done := make(chan struct{})
	go func() { s.places.turn(); close(done) }()
	for i := 0; ; i++ {
		if _, err := s.Get(t.Context(), poclog.Sum(file(i%50))); errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("while the list is made anew file %d is missing: %v", i%50, err)
		}
		if _, err := s.Put(t.Context(), file(i%50)); err != nil && !errors.Is(err, errMaking) {
			t.Fatal(err)
		}
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	mustPut(t, s, file(50))
	s.places.turn()
	closeEvidence(t, s)
	if s = serving(t, dir); len(s.places.fresh) > 0 {
		t.Errorf("%d places are read again at a start", len(s.places.fresh))
	}
	for i := range 51 {
		if !has(t, s, file(i)) {
			t.Errorf("file %d is lost", i)
		}
	}
}

// What is appended while an earlier part of its segment is still being read does not stand for that
// part.
func TestAPartThatWasNotReadIsReadLater(t *testing.T) {
	p := newPlaces("", "", nil)
	for _, c := range []struct{ from, end, want int64 }{{100, 200, 0}, {0, 50, 50}, {100, 300, 50}, {50, 100, 100}, {100, 400, 400}} {
		if p.add("a", c.from, c.end, nil); p.ends["a"] != c.want || p.moved["a"] != c.want {
			t.Errorf("from %d to %d: known up to %d, to be written up to %d: want %d", c.from, c.end, p.ends["a"], p.moved["a"], c.want)
		}
	}
}

// A copy whose segments are older than its list finds what it has, and keeps the rest anew.
func TestAListThatIsNewerThanItsSegments(t *testing.T) {
	dir := t.TempDir()
	s := serving(t, dir)
	mustPut(t, s, file(1))
	mustPut(t, s, file(2))
	closeEvidence(t, s)
	path := segmentFiles(t, dir)[0]
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
	s = serving(t, dir)
	if is, err := s.Has(t.Context(), poclog.BlobOf(file(2))); is || err != nil || !has(t, s, file(1)) {
		t.Errorf("has what is not there: %v %v", is, err)
	}
	mustPut(t, s, file(2))
	if !has(t, s, file(2)) {
		t.Error("what was put again is not there")
	}
}

func TestEvidenceIsRefusedWhereTheListIsFarBehind(t *testing.T) {
	s := openEvidence(t.TempDir())
	s.places.pause = time.Hour
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	defer closeEvidence(t, s)
	s.places.mu.Lock()
	for i := range maxPlaces {
		s.places.fresh[poclog.Sum(fmt.Append(nil, i))] = place{}
	}
	s.places.mu.Unlock()
	if _, err := s.Put(t.Context(), file(1)); err == nil || !strings.Contains(err.Error(), "is behind") {
		t.Errorf("%v: want a refusal", err)
	}
	s.places.mu.Lock()
	clear(s.places.fresh)
	s.places.mu.Unlock()
	mustPut(t, s, file(1))
}

func TestEvidenceForgetsWhatItKnowsRatherThanGrow(t *testing.T) {
	s := openEvidence(t.TempDir())
	for i := range maxIntact + 1 {
		s.setIntact(poclog.Sum(fmt.Append(nil, i)))
	}
	if len(s.intact) > maxIntact {
		t.Errorf("%d digests", len(s.intact))
	}
}

func TestEvidenceSweepsWhatAKilledProcessLeft(t *testing.T) {
	dir := t.TempDir()
	serving(t, dir)
	left := filepath.Join(dir, "evidence", ".poclog-unfinished-123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	serving(t, dir)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// No byte of what is erased is left: of no copy, damaged or unfinished.
func TestErasedEvidenceIsGone(t *testing.T) {
	dir := t.TempDir()
	s := serving(t, dir)
	mustPut(t, s, file(0))
	mustPut(t, s, file(1))
	Damage(t, dir, poclog.Sum(file(1)), file(1)[:len(file(1))-1])
	has(t, s, file(1))
	mustPut(t, s, file(1))
	mustPut(t, s, file(2))
	closeEvidence(t, s)
	seg := newSegment(7) // a process was killed while it wrote
	half := seg.appendTo(seg.appendTo(nil, poclog.Sum(file(3)), file(3)), poclog.Sum(file(1)), file(1))
	if err := os.WriteFile(filepath.Join(dir, "evidence", seg.name), half[:len(half)-5], 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := Erase(t.Context(), dir, map[poclog.Digest]bool{poclog.Sum(file(1)): true}); n != 3 || err != nil {
		t.Errorf("%d copies, %v: want 3", n, err)
	}
	for _, path := range segmentFiles(t, dir) {
		if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, file(1)[:20]) {
			t.Errorf("%s has some of it: %v", path, err)
		}
	}
	s = serving(t, dir)
	if _, err := s.Get(t.Context(), poclog.Sum(file(1))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was erased: %v", err)
	}
	for _, i := range []int{0, 2, 3} {
		if !has(t, s, file(i)) {
			t.Errorf("file %d is lost", i)
		}
	}
	closeEvidence(t, s)
	if n, err := Erase(t.Context(), dir, map[poclog.Digest]bool{poclog.Sum(file(1)): true}); n != 0 || err != nil {
		t.Errorf("erased again: %d copies, %v", n, err)
	}
}

// The test binary puts evidence until it is killed when this names a folder.
const envPut = "POCLOG_TEST_PUT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envPut); dir != "" {
		fmt.Fprintln(os.Stderr, putForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// putForever puts evidence from several goroutines, with small segments and a list that is written
// all the time, and prints the digest of each file that was kept.
func putForever(dir string) error {
	s := openEvidence(dir)
	s.limit, s.places.pause = 4096, time.Millisecond
	if err := s.prepare(); err != nil {
		return err
	}
	failed := make(chan error)
	for range 8 {
		go func() {
			for {
				b := bytes.Repeat(fmt.Appendf(nil, "%d ", rand.Uint64()), 1+rand.IntN(100))
				if _, err := s.Put(context.Background(), b); err != nil {
					failed <- err
					return
				}
				fmt.Printf("%s\n", poclog.Sum(b))
			}
		}()
	}
	return <-failed
}

// A process is killed again and again: while it appends, begins segments, writes the list, and while
// it starts. What it kept is there, for who serves next and for who only reads.
func TestKilledProcessLosesNoEvidence(t *testing.T) {
	dir := t.TempDir()
	n, err := strconv.Atoi(os.Getenv("POCLOG_KILLS"))
	if err != nil {
		n = 40
	}
	var kept []poclog.Digest
	for i := range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envPut+"="+dir)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := func() *time.Timer {
			return time.AfterFunc(time.Duration(rand.IntN(100))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		}
		var killed *time.Timer
		if i%4 == 0 {
			killed = kill() // it may be starting
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if killed == nil {
				killed = kill()
			}
			if b, err := hex.DecodeString(lines.Text()); err == nil && len(b) == 32 { // the last may be cut
				kept = append(kept, poclog.Digest(b))
			}
		}
		_ = cmd.Wait() // it was killed
		if killed == nil || killed.Stop() {
			t.Fatalf("it ended by itself: %s", said.String())
		}
	}
	if len(kept) < 10*n {
		t.Fatalf("%d files in %d lives: too few to show anything", len(kept), n)
	}
	reader, server := openEvidence(dir), serving(t, copyFolder(t, dir))
	defer closeEvidence(t, reader)
	for _, d := range kept {
		for _, s := range []*evidence{reader, server} {
			if _, err := s.Get(t.Context(), d); err != nil {
				t.Fatalf("evidence that was kept: %v", err)
			}
		}
	}
	t.Logf("%d files in %d segments, killed %d times", len(kept), len(segmentFiles(t, dir)), n)
}
