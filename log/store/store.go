// Package store is the seam between a log and where it is kept.
//
// A [Store] has four parts: the tree's tiles, the evidence, the register of the last signed
// checkpoint (the guard), and the checkpoints that receipts and dossiers need again. Package folder
// keeps them in a folder, for one process; package mysqls3 in a database and in S3, for any number
// of processes. What each part promises stands at its interface.
package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"

	"github.com/poclog/poclog"
)

// A Store keeps one log.
type Store struct {
	Name        string // for people: a folder
	Tiles       Tiles
	Evidence    Evidence
	Guard       Register
	Checkpoints Checkpoints
	Known       Known // nil: one process serves the log, and knows what it was sent

	Shared bool          // whether several processes may serve the log
	Poll   time.Duration // between two looks at the published checkpoint
	// MinInterval is the least time between two checkpoints.
	MinInterval time.Duration

	// Lock takes what one process alone may hold; the locks end with the process.
	Lock func() (unlock func() error, err error)
	// Join says by which policy this process is going to admit. While another process admits by
	// another one it is an error. It can be called again.
	Join func(ctx context.Context, policy poclog.Digest) error
	// Lost is why the tree has to be opened for writing again: what was queued is not written.
	Lost func() error
	// Turn waits for what one process of a log does at a time, and returns the number of the next
	// entry: the caller waits until the tree has those below it. A turn ends with release, or once its
	// process is dead and what it had queued has a number or never gets one.
	Turn func(ctx context.Context, name string) (release func(), next uint64, err error)
	// Cosign adds others' cosignature lines to the published checkpoint, as long as it is of the tree
	// of the one that was cosigned. Nil: one process serves the log, and adds them itself.
	Cosign func(ctx context.Context, cosigned []byte, lines [][]byte) error
	// Prepare makes the store ready to be written to. It can be called again.
	Prepare func() error
	// Writable is why the store cannot be written to, or nil. It answers within seconds.
	Writable func() error
	// Close releases what the parts hold.
	Close func() error
}

// Tiles are a tree as Tessera's driver of the store writes it, in the layout of C2SP tlog-tiles.
type Tiles interface {
	// Open opens a resource by its path, such as "tile/0/000.p/5" or "checkpoint". One that is not
	// there is fs.ErrNotExist.
	Open(ctx context.Context, path string) (f io.ReadCloser, size int64, err error)
	// State is the tree that the driver has integrated, whether it is published or not.
	State(ctx context.Context) (TreeState, error)
	// Driver opens the tree for writing until the context ends; release is called after that. The
	// client asks witnesses.
	Driver(ctx context.Context, witnesses *http.Client) (d tessera.Driver, release func() error, err error)
}

// A TreeState is a size and its root hash.
type TreeState struct {
	Size    uint64
	Root    []byte // 32 bytes
	Written bool   // whether the driver has kept a state: not before a log is served first
}

// Evidence keeps files by digest. The methods may be called concurrently.
type Evidence interface {
	// Put keeps a file. It is durable once Put returns; one that was lost or damaged is mended.
	Put(ctx context.Context, b []byte) (poclog.Blob, error)
	// Has reports whether a file is there with its length. The error is of a store that did not
	// answer.
	Has(ctx context.Context, b poclog.Blob) (bool, error)
	// Get reads a file and checks its digest. One that is not there is fs.ErrNotExist.
	Get(ctx context.Context, d poclog.Digest) ([]byte, error)
	// Open opens a file of which it has checked the digest.
	Open(ctx context.Context, d poclog.Digest) (f io.ReadCloser, size int64, err error)
}

// ErrChanged is of a register that holds another text than the one that was loaded.
var ErrChanged = errors.New("it was changed meanwhile")

// A Register keeps one short text: the checkpoint that a log signed last. It is never restored from
// a backup.
type Register interface {
	// Name names it for people, such as "guard file /var/lib/poclog.guard".
	Name() string
	// Create makes the register. One that is there is fs.ErrExist.
	Create(ctx context.Context, text []byte) error
	// Load returns the text and its version. A register that was never made is fs.ErrNotExist.
	Load(ctx context.Context) (text []byte, version string, err error)
	// Swap replaces the text of a version, durably. If the register has another version by now and
	// another text, it is ErrChanged, and nothing was written. After another error the register holds
	// the old text or the new one.
	Swap(ctx context.Context, version string, text []byte) error
}

