package attest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/verify/receipt"
)

// died is how a process ends in these tests: nothing after it runs.
type died struct{}

// A life is a publisher's over many processes: its folder, its clock, and a log that knows what it
// has.
type life struct {
	t       *testing.T
	dir     string
	now     time.Time
	end     time.Time
	key     poclog.Digest
	entries []string       // bundles, as the log has them
	made    map[string]int // which challenge a bundle answers
	down    func(now time.Time) bool
	refuse  func(bundle string) bool
	maxAge  time.Duration // of a bundle's challenge; 0: any
	calls   int
	dieAt   int // the call at which the process dies; 0: never
	keep    int
	disk    bool // it may die at the calls by which files are kept, too
	events  []Event
}

const lifeEvery = 10 * time.Minute

func newLife(t *testing.T, windows int) *life {
	t.Helper()
	l := &life{t: t, dir: t.TempDir(), now: time.Date(2026, 6, 1, 12, 3, 7, 0, time.UTC), made: make(map[string]int)}
	l.end = l.now.Add(time.Duration(windows) * lifeEvery)
	return l
}

// seam is a point at which the process may die.
func (l *life) seam() {
	if l.calls++; l.calls == l.dieAt {
		panic(died{})
	}
}

// Submit is the log's: what it has it answers with the same receipt.
func (l *life) Submit(_ context.Context, s *poclog.Submission) (*client.Submitted, error) {
	l.seam()
	b := string(s.Bundle)
	at := slices.Index(l.entries, b)
	switch {
	case l.down != nil && l.down(l.now):
		return nil, &client.Problem{Status: http.StatusServiceUnavailable}
	case at >= 0:
	case l.refuse != nil && l.refuse(b), l.maxAge > 0 && l.now.Sub(time.Unix(int64(l.made[b]), 0)) > l.maxAge:
		return nil, &client.Problem{Status: http.StatusUnprocessableEntity, Check: "fresh.challenge", Detail: "too old"}
	default:
		l.entries = append(l.entries, b)
	}
	l.seam()
	file := fmt.Appendf(nil, "receipt of %s", b)
	return &client.Submitted{Receipt: file, New: at < 0, Verdict: &receipt.Verdict{}}, nil
}

func (l *life) make(_ context.Context, key poclog.Digest) ([]byte, error) {
	l.seam()
	if l.down != nil && l.down(l.now) {
		return nil, &client.Problem{Status: http.StatusServiceUnavailable} // where challenges come from
	}
	b := fmt.Sprintf("evidence %d for %x", len(l.made), key[:4])
	l.made[b] = int(l.now.Unix())
	l.seam()
	return []byte(b), nil
}

// live runs one process until it dies or the time is over.
func (l *life) live(ctx context.Context) (err error, dead bool) {
	l.t.Helper()
	open := false // deaths while it opens are those of TestKilledAtEveryDurableStepNoWindowIsDoubledOrLost (cmd/poclog)
	st, err := openState(durable.FS{Fault: func(durable.Call, bool) error {
		if open && l.disk {
			l.seam()
		}
		return nil
	}}, l.dir, "https://log.test")
	if err != nil {
		l.t.Fatal(err)
	}
	open = true
	defer func() {
		if err := st.Close(); err != nil { // as the lock of a process that ends
			l.t.Error(err)
		}
		if r := recover(); r != nil {
			if _, ok := r.(died); !ok {
				panic(r)
			}
			dead = true
		}
	}()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &Series{
		State: st, Log: l, Every: lifeEvery, Keep: l.keep, Make: l.make, Now: func() time.Time { return l.now },
		UserData: func() (poclog.Digest, error) { l.seam(); return l.key, nil },
		Tell:     func(e Event) { l.seam(); l.events = append(l.events, e) },
		Wait: func(ctx context.Context, d time.Duration) error {
			l.seam()
			if l.now = l.now.Add(d); !l.now.Before(l.end) {
				stop()
			}
			return ctx.Err()
		},
	}
	return s.Run(ctx), false
}

