// Package conformance checks a witness against https://c2sp.org/tlog-witness, whoever wrote it and
// wherever it runs.
//
// The suite plays a log: it has a tree of its own and the log's keys, and talks HTTP only. Each
// check has a stable id and names the sentence that it holds the witness to. Some want a witness
// that has not seen the log yet, and the last of them leaves the log with one of two histories:
// every run needs a log of its own, which the witness knows and which has no cosigned checkpoint.
//
// What it cannot see from outside: whether the witness persists before it answers (kill it to see),
// and whether other logs are treated alike. It shares no code with package witness; tree and proofs
// are those of golang.org/x/mod/sumdb/tlog, cosignatures are verified by filippo.io/torchwood.
package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"filippo.io/torchwood"
	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Target is the witness to check, and what it was told about the log that the suite plays.
type Target struct {
	URL        string // submission prefix, such as https://witness.example/
	Monitoring string // monitoring prefix; empty if it is URL

	// Log holds keys of logs whose origin is the name of the key. The witness must know them and
	// have cosigned none of the logs. The first names the log that the suite plays; other keys of
	// that name are that log's too, and it is checked that any one suffices. Keys of other names
	// are spare logs: each of three checks that need a log without a record takes one. Without
	// spares these checks share the one log, and are skipped once the witness has accepted what it
	// should not have.
	Log []note.Signer

	// Witness holds the verifier keys of the witness (types 0x04 and 0x06). Every one must have
	// signed what is cosigned.
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

// ParseLogKey parses the private key of a log, PRIVATE+KEY+<name>+<hash>+<base64>, of type 0x01
// (Ed25519) or 0x06 (ML-DSA-44).
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

// A suite is one run. Its checks come one after the other; size says what the witness has on
// record.
type suite struct {
	target    Target
	origin    string
	keys      []note.Signer   // of the log
	spares    [][]note.Signer // of further logs, one each
	cosigners []*torchwood.CosignatureVerifier
	main      *history
	size      int64  // what the witness has cosigned of main
	started   bool   // the witness can be asked for the size on record
	last      int64  // the latest timestamp of a cosignature
	latest    string // text of the latest cosigned checkpoint
	results   []Result

	// What setup saw of a witness that has cosigned nothing yet.
	unpublished bool   // the monitoring API answered 404
	otherRoot   answer // to a checkpoint of size 0 with another root than the empty tree's
}

// skip is why a check could not be made.
type skip string

func (s skip) Error() string { return string(s) }

// Run makes every check, in an order that needs one pass, and returns the results in that order.
func Run(ctx context.Context, target Target) []Result {
	s := &suite{target: target, main: newHistory("main", 0, nil)}
	s.check(ctx, "setup", "the witness answers and has not cosigned a checkpoint with entries of the log", func() error { return s.setup(ctx) })
	if !s.results[0].OK {
		return s.results
	}
	for _, group := range []func(context.Context){
		s.checkEmpty, s.checkSignatures, s.checkFirst, s.checkGrowth, s.checkBodies, s.checkRefusals, s.checkSameSize,
		s.checkSizes, s.checkMonitoring, s.checkHTTP, s.checkRaces,
	} {
		group(ctx)
	}
	return s.results
}

// check makes one check and records its outcome. After a failure it asks what the witness has on
// record now, so that one deviation is not counted again by every check that follows.
func (s *suite) check(ctx context.Context, id, desc string, f func() error) {
	err := f()
	r := Result{ID: id, Desc: desc, OK: err == nil}
	if err != nil {
		r.Detail = err.Error()
		var why skip
		r.Skipped = errors.As(err, &why)
		if !r.Skipped && s.started {
			if size, err := s.recorded(ctx); err == nil {
				s.size = size
			}
		}
	}
	s.results = append(s.results, r)
}

// setup checks the target and learns what the witness has on record.
func (s *suite) setup(ctx context.Context) error {
	if s.target.URL == "" || len(s.target.Log) == 0 || len(s.target.Witness) == 0 {
		return errors.New("target: want a URL, a log key and a verifier key of the witness")
	}
	s.target.URL = strings.TrimRight(s.target.URL, "/")
	s.target.Monitoring = cmp.Or(strings.TrimRight(s.target.Monitoring, "/"), s.target.URL)
	s.target.Client = cmp.Or(s.target.Client, &http.Client{Timeout: 30 * time.Second})
	s.sortKeys()
	for _, k := range s.target.Witness {
		v, err := torchwood.NewCosignatureVerifier(k)
		if err != nil {
			return fmt.Errorf("target: witness key %.60q: %w", k, err)
		}
		s.cosigners = append(s.cosigners, v)
	}
	return s.checkUnseen(ctx)
}

// sortKeys tells the keys of the log from those of the spare logs.
func (s *suite) sortKeys() {
	s.origin = s.target.Log[0].Name()
	at := make(map[string]int)
	for _, k := range s.target.Log {
		if k.Name() == s.origin {
			s.keys = append(s.keys, k)
			continue
		}
		i, ok := at[k.Name()]
		if !ok {
			i = len(s.spares)
			at[k.Name()] = i
			s.spares = append(s.spares, nil)
		}
		s.spares[i] = append(s.spares[i], k)
	}
}

// onUnseen makes a check on a log of which the witness has nothing on record: a spare one, or the
// log itself while that holds.
func (s *suite) onUnseen(f func(*suite) error) error {
	if len(s.spares) > 0 {
		u := &suite{target: s.target, origin: s.spares[0][0].Name(), keys: s.spares[0], cosigners: s.cosigners, main: newHistory("main", 0, nil)}
		s.spares = s.spares[1:]
		return f(u)
	}
	if s.size != 0 || s.otherRoot.status == http.StatusOK {
		return skip("an earlier check made the witness cosign a checkpoint that it should have refused, and there is no spare log")
	}
	return f(s)
}

// need skips a check that wants a record of some size.
func (s *suite) need(size int64) error {
	if s.size < size {
		return skip(fmt.Sprintf("the witness has %d on record, and not %d as it should by now", s.size, size))
	}
	return nil
}

// checkUnseen looks for what an earlier run left, with a request that no witness should cosign and
// that leaves no trace.
func (s *suite) checkUnseen(ctx context.Context) error {
	before, err := s.published(ctx, s.origin)
	if err != nil {
		return err
	}
	s.unpublished = before.status == http.StatusNotFound
	text := checkpointText(s.origin, "0", tlog.Hash{1})
	if s.otherRoot, err = s.add(ctx, request{checkpoint: s.sign(text)}); err != nil {
		return err
	}
	if s.otherRoot.status == http.StatusNotFound || s.otherRoot.status == http.StatusForbidden {
		return fmt.Errorf("the witness does not know the log %q with this key: %v", s.origin, s.otherRoot)
	}
	s.started = true
	if size, err := s.otherRoot.conflict(); err == nil && size != 0 {
		return fmt.Errorf("the witness has cosigned size %d of %q: a run needs a log of its own", size, s.origin)
	}
	return nil
}

// recorded asks the witness for the size on record. It asks by the empty tree's checkpoint, which
// is cosigned or refused for its root if that is what is on record, and is 409 with the size if
// not.
func (s *suite) recorded(ctx context.Context) (int64, error) {
	a, err := s.add(ctx, s.main.request(s, 0, 0))
	if err != nil {
		return 0, err
	}
	if a.status == http.StatusOK || a.status == http.StatusUnprocessableEntity {
		return 0, nil
	}
	size, err := a.conflict()
	if err == nil && size > maxSize {
		err = fmt.Errorf("the witness says that it has cosigned size %d, which it was never offered", size)
	}
	return size, err
}

// maxSize is more than any size that is offered. A witness that claims more does not make the suite
// build that tree.
const maxSize = 1 << 14
