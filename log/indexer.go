package log

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera/client"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// When an index entry is due.
const (
	DefaultIndexInterval = time.Minute // while something is new
	idleIndexFactor      = 10          // times that, while nothing is
	indexPause           = 5 * time.Second
	indexBatch           = 4096 // entries in one transaction
)

// An indexer keeps the log's index (docs/format.md §16) and writes index entries. The map is
// derived: it is read from its file when the log starts, in the background, and is caught up with
// the entries since. The newest index entry is the one that it followed last.
type indexer struct {
	svc    *Service
	path   string
	logger *slog.Logger
	every  time.Duration

	following sync.Mutex // held by whoever takes entries into the map

	mu      sync.RWMutex
	m       *indexmap.Map // nil until it is loaded
	loading string        // how far, until then
	err     error         // of the last try: it is tried again

	wrote atomic.Int64 // when the newest index entry was due, or the log started, in nanoseconds since 1970
}

func newIndexer(s *Service) *indexer {
	x := &indexer{svc: s, path: filepath.Join(s.dir, dirState, "index.db"), logger: s.cfg.Logger, every: s.cfg.IndexInterval, loading: "is being read"}
	x.wrote.Store(s.cfg.Now().UnixNano())
	return x
}

// run keeps the index until the context ends.
func (x *indexer) run(ctx context.Context) {
	defer x.close()
	for {
		err := x.turn(ctx)
		if ctx.Err() != nil {
			return
		}
		x.failed(err)
		rest := x.every / 4
		if err != nil {
			rest = max(indexPause, rest)
		}
		if pause.For(ctx, rest) != nil {
			return
		}
	}
}

func (x *indexer) failed(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil && (x.err == nil || x.err.Error() != err.Error()) {
		x.logger.Error("the index cannot go on: it is tried again", "error", err)
	}
	x.err = err
}

func (x *indexer) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.m != nil {
		_ = x.m.Close() // what it wrote is durable
		x.m = nil
	}
}

// turn catches up with the published tree, and writes an index entry if one is due.
func (x *indexer) turn(ctx context.Context) error {
	m, err := x.open(ctx)
	if err != nil {
		return err
	}
	signed, _ := x.svc.published.base()
	cp, err := tlogpolicy.ParseCheckpoint(signed)
	if err != nil {
		return nil // nothing is published yet
	}
	if err := x.follow(ctx, m, cp.Size); err != nil {
		return err
	}
	if x.svc.opening.state() != nil || !x.due(m.State(), cp.Size) {
		return nil
	}
	return x.svc.inTurn(ctx, "index", func(next uint64) error { return x.writeInTurn(ctx, m, next) })
}

// writeInTurn writes an index entry, if none that is due came meanwhile: sizes of index entries
// never fall, so that those before the number of the next entry are followed first.
func (x *indexer) writeInTurn(ctx context.Context, m *indexmap.Map, next uint64) error {
	wait, cancel := context.WithTimeout(ctx, x.svc.cfg.PublishTimeout)
	defer cancel()
	if _, err := x.svc.published.wait(wait, next); err != nil {
		return err
	}
	signed, _ := x.svc.published.base()
	cp, err := tlogpolicy.ParseCheckpoint(signed)
	if err != nil {
		return err
	}
	if err := x.follow(ctx, m, cp.Size); err != nil || !x.due(m.State(), cp.Size) {
		return err
	}
	if err := x.write(ctx, m, cp.Size, signed); err != nil {
		return err
	}
	size, _, _ := x.svc.published.state()
	return x.follow(ctx, m, size)
}

// open returns the map. One that is damaged, or does not have the root of its index entry, is made
// anew from the entries.
func (x *indexer) open(ctx context.Context) (*indexmap.Map, error) {
	if m := x.current(); m != nil {
		return m, nil
	}
	m, err := sqlite.Anew(func() (*indexmap.Map, error) { return x.read(ctx) }, func() error { return sqlite.Remove(x.path) }, func(err error) {
		x.logger.Warn("the index is damaged: it is made anew from the entries", "file", x.path, "error", err)
	})
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.m = m
	return m, nil
}

const errOtherRoot = sqlite.Damage("its root is not that of its index entry")

// read reads the map from its file, and holds it to the index entry that it followed last.
func (x *indexer) read(ctx context.Context) (*indexmap.Map, error) {
	m, err := indexmap.Open(x.path, func(done, total int) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.loading = fmt.Sprintf("is being read: %d of %d names", done, total)
	})
	if err != nil {
		return nil, err
	}
	at := m.State()
	if at.Next == 0 {
		return m, nil
	}
	root := poclog.Digest(sha256.Sum256(nil))
	if at.Entry > 0 {
		var entry *poclog.IndexEntry
		if entry, _, err = x.svc.indexEntry(ctx, at.Entry); err == nil {
			root = entry.Root
		}
	}
	if err == nil && root != at.Root {
		err = errOtherRoot
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("index of %d entries: %w", at.Size, err), m.Close())
	}
	return m, nil
}

// indexEntry reads an index entry.
func (s *Service) indexEntry(ctx context.Context, number uint64) (*poclog.IndexEntry, []byte, error) {
	leaves, err := s.entries(ctx, number, 1)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := poclog.ParseLeaf(leaves[0])
	if err != nil || leaf.Index == nil {
		return nil, nil, fmt.Errorf("entry %d is no index entry: %w", number, errOtherRoot)
	}
	return leaf.Index, leaves[0], nil
}

