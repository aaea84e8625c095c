// Package witnesstest checks a witness against https://c2sp.org/tlog-witness, whoever wrote it and wherever it runs.
//
// The suite plays a log: it has a tree of its own and the log's keys, and talks HTTP only. Each check has a stable id and names the
// sentence that it holds the witness to. Some want a witness that has not seen the log yet, and the last of them leaves the log with
// one of two histories: every run needs a log of its own, which the witness knows and which has no cosigned checkpoint.
//
// What it cannot see from outside: whether the witness persists before it answers (kill it to see), and whether other logs are
// treated alike. It shares no code with package witness; tree and proofs are those of golang.org/x/mod/sumdb/tlog, cosignatures are
// verified by filippo.io/torchwood.
package witnesstest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"filippo.io/torchwood"
	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// A Target is the witness to check, and what it was told about the log that the suite plays.
type Target struct {
	URL        string // submission prefix, such as https://witness.example/
	Monitoring string // monitoring prefix; empty if it is URL

	// Log holds keys that the witness trusts for one origin, which is the name of the first. With two or more, it is checked that any
	// one suffices; for that the witness must know them all.
	Log []note.Signer

	// Witness holds the verifier keys of the witness (types 0x04 and 0x06). Every one must have signed what is cosigned.
	Witness []string

	Client *http.Client // nil is a client with a timeout of 30 seconds
}

// A Result is the outcome of one check.
type Result struct {
	ID      string `json:"id"`      // stable, such as "same-size.other-root"
	Desc    string `json:"desc"`    // what a witness must do
	OK      bool   `json:"ok"`      // false also if skipped
	Skipped bool   `json:"skipped"` // the check could not be made; Detail says why
	Detail  string `json:"detail,omitempty"`
}

// TB is what Test needs of a *testing.T.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Test runs the suite and reports each check that fails.
func Test(ctx context.Context, t TB, target Target) {
	t.Helper()
	for _, r := range Run(ctx, target) {
		switch {
		case r.Skipped:
			t.Logf("%s: skipped: %s", r.ID, r.Detail)
		case !r.OK:
			t.Errorf("%s: %s: %s", r.ID, r.Desc, r.Detail)
		}
	}
}

// ParseLogKey parses the private key of a log, PRIVATE+KEY+<name>+<hash>+<base64>, of type 0x01 (Ed25519) or 0x06 (ML-DSA-44).
func ParseLogKey(text string) (note.Signer, error) {
	text = strings.TrimSpace(text)
	s, err := note.NewSigner(text)
	if err == nil {
		return s, nil
	}
	if pq, pqErr := formats.NewMLDSASigner(text); pqErr == nil {
		return pq, nil
	}
	return nil, fmt.Errorf("log key: neither Ed25519 nor ML-DSA-44: %w", err)
}

// A suite is one run. Its checks come one after the other; size says what the witness has on record.
type suite struct {
	target    Target
	origin    string
	cosigners []*torchwood.CosignatureVerifier
	main      *history
	size      int64  // what the witness has cosigned of main
	fresh     bool   // nothing was cosigned yet
	last      int64  // the latest timestamp of a cosignature
	latest    string // text of the latest cosigned checkpoint
	results   []Result
}

// skip is why a check could not be made.
type skip string

func (s skip) Error() string { return string(s) }

// Run makes every check, in an order that needs one pass, and returns the results in that order.
func Run(ctx context.Context, target Target) []Result {
	s := &suite{target: target, main: newHistory("main", 0, nil), fresh: true}
	s.check("setup", "the witness knows the log and has not cosigned it", func() error { return s.setup(ctx) })
	if !s.results[0].OK {
		return s.results
	}
	for _, group := range []func(context.Context){
		s.checkEmpty, s.checkSignatures, s.checkBodies, s.checkFirst, s.checkGrowth, s.checkRefusals, s.checkSameSize,
		s.checkSizes, s.checkMonitoring, s.checkHTTP, s.checkRaces,
	} {
		group(ctx)
	}
	return s.results
}

// check makes one check and records its outcome.
func (s *suite) check(id, desc string, f func() error) {
	err := f()
	r := Result{ID: id, Desc: desc, OK: err == nil}
	if err != nil {
		r.Detail = err.Error()
		var why skip
		r.Skipped = errors.As(err, &why)
	}
	s.results = append(s.results, r)
}

// setup checks the target and learns what the witness has on record.
func (s *suite) setup(ctx context.Context) error {
	if s.target.URL == "" || len(s.target.Log) == 0 || len(s.target.Witness) == 0 {
		return errors.New("target: want a URL, a log key and a verifier key of the witness")
	}
	s.target.URL = strings.TrimRight(s.target.URL, "/")
	s.target.Monitoring = strings.TrimRight(s.target.Monitoring, "/")
	if s.target.Monitoring == "" {
		s.target.Monitoring = s.target.URL
	}
	if s.target.Client == nil {
		s.target.Client = &http.Client{Timeout: 30 * time.Second}
	}
	s.origin = s.target.Log[0].Name()
	for _, k := range s.target.Witness {
		v, err := torchwood.NewCosignatureVerifier(k)
		if err != nil {
			return fmt.Errorf("target: witness key %.60q: %w", k, err)
		}
		s.cosigners = append(s.cosigners, v)
	}
	size, err := s.recorded(ctx)
	if err != nil {
		return err
	}
	if size != 0 {
		return fmt.Errorf("the witness has cosigned size %d of %q: a run needs a log of its own", size, s.origin)
	}
	return nil
}

// probe is a size that no check lets the witness cosign: a request that starts from it is answered with what is on record.
const probe = 1<<16 - 1

// recorded asks the witness for the size on record.
func (s *suite) recorded(ctx context.Context) (int64, error) {
	a, err := s.add(ctx, request{old: probe, checkpoint: s.sign(s.main.checkpoint(s.origin, probe))})
	if err != nil {
		return 0, err
	}
	return a.conflict()
}

// resync takes the witness's word for the size on record, after it accepted what it should not have.
func (s *suite) resync(ctx context.Context) error {
	size, err := s.recorded(ctx)
	if err != nil {
		return fmt.Errorf("after that the size on record could not be learned: %w", err)
	}
	s.size = size
	return nil
}