func (l *life) files(pattern string) []string {
	l.t.Helper()
	list, err := filepath.Glob(filepath.Join(l.dir, pattern))
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// check holds that every entry of the log has its receipt, that no window has two, and returns the
// windows.
func (l *life) check() (windows []time.Time) {
	l.t.Helper()
	receipts := l.files("2*.tlog-proof")
	if len(receipts) != len(l.entries) {
		l.t.Errorf("%d receipts for %d entries", len(receipts), len(l.entries))
	}
	for _, path := range receipts {
		w, ok := windowOf(strings.TrimSuffix(filepath.Base(path), receiptSuffix))
		b, err := os.ReadFile(path)
		if !ok || err != nil || !slices.Contains(l.entries, strings.TrimPrefix(string(b), "receipt of ")) {
			l.t.Errorf("%s: %q: %v", path, b, err)
		}
		if slices.ContainsFunc(windows, w.Equal) {
			l.t.Errorf("window %s has two", w)
		}
		windows = append(windows, w)
	}
	if left := append(l.files("*.bundle.json"), l.files(".poclog-unfinished-*")...); len(left) > 0 && filepath.Base(left[0]) != refusedFile {
		l.t.Errorf("left over: %v", left)
	}
	return windows
}

// Wherever a process dies, the next one finishes what was begun: each window has one proof.
func TestNoWindowIsDoubledOrLostWhereverTheProcessDies(t *testing.T) { diesEverywhere(t, 4, false) }

// So it is where it dies before or after a call by which a file is kept.
func TestNoWindowIsDoubledOrLostWhereverAFileIsKept(t *testing.T) { diesEverywhere(t, 1, true) }

func diesEverywhere(t *testing.T, n int, disk bool) {
	for dieAt, dead := 1, true; dead; dieAt++ {
		l := newLife(t, n)
		l.dieAt, l.disk = dieAt, disk
		if _, dead = l.live(t.Context()); dead {
			if err, again := l.live(t.Context()); err != nil || again {
				t.Fatalf("after the death at call %d: %v", dieAt, err)
			}
		} else if dieAt < 20 {
			t.Fatalf("a life of %d calls: want more", l.calls)
		}
		windows := l.check()
		for i := range windows {
			if i > 0 && windows[i].Sub(windows[i-1]) != lifeEvery {
				t.Errorf("death at call %d: windows %v", dieAt, windows)
			}
		}
		if len(windows) < n || len(windows) > n+1 {
			t.Errorf("death at call %d: %d windows", dieAt, len(windows))
		}
	}
}

// Dying again and again, also in what follows a death, changes nothing.
func TestNoWindowIsDoubledOrLostHoweverOftenTheProcessDies(t *testing.T) {
	for step := 1; step <= 11; step++ {
		l := newLife(t, 4)
		for deaths := 0; ; deaths++ {
			l.dieAt = l.calls + step + deaths%7
			err, dead := l.live(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !dead {
				break
			}
			if deaths > 500 {
				l.now = l.now.Add(lifeEvery) // lives this short get nowhere
				l.dieAt = 0
			}
			if deaths > 1000 {
				t.Fatal("no life gets anywhere")
			}
		}
		l.check()
	}
}

// While the log is out of reach nothing is lost but the windows of that time, which are counted;
// what was begun before goes on, or is made anew where it has grown too old.
func TestOutagesAreSurvived(t *testing.T) {
	for name, maxAge := range map[string]time.Duration{"begun evidence is still fresh": 0, "begun evidence is too old": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t, 10)
			l.maxAge = maxAge
			from, to := l.now.Add(25*time.Minute), l.now.Add(58*time.Minute)
			l.down = func(now time.Time) bool { return now.After(from) && now.Before(to) }
			if err, dead := l.live(t.Context()); err != nil || dead {
				t.Fatal(err)
			}
			windows := l.check()
			missed, failures := 0, 0
			for _, e := range l.events {
				missed += e.Missed
				if e.Err != nil && e.Receipt == "" {
					failures++
				}
			}
			span := int(windows[len(windows)-1].Sub(windows[0])/lifeEvery) + 1
			if missed == 0 || len(windows)+missed != span {
				t.Errorf("%d windows and %d missed of %d", len(windows), missed, span)
			}
			if failures < 5 || failures > 60 {
				t.Errorf("%d failures told in half an hour: want a backoff to once a minute", failures)
			}
		})
	}
}

// A bundle that was kept, and sent or not, before an outage that outlives it and the process.
func TestBegunEvidenceThatGrewTooOldIsMadeAnew(t *testing.T) {
	l := newLife(t, 3)
	l.maxAge, l.dieAt = 5*time.Minute, 4 // UserData, Make twice, and in Submit before the log has it
	if _, dead := l.live(t.Context()); !dead || len(l.files("*.bundle.json")) != 1 {
		t.Fatalf("files %v", l.files("*"))
	}
	l.now = l.now.Add(6 * time.Minute)
	if err, dead := l.live(t.Context()); err != nil || dead {
		t.Fatal(err)
	}
	l.check()
	if len(l.files(refusedFile)) != 1 || len(l.made) != len(l.entries)+1 {
		t.Errorf("files %v, %d made, %d logged", l.files("*"), len(l.made), len(l.entries))
	}
}

func TestRefusalsEndAStartAndNotAService(t *testing.T) {
	l := newLife(t, 6)
	l.refuse = func(string) bool { return true }
	err, _ := l.live(t.Context())
	if err == nil || client.StatusOf(err) != http.StatusUnprocessableEntity {
		t.Errorf("at the start: %v", err)
	}
	l = newLife(t, 6)
	l.refuse = func(b string) bool { return !strings.HasPrefix(b, "evidence 0") && !strings.HasPrefix(b, "evidence 5") }
	if err, _ := l.live(t.Context()); err != nil {
		t.Errorf("later: %v", err)
	}
	if windows := l.check(); len(windows) != 2 || len(l.made) != 7 {
		t.Errorf("%d windows of %d attempts: want one attempt a window", len(windows), len(l.made))
	}
}