func (x *indexer) current() *indexmap.Map {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.m
}

// follow takes the entries below a size.
func (x *indexer) follow(ctx context.Context, m *indexmap.Map, size uint64) error {
	x.following.Lock()
	defer x.following.Unlock()
	for next := m.State().Next; next < size; next = m.State().Next {
		n := min(size-next, indexBatch)
		leaves, err := x.svc.entries(ctx, next, n)
		if err != nil {
			return err
		}
		before := m.State().Entry
		if err := m.Follow(ctx, next, leaves); err != nil {
			return err
		}
		if x.svc.store.Shared && m.State().Entry != before {
			x.wrote.Store(x.svc.cfg.Now().UnixNano()) // another front end may have written it
		}
		if size-next > indexBatch {
			x.logger.Info("the index reads entries", "done", next+n, "of", size)
		}
	}
	return nil
}

// upTo returns the map once it knows all entries below a size, which are in the tree.
func (x *indexer) upTo(ctx context.Context, size uint64) (*indexmap.Map, error) {
	m := x.current()
	if m == nil {
		x.mu.RLock()
		defer x.mu.RUnlock()
		return nil, fmt.Errorf("the index %s", x.loading)
	}
	if size == 0 || m.State().Next >= size {
		return m, nil
	}
	if _, err := x.svc.covering(ctx, size-1); err != nil {
		return nil, err
	}
	return m, x.follow(ctx, m, size)
}

// due reports whether an index entry is to be written. Index entries are nothing new.
func (x *indexer) due(at indexmap.State, size uint64) bool {
	old := x.svc.cfg.Now().Sub(time.Unix(0, x.wrote.Load()))
	isNew := size > max(at.Size, at.Entry)+1
	return isNew && old >= x.every || old >= idleIndexFactor*x.every
}

// write appends the index entry of a published checkpoint, and waits until it is published. One
// that comes later than that is found when its entry is followed.
func (x *indexer) write(ctx context.Context, m *indexmap.Map, size uint64, signed []byte) error {
	root, err := m.Predict(size)
	if err != nil {
		return err
	}
	entry := poclog.IndexEntry{Algorithm: index.Algorithm, Size: size, Checkpoint: poclog.Sum(signed), Root: root}
	leaf, err := entry.Marshal()
	if err != nil {
		return err
	}
	if err := x.svc.store.Checkpoints.Put(ctx, size, x.svc.cfg.Now(), signed, true); err != nil {
		return err
	}
	if err := x.svc.enter(); err != nil {
		return err
	}
	defer x.svc.admissions.Done()
	x.wrote.Store(x.svc.cfg.Now().UnixNano())
	_, _, err = x.svc.append(ctx, leaf, poclog.Leaf{Index: &entry}, nothing)
	return err
}

// A headOf is a published index entry.
type headOf struct {
	indexmap.State
	entry  *poclog.IndexEntry
	leaf   []byte
	signed []byte // the checkpoint that it names
}

// newest returns what the index has of names, and the index entry that says so.
func (x *indexer) newest(ctx context.Context, names []string, since uint64) (list []poclog.DossierName, h headOf, err error) {
	m := x.current()
	if m == nil {
		x.mu.RLock()
		defer x.mu.RUnlock()
		return nil, h, refuse(kindUnavailable, "the index %s", x.loading)
	}
	if list, h.State, err = m.Lookup(names, since); err != nil {
		return nil, h, err
	}
	if h.State.Entry == 0 {
		return nil, h, refuse(kindUnavailable, "the log has no index entry yet: one is written within %s", x.every)
	}
	if h.entry, h.leaf, err = x.svc.indexEntry(ctx, h.State.Entry); err != nil {
		return nil, h, err
	}
	if h.signed, err = x.svc.store.Checkpoints.Get(ctx, h.entry.Checkpoint); err == nil && h.signed == nil {
		err = fmt.Errorf("the checkpoint that index entry %d names is lost", h.State.Entry)
	}
	return list, h, err
}

// warnings say what is wrong with the index, or how far it is behind.
func (x *indexer) warnings() []string {
	x.mu.RLock()
	m, loading, err := x.m, x.loading, x.err
	x.mu.RUnlock()
	var wrong *indexmap.WrongError
	switch {
	case errors.As(err, &wrong):
		return []string{"the index contradicts the log's own entries: " + wrong.Error()}
	case err != nil:
		return []string{"the index cannot go on: " + err.Error()}
	case m == nil:
		return []string{"the index " + loading}
	}
	return nil
}

// lag is how many published entries the newest index entry does not cover.
func (x *indexer) lag() uint64 {
	size, _, _ := x.svc.published.state()
	m := x.current()
	if m == nil {
		return size
	}
	return size - min(m.State().Size, size)
}

// entries reads n leaves from a number on, which are in the tree.
func (s *Service) entries(ctx context.Context, from, n uint64) ([][]byte, error) {
	leaves := make([][]byte, 0, n)
	// It reads whole bundles, whose width the tree's size decides.
	bundles := client.EntryBundles(ctx, 2, s.tree.IntegratedSize, s.tree.ReadEntryBundle, from, n)
	for e, err := range client.Entries(bundles, unbundle) {
		if err != nil {
			return nil, fmt.Errorf("read entries: %w", err)
		}
		if leaves = append(leaves, e.Entry); uint64(len(leaves)) == n {
			return leaves, nil
		}
	}
	return nil, fmt.Errorf("read entries %d to %d: only %d are there", from, from+n-1, len(leaves))
}
