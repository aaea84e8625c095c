// Package witness is a witness of transparency logs: it cosigns a checkpoint after it has checked
// that the tree only grew, and remembers what it cosigned.
//
// It implements add-checkpoint and the monitoring API of https://c2sp.org/tlog-witness, and both
// cosignatures of https://c2sp.org/tlog-cosignature: Ed25519 (type 0x04) and ML-DSA-44 (0x06).
// Package conformance checks any witness against the specification, this one in this package's
// tests.
//
// It guarantees that no two of its cosignatures contradict: of one log, every two cosigned trees
// are consistent, and timestamps never go backwards, whatever requests come at once, in however
// many processes on one folder, and whenever these are killed. That rests on one SQL statement,
// which compares and sets the head of a log and is durable before the answer leaves. It holds as
// long as the folder is: a folder that is restored from a backup has forgotten what was signed
// since, and must get a new name and new keys instead.
//
// A witness does not look at entries, does not say that a log is right, and does not keep the tree.
// It keeps the latest checkpoint of each log with the signatures, and of checkpoints that
// contradict it both, as proof.
package witness

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"filippo.io/torchwood"
	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog/internal/httpd"
)

const (
	// DefaultRate is how many checkpoints a second one log gets cosigned.
	DefaultRate rate.Limit = 20

	// DefaultBurst is how many checkpoints one log gets cosigned at once.
	DefaultBurst = 200

	// DefaultAddressRate is how many requests a second one address gets answered.
	DefaultAddressRate = 100.0
)

// A Config holds what can be chosen when a witness starts. The zero value is safe.
type Config struct {
	Clock  func() time.Time // of the cosignatures; nil is time.Now
	Logger *slog.Logger     // nil is slog.DiscardHandler

	// Rate (a second) and Burst limit, for each log alone, how many larger trees are cosigned; for
	// others there is 429. What anybody can repeat costs nothing of it: refusals, and the tree on
	// record, which is cosigned once a second at most and answered with what is stored meanwhile.
	// Zero is DefaultRate and DefaultBurst; rate.Inf is no limit.
	Rate  rate.Limit
	Burst int

	// Limits says what strangers can take of the service; the witness sets Refusal and Logger. Its
	// Rate counts for every request of an address, whatever log it names; zero is
	// DefaultAddressRate. Where Rate is rate.Inf nothing of it is limited.
	Limits httpd.Config

	// Agent connects to the ssh-agent that holds the Ed25519 key of a witness made by InitAgent.
	// Others do not need it.
	Agent func() (net.Conn, error)

	// Before decides last, and must be set for a folder that InitGated made, and for no other: what
	// its keys state is more than consistency. It is called with a checkpoint that a trusted key
	// has signed and that extends the head on record, before anything is cosigned or recorded.
	// Signed holds the log's signatures only. If it returns an error there is no cosignature; a
	// *Refusal is the answer. Calls for one log come one after the other; while one runs, others
	// for that log wait.
	Before func(ctx context.Context, c torchwood.Checkpoint, signed []byte) error
}

// A Witness cosigns checkpoints of the logs it knows. It is safe for concurrent use.
type Witness struct {
	state     *state
	cosigners []*Cosigner
	before    func(ctx context.Context, c torchwood.Checkpoint, signed []byte) error // or nil
	clock     func() time.Time
	log       *slog.Logger
	limit     rate.Limit
	burst     int
	http      *httpd.Server
	metrics   *metrics

	verifiers sync.Map // of note.Verifiers by the keys of a log, as head gives them
	lanes     sync.Map // of *lane by origin; only logs whose signature was seen have one
}

// A lane orders and limits the requests of one log.
type lane struct {
	mu   sync.Mutex    // held from reading the head to replacing it, so that this process does not race with itself
	grow *rate.Limiter // larger trees that are cosigned
}