// Checkpoints keep signed checkpoints as they were published. They cannot be made anew. The methods
// may be called concurrently.
type Checkpoints interface {
	// Put keeps a checkpoint of a tree's size, first seen at a time. One that an index entry names is
	// kept for ever, others at least KeepCovering. It is durable once Put returns.
	Put(ctx context.Context, size uint64, seen time.Time, signed []byte, indexed bool) error
	// Get returns the checkpoint of a digest that an index entry names, or nil.
	Get(ctx context.Context, digest poclog.Digest) ([]byte, error)
	// Covering returns the first checkpoint that is known to have covered an entry, or nil.
	Covering(ctx context.Context, number uint64) ([]byte, error)
	// Before returns the largest checkpoint that was seen by a time, or nil.
	Before(ctx context.Context, t time.Time) ([]byte, error)
}

// A Key is of evidence: half a digest.
type Key [16]byte

// A KnownEntry is the entry that answers for evidence, with what it proved.
type KnownEntry struct {
	Number uint64
	Proved uint32 // a set
}

// Answers reports whether the entry is the answer to evidence that proves a set: unless the
// evidence proves all that the entry proved and more. Whoever submits first a part of another's
// evidence, without its challenge or its collateral, must not keep the whole out.
func (k KnownEntry) Answers(set uint32) bool { return set == k.Proved || set&k.Proved != k.Proved }

// Or returns which of two entries answers for evidence: the first, unless the second proves all of
// that and more, or the same and stands before it.
func (k KnownEntry) Or(other KnownEntry) KnownEntry {
	if !k.Answers(other.Proved) || k.Proved == other.Proved && other.Number < k.Number {
		return other
	}
	return k
}

// A KnownRow is one of the keys for which an entry answers.
type KnownRow struct {
	Key Key
	KnownEntry
}

// ErrClaimed is of evidence that another process is about to append, or was when it died.
var ErrClaimed = errors.New("another front end has this evidence on its way")

// Known is what all processes of a log know of the evidence that is in it. It is derived from the
// entries. Of two entries [KnownEntry.Or] says which answers.
type Known interface {
	// Find returns the entry that answers for a key.
	Find(ctx context.Context, key Key) (e KnownEntry, ok bool, err error)
	// Claim says that evidence is about to be appended, and returns the entry that answers for its key
	// then: the claim is made in any case. It is ErrClaimed while there is a claim already. A claim
	// ends with Settle, with Release, or some time after its process died: once all that had a number
	// by then is known.
	Claim(ctx context.Context, key Key) (e KnownEntry, ok bool, err error)
	// Release ends a claim of this process.
	Release(ctx context.Context, key Key) error
	// Settle adds rows of an entry before it is followed, and ends the claim of this process on a key:
	// who claims it then finds the entry.
	Settle(ctx context.Context, key Key, rows []KnownRow) error
	// Next returns how many entries were followed, and the newest config entry among them.
	Next(ctx context.Context) (next uint64, config []byte, err error)
	// Follow adds the rows of the entries from a number on, to next. If another process did so
	// meanwhile it is ErrChanged. Config is the newest config entry among them; nil: there is none.
	Follow(ctx context.Context, from, next uint64, rows []KnownRow, config []byte) error
}

// KeepCovering is how long the first covering checkpoints are kept, so that a receipt can be had
// again with its interval.
const KeepCovering = 7 * 24 * time.Hour

// A Reader reads a tree as Tessera's clients do.
type Reader struct{ Tiles }

// ReadCheckpoint reads the published checkpoint.
func (r Reader) ReadCheckpoint(ctx context.Context) ([]byte, error) {
	return r.read(ctx, layout.CheckpointPath)
}

// ReadTile reads a tile of a width, or the full one that took its place; width 0 is the full one.
func (r Reader) ReadTile(ctx context.Context, level, index uint64, width uint8) ([]byte, error) {
	b, err := r.read(ctx, layout.TilePath(level, index, width))
	if width > 0 && errors.Is(err, fs.ErrNotExist) {
		return r.read(ctx, layout.TilePath(level, index, 0))
	}
	return b, err
}

// ReadEntryBundle reads an entry bundle of a width, or the full one that took its place; width 0 is
// the full one.
func (r Reader) ReadEntryBundle(ctx context.Context, index uint64, width uint8) ([]byte, error) {
	b, err := r.read(ctx, layout.EntriesPath(index, width))
	if width > 0 && errors.Is(err, fs.ErrNotExist) {
		return r.read(ctx, layout.EntriesPath(index, 0))
	}
	return b, err
}

// IntegratedSize returns how many leaves the tree has, whether they are published or not.
func (r Reader) IntegratedSize(ctx context.Context) (uint64, error) {
	state, err := r.State(ctx)
	return state.Size, err
}

func (r Reader) read(ctx context.Context, path string) ([]byte, error) {
	f, size, err := r.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, size)
	_, err = io.ReadFull(f, b)
	return b, err
}
