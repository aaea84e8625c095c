package monitor_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the laboratory's own
	}
	return v
}

// A station is a log in memory that is served over HTTP, with its evidence; its operator lies as a test wants.
type station struct {
	log    *testlog.Log
	url    string
	server testlog.Server
	text   string // tlog-policy

	mu     sync.Mutex // guards what follows
	files  map[poclog.Digest][]byte
	status map[poclog.Digest]int // instead of the file
	down   bool                  // nothing is answered
}

// newStation serves a log.
func newStation(t testing.TB, l *testlog.Log) *station {
	t.Helper()
	s := &station{log: l, text: policyText(l.Origin), files: make(map[poclog.Digest][]byte), status: make(map[poclog.Digest]int)}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *station) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		http.NotFound(w, r)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/evidence/sha256/")
	if !ok {
		s.server.ServeHTTP(w, r)
		return
	}
	d, err := poclog.ParseDigest(name)
	switch b := s.files[d]; {
	case err != nil || b == nil && s.status[d] == 0:
		http.NotFound(w, r)
	case s.status[d] != 0:
		w.WriteHeader(s.status[d])
	default:
		_, _ = w.Write(b) // the client may be gone
	}
}

// keep stores a file.
func (s *station) keep(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[poclog.Sum(b)] = b
}

// answer has the log answer a file's address with a status; 0: with the file.
func (s *station) answer(d poclog.Digest, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status[d] = status
}

// add appends leaves.
func (s *station) add(leaves ...[]byte) {
	s.log = &testlog.Log{Origin: s.log.Origin, Leaves: append(slices.Clip(s.log.Leaves), leaves...)}
}

// signed is the log's checkpoint of its first n leaves, cosigned at a time.
func signed(l *testlog.Log, n int, at time.Time) []byte {
	return l.Checkpoint(uint64(n), testlog.Cosigner{Signer: testlog.LogKey(l.Origin), At: at}, testlog.Cosigner{Signer: testlog.WitnessKey("w.test"), At: at})
}

// publish serves all leaves under a checkpoint of a time.
func (s *station) publish(at time.Time) {
	s.server.Set(s.log, signed(s.log, len(s.log.Leaves), at), nil)
}

// follow adds a log to a monitor.
func (s *station) follow(t testing.TB, m *monitor.Monitor) {
	t.Helper()
	if got, err := m.AddLog(t.Context(), s.url, s.text); err != nil || got != s.log.Origin {
		t.Fatalf("add log: %q, %v", got, err)
	}
}

// submit appraises a bundle a few seconds after its challenge, as a log would, keeps the evidence, and appends the entry. It returns when it did.
func (s *station) submit(t testing.TB, w *attack.World, b *poclog.Bundle) time.Time {
	t.Helper()
	e := receipt.Evidence{Bundle: must(b.Marshal()), Collateral: must(w.Collateral.Marshal()), Policy: must(w.Policy.Marshal())}
	appraised := attack.Now
	if b.Has(poclog.ItemChallenge) {
		ch := must(poclog.ParseChallenge(b.Get(poclog.ItemChallenge)))
		v := must(must(tlogpolicy.Parse([]byte(s.text))).Open(ch.Checkpoint))
		t1, _ := v.NotBefore()
		appraised = t1.Add(5 * time.Second)
	}
	leaf, err := profile.Reappraiser{}.Reappraise(e, appraised, poclog.Appraisal)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range [][]byte{e.Bundle, e.Collateral, e.Policy} {
		s.keep(f)
	}
	s.add(leaf)
	return appraised
}

// once runs a monitor once and wants no trouble.
func once(t testing.TB, m *monitor.Monitor) *monitor.Outcome {
	t.Helper()
	out, err := m.Run(t.Context(), monitor.Options{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	for origin, trouble := range out.Trouble {
		t.Fatalf("%s: %v", origin, trouble)
	}
	return out
}
