package audit_test

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/witness/audit"
)

const (
	origin      = "log.test/2026"
	auditorName = "auditor.test/a1"
)

var (
	logKey     = testlog.LogKey(origin)
	witnessKey = testlog.WitnessKey("w1.test")
)

// A lab is a log in memory, with a witness, of a laboratory chip's quotes; its operator lies as a
// test wants. It is served over HTTP.
type lab struct {
	t        testing.TB
	maker    *chip.Maker
	platform *chip.Platform
	start    time.Time // when its entries are appraised
	text     string    // tlog-policy
	policy   []byte    // appraisal policy
	log      *testlog.Log
	quotes   uint64
	url      string

	server  testlog.Server
	dossier func(names []string) []byte // what the log answers about names; nil: nothing
	mu      sync.Mutex                  // guards what follows
	files   map[poclog.Digest][]byte
	status  map[poclog.Digest]int // instead of the file
	asked   map[poclog.Digest]int
	hold    chan struct{} // if not nil, files are answered once it is closed
}

// newLab makes a log with a config entry.
func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{
		t: t, maker: chip.NewMaker("audit test", time.Now().AddDate(-1, 0, 0)), start: time.Now().Truncate(time.Second).UTC(),
		text: "log " + logKey.VKey + "\nwitness w1 " + witnessKey.VKey + "\nquorum w1\n", log: &testlog.Log{Origin: origin},
		files: make(map[poclog.Digest][]byte), status: make(map[poclog.Digest]int), asked: make(map[poclog.Digest]int),
	}
	l.platform = l.maker.NewPlatform("host-1", nil)
	l.policy = l.appraisalPolicy(600)
	l.add(l.config(l.policy))
	srv := httptest.NewServer(http.HandlerFunc(l.serve))
	t.Cleanup(srv.Close)
	l.url = srv.URL
	return l
}

func (l *lab) appraisalPolicy(maxChallengeAge uint32) []byte {
	p := &poclog.Policy{
		V: 1, Realm: poclog.Lab, MaxChallengeAge: maxChallengeAge, TCB: []string{"UpToDate"},
		ChallengePolicy: strings.Split(strings.TrimSpace(l.text), "\n"),
		Admit:           []poclog.Admission{{Profile: poclog.TDX, Level: poclog.LevelChip, Historical: true}},
		Roots:           []poclog.Root{{Use: poclog.RootIntelSGX, SHA256: poclog.Sum(l.maker.Root()), Name: "laboratory"}},
	}
	return must(p.Marshal())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the laboratory's own
	}
	return v
}

func (l *lab) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/dossiers" && l.dossier != nil {
		names := r.URL.Query()["name"]
		slices.Sort(names)
		w.Write(l.dossier(names))
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/evidence/sha256/")
	if !ok {
		l.server.ServeHTTP(w, r)
		return
	}
	d, err := poclog.ParseDigest(name)
	l.mu.Lock()
	l.asked[d]++
	b, status, hold := l.files[d], l.status[d], l.hold
	l.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	switch {
	case status != 0:
		w.WriteHeader(status)
	case err != nil || b == nil:
		http.NotFound(w, r)
	default:
		w.Write(b)
	}
}

// keep stores a file.
func (l *lab) keep(b []byte) poclog.Blob {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files[poclog.Sum(b)] = b
	return poclog.BlobOf(b)
}

func (l *lab) answer(d poclog.Digest, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status[d] = status
}

// add appends leaves.
func (l *lab) add(leaves ...[]byte) {
	l.log = &testlog.Log{Origin: origin, Leaves: append(slices.Clip(l.log.Leaves), leaves...)}
}

func (l *lab) size() uint64 { return uint64(len(l.log.Leaves)) }

// config is a config entry.
func (l *lab) config(policy []byte) []byte {
	c := poclog.Config{Policy: l.keep(policy), Software: "lab", Time: l.start}
	return must(c.Marshal())
}

// evidence is what a test makes an entry of.
type evidence struct {
	collateral bool
	challenged time.Time // when the challenge was cosigned; zero: historical
	appraised  time.Time // zero: the start
	policy     []byte    // nil: the first
	by         []*signer.Signer
}

