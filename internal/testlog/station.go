package testlog

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poclog/poclog"
)

// A Station is a log that is served over HTTP with its evidence; its operator lies as a test wants.
// What handlers read is guarded: it may be changed while it serves.
type Station struct {
	Log    *Log   // what Publish serves; no handler reads it
	Policy string // tlog-policy that wants the witness "w.test"
	Tiles  Server // a lie about tiles or the checkpoint is a Set of it

	mu     sync.Mutex // guards what follows
	files  map[poclog.Digest][]byte
	status map[poclog.Digest]int // instead of the file
	down   bool
}

// NewStation returns a station of a log, which serves nothing before Publish.
func NewStation(l *Log) *Station {
	return &Station{Log: l, Policy: PolicyText(l.Origin), files: make(map[poclog.Digest][]byte), status: make(map[poclog.Digest]int)}
}

// PolicyText is a tlog-policy of a log, with the witness "w.test".
func PolicyText(origin string) string {
	return "log " + LogKey(origin).VKey + "\nwitness w " + WitnessKey("w.test").VKey + "\nquorum w\n"
}

// Signed is a log's checkpoint of its first n leaves, cosigned by the log and the witness "w.test"
// at a time.
func Signed(l *Log, n int, at time.Time) []byte {
	return l.Checkpoint(uint64(n), Cosigner{Signer: LogKey(l.Origin), At: at}, Cosigner{Signer: WitnessKey("w.test"), At: at})
}

// ServeHTTP implements [http.Handler].
func (s *Station) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		http.NotFound(w, r)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/evidence/sha256/")
	if !ok {
		s.Tiles.ServeHTTP(w, r)
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

// Keep stores evidence.
func (s *Station) Keep(files ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range files {
		s.files[poclog.Sum(b)] = b
	}
}

// KeepAllOf stores the evidence of another station.
func (s *Station) KeepAllOf(other *Station) {
	other.mu.Lock()
	defer other.mu.Unlock()
	for _, b := range other.files {
		s.Keep(b)
	}
}

// Answer has the log answer the address of a file with a status; 0: with the file.
func (s *Station) Answer(d poclog.Digest, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status[d] = status
}

// AnswerAll has the log answer the addresses of all files with a status.
func (s *Station) AnswerAll(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := range s.files {
		s.status[d] = status
	}
}

// Down has nothing answered, or all again.
func (s *Station) Down(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// Add appends leaves. They are served once they are published.
func (s *Station) Add(leaves ...[]byte) {
	s.Log = &Log{Origin: s.Log.Origin, Leaves: append(slices.Clip(s.Log.Leaves), leaves...)}
}

// Publish serves all leaves under a checkpoint of a time.
func (s *Station) Publish(at time.Time) {
	s.Tiles.Set(s.Log, Signed(s.Log, len(s.Log.Leaves), at), nil)
}