// Open opens the witness that Init made in a folder.
func Open(dir string, cfg Config) (*Witness, error) {
	if cfg.Rate < 0 || cfg.Burst < 0 {
		return nil, fmt.Errorf("rate %v and burst %d: want none below zero", cfg.Rate, cfg.Burst)
	}
	if err := checkGate(dir, cfg.Before != nil); err != nil {
		return nil, err
	}
	cosigners, err := openKeys(dir, cfg.Agent)
	if err != nil {
		return nil, err
	}
	s, err := openState(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	w := &Witness{state: s, cosigners: cosigners, before: cfg.Before, clock: cfg.Clock, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		limit: cmp.Or(cfg.Rate, DefaultRate), burst: cmp.Or(cfg.Burst, DefaultBurst)}
	if w.clock == nil {
		w.clock = time.Now
	}
	cfg.Limits.Refusal, cfg.Limits.Logger = describe, w.log
	cfg.Limits.UnsafeUnlimited = cfg.Limits.UnsafeUnlimited || cfg.Rate == rate.Inf
	cfg.Limits.Rate = cmp.Or(cfg.Limits.Rate, DefaultAddressRate)
	w.http = httpd.New(cfg.Limits)
	w.metrics = newMetrics(w)
	return w, nil
}

// openKeys reads the keys of a folder: Ed25519 from its file or from an agent, and ML-DSA-44.
func openKeys(dir string, dial func() (net.Conn, error)) ([]*Cosigner, error) {
	edName, ed, err := readKey(filepath.Join(dir, ed25519File))
	if errors.Is(err, fs.ErrNotExist) {
		edName, ed, err = openAgentKey(filepath.Join(dir, agentFile), dial)
	}
	if err != nil {
		return nil, err
	}
	pqName, pq, err := readKey(filepath.Join(dir, mldsaFile))
	if err != nil {
		return nil, err
	}
	if edName != pqName {
		return nil, fmt.Errorf("the keys in %s have two names, %q and %q: want one", dir, edName, pqName)
	}
	var cosigners []*Cosigner
	for _, key := range []crypto.Signer{ed, pq} {
		c, err := NewCosigner(edName, key)
		if err != nil {
			return nil, err
		}
		cosigners = append(cosigners, c)
	}
	return cosigners, nil
}

// Keys returns the verifier keys of the witness in a folder, Ed25519 first. It needs no agent.
func Keys(dir string) ([]string, error) {
	cosigners, err := openKeys(dir, nil)
	if err != nil {
		return nil, err
	}
	return vkeys(cosigners), nil
}

// VKeys returns the verifier keys, Ed25519 first.
func (w *Witness) VKeys() []string { return vkeys(w.cosigners) }

// Name returns the name under which the witness signs.
func (w *Witness) Name() string { return w.cosigners[0].verifier.Name() }

// Statement signs a message that is no checkpoint with every key, ascending by key id: see
// [Cosigner.Statement].
func (w *Witness) Statement(message []byte) (signatures []poclog.NoteSignature, err error) {
	for _, c := range w.cosigners {
		s, err := c.statement(message)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, s)
	}
	slices.SortFunc(signatures, func(a, b poclog.NoteSignature) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return signatures, nil
}

// Published returns the latest cosigned checkpoint of the log whose origin has a hex SHA-256, or
// nil before the first.
func (w *Witness) Published(ctx context.Context, hash string) ([]byte, error) {
	cp, err := w.state.published(ctx, hash)
	if errors.Is(err, errNoLog) {
		return nil, nil
	}
	return cp, err
}

func vkeys(cosigners []*Cosigner) []string {
	var list []string
	for _, c := range cosigners {
		list = append(list, c.vkey())
	}
	return list
}

// Close closes the state. Requests that are still running fail.
func (w *Witness) Close() error { return w.state.close() }

// verifiersOf returns the verifiers of the keys that head gave.
func (w *Witness) verifiersOf(keys string) (note.Verifiers, error) {
	if v, ok := w.verifiers.Load(keys); ok {
		return v.(note.Verifiers), nil
	}
	v, err := parseVerifiers(splitLines(keys))
	if err != nil {
		return nil, fmt.Errorf("keys on record: %w", err)
	}
	w.verifiers.Store(keys, v)
	return v, nil
}

func (w *Witness) laneOf(origin string) *lane {
	if l, ok := w.lanes.Load(origin); ok {
		return l.(*lane)
	}
	l, _ := w.lanes.LoadOrStore(origin, &lane{grow: rate.NewLimiter(w.limit, w.burst)})
	return l.(*lane)
}

// Check reports whether the witness can work: its state can be read, and its clock is not behind
// what it signed by more than clocks may differ.
func (w *Witness) Check(ctx context.Context) error {
	logs, err := w.state.logs(ctx)
	if err != nil {
		return err
	}
	now := w.clock()
	for _, l := range logs {
		if behind := l.Cosigned.Sub(now); behind > verify.MaxSkew {
			return fmt.Errorf("the clock says %s, and a checkpoint of %q was cosigned at %s", verify.Stamp(now), l.Origin, l.Cosigned.Format(time.RFC3339))
		}
	}
	return nil
}