// entry appraises a new quote, keeps its evidence and returns entry and leaf. An edit changes the
// entry before it becomes a leaf.
func (l *lab) entry(v evidence, edit func(*poclog.Entry)) (leaf []byte) {
	l.t.Helper()
	l.quotes++
	b := new(poclog.Bundle)
	td := chip.TD{}
	binary.BigEndian.PutUint64(td.ReportData[:], l.quotes)
	if !v.challenged.IsZero() {
		c := poclog.Challenge{Profile: poclog.TDX, Checkpoint: l.signed(1, v.challenged)}
		binary.BigEndian.PutUint64(c.Salt[:], l.quotes)
		b.Set(poclog.ItemChallenge, must(c.Marshal()))
		td.ReportData = c.ReportData(nil)
	}
	b.Set(poclog.ItemTDXQuote, l.platform.Quote(td))
	in := profile.Input{Bundle: must(b.Marshal()), Policy: l.policy, Appraised: l.start, Appraisal: poclog.Appraisal}
	if v.policy != nil {
		in.Policy = v.policy
	}
	if !v.appraised.IsZero() {
		in.Appraised = v.appraised
	}
	if v.collateral {
		in.Collateral = must(l.maker.Collateral(chip.CollateralOptions{At: l.start.Add(-time.Hour)}).Marshal())
		l.keep(in.Collateral)
	}
	if len(v.by) > 0 {
		in.Envelope = must(signer.Seal(l.t.Context(), &poclog.Submission{Bundle: in.Bundle}, v.by...))
		l.keep(in.Envelope)
	}
	a, err := profile.Appraise(in)
	if err != nil {
		l.t.Fatal(err)
	}
	l.keep(in.Bundle)
	if edit != nil {
		edit(&a.Entry)
	}
	return must(a.Entry.Marshal())
}

// good appends n historical entries that their evidence supports.
func (l *lab) good(n int) {
	l.t.Helper()
	var leaves [][]byte
	for range n {
		leaves = append(leaves, l.entry(evidence{}, nil))
	}
	l.add(leaves...)
}

// signed is the log's checkpoint of its first n leaves, cosigned at a time.
func (l *lab) signed(n uint64, at time.Time) []byte {
	return l.log.Checkpoint(n, testlog.Cosigner{Signer: logKey, At: at}, testlog.Cosigner{Signer: witnessKey, At: at})
}

// publish serves all leaves under a checkpoint of now.
func (l *lab) publish() { l.server.Set(l.log, l.signed(l.size(), l.start), nil) }

// auditor makes an auditor that knows the log.
func (l *lab) auditor(cfg audit.Config) (*audit.Auditor, string) {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), "auditor")
	if err := audit.Init(dir, auditorName); err != nil {
		l.t.Fatal(err)
	}
	a := reopen(l.t, dir, cfg)
	if got, err := a.AddLog(l.t.Context(), l.url, l.text); err != nil || got != origin {
		l.t.Fatalf("add log: %q, %v", got, err)
	}
	return a, dir
}

func reopen(t testing.TB, dir string, cfg audit.Config) *audit.Auditor {
	t.Helper()
	a, err := audit.Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// edited returns a leaf with one text of it replaced by another.
func edited(t testing.TB, leaf []byte, old, new string) []byte {
	t.Helper()
	if strings.Count(string(leaf), old) != 1 {
		t.Fatalf("%q is not once in %s", old, leaf)
	}
	return []byte(strings.Replace(string(leaf), old, new, 1))
}

// consistency proves size to extend old.
func (l *lab) consistency(old, size uint64) [][]byte {
	l.t.Helper()
	srv := httptest.NewServer(&l.server)
	defer srv.Close()
	c := must(client.New(client.Config{URL: srv.URL, Policy: must(tlogpolicy.Parse([]byte(l.text)))}))
	return must(c.ConsistencyProof(l.t.Context(), old, client.Tree{Origin: origin, Size: size, Root: l.log.Root(size)}))
}