func TestAMissingPieceEndsAStart(t *testing.T) {
	l := newLife(t, 2)
	st, err := OpenState(l.dir, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	missing := &MissingError{PieceTPM, errors.New("no TPM"), "buy one"}
	s := &Series{
		State: st, Log: l, Every: time.Minute, UserData: func() (poclog.Digest, error) { return l.key, nil }, Tell: func(Event) {},
		Make: func(context.Context, poclog.Digest) ([]byte, error) { return nil, missing },
	}
	if err := s.Run(t.Context()); !errors.Is(err, missing) {
		t.Errorf("%v", err)
	}
	for _, every := range []time.Duration{0, -time.Minute, time.Second + 1, time.Millisecond} {
		s.Every = every
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "whole seconds") {
			t.Errorf("every %s: %v", every, err)
		}
	}
}

// A new key gets its proof in the window in which the process sees it.
func TestANewKeyHasAProofOfItsOwn(t *testing.T) {
	l := newLife(t, 1)
	if err, _ := l.live(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(l.entries)
	l.key, l.now = poclog.Sum([]byte("another key")), l.now.Add(-lifeEvery)
	if err, _ := l.live(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.entries) <= before || len(l.files("*-"+fmt.Sprintf("%x", l.key[:4])+receiptSuffix)) == 0 {
		t.Errorf("%d entries, files %v", len(l.entries), l.files("*"))
	}
}

func TestOldReceiptsArePruned(t *testing.T) {
	l := newLife(t, 9)
	l.keep = 3
	if err, _ := l.live(t.Context()); err != nil {
		t.Fatal(err)
	}
	receipts := l.files("2*.tlog-proof")
	latest, err := os.ReadFile(filepath.Join(l.dir, latestFile))
	if err != nil || len(receipts) != 3 {
		t.Fatalf("%v: %v", receipts, err)
	}
	newest, err := os.ReadFile(receipts[2])
	if err != nil || string(newest) != string(latest) || string(latest) != "receipt of "+l.entries[len(l.entries)-1] {
		t.Errorf("newest %q, latest %q: %v", newest, latest, err)
	}
}

func TestPublishersSpreadOverTheWindow(t *testing.T) {
	starts := make(map[int64]bool)
	for range 8 {
		st, err := OpenState(t.TempDir(), "x")
		if err != nil {
			t.Fatal(err)
		}
		s := &Series{State: st, Every: 24 * time.Hour}
		now := time.Now()
		w := s.window(now)
		if w.After(now) || !now.Before(w.Add(s.Every)) || !s.window(w).Equal(w) || !s.window(w.Add(s.Every-1)).Equal(w) {
			t.Errorf("window %s of %s", w, now)
		}
		starts[w.Unix()%86400] = true
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(starts) < 5 {
		t.Errorf("%d starts of 8 publishers", len(starts))
	}
}

func TestStateIsHeldToItsLogAndItsProcess(t *testing.T) {
	dir := t.TempDir()
	st, err := OpenState(dir, "https://a.test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenState(dir, "https://a.test"); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second process: %v", err)
	}
	seed := st.seed
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenState(dir, "https://b.test"); !errors.Is(err, ErrOtherLog) {
		t.Errorf("another log: %v", err)
	}
	if st, err = OpenState(dir, "https://a.test"); err != nil || st.seed != seed {
		t.Fatalf("seed %d, was %d: %v", st.seed, seed, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{}", `{"v":2,"log":"https://a.test","seed":1}`, `{"v":1,"log":"https://a.test","seed":1,"more":1}`, strings.Repeat(" ", 5000)} {
		if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenState(dir, "https://a.test"); err == nil {
			t.Errorf("%.40q is taken for a state", bad)
		}
	}
}

// What a process left between two steps of keeping a receipt is finished by the next.
func TestHalfKeptReceiptsAreFinished(t *testing.T) {
	dir := t.TempDir()
	name := stem(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), poclog.Digest{1})
	for file, text := range map[string]string{
		name + bundleSuffix: "bundle", name + receiptSuffix: "receipt", latestFile: "an older one", ".poclog-unfinished-1": "half", "notes.txt": "the operator's", ".new-notes.txt": "the operator's",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	st, err := OpenState(dir, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	latest, err := os.ReadFile(filepath.Join(dir, latestFile))
	if got := strings.Join(names, " "); err != nil || string(latest) != "receipt" || got != ".new-notes.txt "+name+receiptSuffix+" latest.tlog-proof lock notes.txt state.json" {
		t.Errorf("%s: latest %q: %v", got, latest, err)
	}
}
