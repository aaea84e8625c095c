package log

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/folder"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

var emptyRoot = sha256.Sum256(nil)

func checkpointText(origin string, size uint64, root []byte) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root))
}

// A treeReader reads tiles and entry bundles as they were written, with the paths' widths of C2SP
// tlog-tiles; client.FileFetcher is one.
type treeReader interface {
	ReadTile(ctx context.Context, level, index uint64, width uint8) ([]byte, error)
	ReadEntryBundle(ctx context.Context, index uint64, width uint8) ([]byte, error)
}

// A guard is the log's first signer. It signs only what extends the last checkpoint that it signed,
// and keeps that in a register outside the log's store before the signature exists.
type guard struct {
	note.Signer
	register store.Register
	shared   bool // other processes sign with it, too
	tree     treeReader

	mu    sync.Mutex // held while signing: there is one order of signatures
	last  tlogpolicy.Checkpoint
	tried tlogpolicy.Checkpoint // what was written last and perhaps not kept, or last

	told sync.Mutex // guards what follows, which is asked for while a slow key management system signs
	size uint64     // of last
	at   time.Time  // of the last signature
	err  error      // why the last one was refused or not made; nil if it was made
	// failed is when the last one was refused.
	failed time.Time
}

// openGuard loads the guard's register, which must exist, and compares it with the tiles: they must
// hold the tree that was signed.
func openGuard(ctx context.Context, kept *store.Store, s note.Signer, tree treeReader) (*guard, error) {
	register := kept.Guard
	b, _, err := register.Load(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: without it nobody knows what this log signed last, and it must not sign again", register.Name())
	}
	if err != nil {
		return nil, err
	}
	if to, _, moved := folder.Moved(b); moved {
		return nil, fmt.Errorf("%s: this log was moved to %s, and is served from there: `poclog log move` goes on with a move that was stopped", register.Name(), to)
	}
	g := &guard{Signer: s, register: register, shared: kept.Shared, tree: tree}
	if g.last, err = tlogpolicy.ParseCheckpoint(b); err != nil {
		return nil, fmt.Errorf("%s: %w", register.Name(), err)
	}
	if g.last.Origin != s.Name() {
		return nil, fmt.Errorf("%s is of log %q, not %q", register.Name(), g.last.Origin, s.Name())
	}
	g.size, g.tried = g.last.Size, g.last
	root, err := rootOf(ctx, g.last.Size, tree)
	if err != nil {
		return nil, fmt.Errorf("the log signed size %d, and its tiles do not reach that far: it was restored from an older copy, or lost writes: %w", g.last.Size, err)
	}
	if !bytes.Equal(root, g.last.Root[:]) {
		return nil, fmt.Errorf("the log signed size %d with root %x, and its tiles have %x: it is another history", g.last.Size, g.last.Root, root)
	}
	return g, nil
}

// checkState compares Tessera's own state with the guard and the tiles, before Tessera sees it:
// where its state is missing or behind, Tessera would write a second history over the first one's
// tiles.
func (g *guard) checkState(ctx context.Context, tiles store.Tiles) error {
	state, err := tiles.State(ctx)
	if err != nil {
		return err
	}
	if !state.Written {
		if g.last.Size == 0 {
			return nil // it was never served
		}
		return fmt.Errorf("the log signed size %d, and the state of its tree is lost", g.last.Size)
	}
	if state.Size < g.last.Size {
		return fmt.Errorf("the log signed size %d, and its tree is at size %d: it was restored from an older copy, or lost writes", g.last.Size, state.Size)
	}
	root, err := rootOf(ctx, state.Size, g.tree)
	if err != nil {
		return fmt.Errorf("the log's tree is at size %d, and its tiles do not reach that far: %w", state.Size, err)
	}
	if !bytes.Equal(root, state.Root) {
		return fmt.Errorf("the log's tree has root %x at size %d, and its tiles have %x", state.Root, state.Size, root)
	}
	return nil
}

// rangeOf returns the compact range of the first n leaves from the tiles.
func rangeOf(ctx context.Context, n uint64, tree treeReader) (*compact.Range, error) {
	factory := &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	if n == 0 {
		return factory.NewEmptyRange(0), nil
	}
	nodes, err := client.FetchRangeNodes(ctx, n, tree.ReadTile)
	if err != nil {
		return nil, err
	}
	return factory.NewRange(0, n, nodes)
}

// rehash makes the range of the leaves below a size from the entries, and calls each after
// every leaf.
func rehash(ctx context.Context, size uint64, tree store.Reader, each func(r *compact.Range, leaf []byte) error) (*compact.Range, error) {
	r, err := rangeOf(ctx, 0, tree)
	if err != nil {
		return nil, err
	}
	sized := func(context.Context) (uint64, error) { return size, nil }
	for e, err := range client.Entries(client.EntryBundles(ctx, 8, sized, tree.ReadEntryBundle, 0, size), unbundle) {
		if err == nil && e.Index >= size {
			break
		}
		if err == nil {
			err = r.Append(leafHash(e.Entry), nil)
		}
		if err == nil {
			err = each(r, e.Entry)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.End() != size {
		return nil, fmt.Errorf("%d entries are there: want %d", r.End(), size)
	}
	return r, nil
}

// rootOf computes the root of the first n leaves from the tiles.
func rootOf(ctx context.Context, n uint64, tree treeReader) ([]byte, error) {
	r, err := rangeOf(ctx, n, tree)
	if err != nil {
		return nil, err
	}
	return rootOfRange(r)
}

func leafHash(entry []byte) []byte { return rfc6962.DefaultHasher.HashLeaf(entry) }

func rootOfRange(r *compact.Range) ([]byte, error) {
	if r.End() == 0 {
		return emptyRoot[:], nil
	}
	return r.GetRootHash(nil)
}

// Sign signs a checkpoint's text, if its tree is what the tiles hold and extends the last tree that
// was signed.
func (g *guard) Sign(msg []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.keep(msg)
	if err != nil {
		err = fmt.Errorf("refuse to sign: %w", err)
		g.tell(err)
		return nil, err
	}
	sig, err := g.Signer.Sign(msg)
	g.tell(err)
	return sig, err
}

// tell notes how signing went, for state.
func (g *guard) tell(err error) {
	g.told.Lock()
	defer g.told.Unlock()
	g.size = g.last.Size
	if g.err = err; err == nil {
		g.at = time.Now()
	} else {
		g.failed = time.Now()
	}
}

// Times and tries of a signature.
const (
	guardTimeout = 30 * time.Second
	guardTries   = 5
)

// keep proves that a checkpoint may be signed, and keeps it. Where another process has signed
// meanwhile it begins again from that.
func (g *guard) keep(msg []byte) error {
	next, err := tlogpolicy.ParseCheckpoint(msg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardTimeout)
	defer cancel()
	for range guardTries {
		if err = g.swap(ctx, next, msg); !g.shared || !errors.Is(err, store.ErrChanged) {
			return err
		}
	}
	return err
}

func (g *guard) swap(ctx context.Context, next tlogpolicy.Checkpoint, msg []byte) error {
	version, err := g.load(ctx)
	if err != nil {
		return err
	}
	if err := g.extends(ctx, next); err != nil {
		return err
	}
	if next == g.last && g.tried == g.last {
		return nil
	}
	// Where writing fails the register holds the last checkpoint or this one, whose signature does not
	// exist yet. Either may be in it at the next try, which writes again.
	g.tried = next
	if err := g.register.Swap(ctx, version, msg); err != nil {
		return fmt.Errorf("keep the %s: %w", g.register.Name(), err)
	}
	g.last = next
	return nil
}

// load reads the register. If it is another's, it must be so: of a folder locks keep others out,
// and on file systems where they do not, this does. What processes share never goes back.
func (g *guard) load(ctx context.Context) (version string, err error) {
	b, version, err := g.register.Load(ctx)
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", g.register.Name(), err)
	}
	kept, err := tlogpolicy.ParseCheckpoint(b)
	switch {
	case err == nil && (kept == g.last || kept == g.tried):
		if g.shared {
			g.last, g.tried = kept, kept
		}
		return version, nil
	case !g.shared:
		return "", fmt.Errorf("%s is not what this process left: another signs with it", g.register.Name())
	case err != nil || kept.Origin != g.last.Origin || kept.Size <= g.last.Size:
		return "", fmt.Errorf("%s went back, or holds another history: it was restored, and nothing is signed until an operator looked", g.register.Name())
	}
	g.last, g.tried = kept, kept
	return version, nil
}

// extends proves that a tree extends the last one: by a consistency proof from the tiles, and by
// the entries themselves. Sizes alone would let a restored copy fork the log; tiles alone would let
// a bit that flipped between entry and tile be signed for ever.
func (g *guard) extends(ctx context.Context, next tlogpolicy.Checkpoint) error {
	if next.Origin != g.last.Origin || next.Size < g.last.Size {
		return fmt.Errorf("checkpoint of %q at size %d after %q at size %d", next.Origin, next.Size, g.last.Origin, g.last.Size)
	}
	root, err := rootOf(ctx, next.Size, g.tree)
	if err != nil {
		return fmt.Errorf("compute the root at size %d: %w", next.Size, err)
	}
	if !bytes.Equal(root, next.Root[:]) {
		return fmt.Errorf("root %x at size %d: the tiles have %x", next.Root, next.Size, root)
	}
	if g.last.Size == next.Size {
		if next.Root != g.last.Root {
			return fmt.Errorf("root %x at size %d, which was signed with %x", next.Root, next.Size, g.last.Root)
		}
		return nil
	}
	if err := g.consistent(ctx, next); err != nil {
		return err
	}
	return g.written(ctx, next)
}

// consistent proves a larger tree consistent with the last one, from the tiles.
func (g *guard) consistent(ctx context.Context, next tlogpolicy.Checkpoint) error {
	if g.last.Size == 0 {
		return nil // everything extends nothing
	}
	pb, err := client.NewProofBuilder(ctx, next.Size, g.tree.ReadTile)
	if err != nil {
		return fmt.Errorf("prove consistency: %w", err)
	}
	path, err := pb.ConsistencyProof(ctx, g.last.Size, next.Size)
	if err != nil {
		return fmt.Errorf("prove consistency: %w", err)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, g.last.Size, next.Size, path, g.last.Root[:], next.Root[:]); err != nil {
		return fmt.Errorf("size %d does not extend size %d, which was signed: %w", next.Size, g.last.Size, err)
	}
	return nil
}

// written computes the root of a larger tree from the last one and the entries that were written
// since.
func (g *guard) written(ctx context.Context, next tlogpolicy.Checkpoint) error {
	r, err := rangeOf(ctx, g.last.Size, g.tree)
	if err != nil {
		return fmt.Errorf("compute the root at size %d: %w", g.last.Size, err)
	}
	for r.End() < next.Size {
		i := r.End() / layout.EntryBundleWidth
		bundle, err := client.GetEntryBundle(ctx, g.tree.ReadEntryBundle, i, next.Size)
		if err != nil {
			return fmt.Errorf("read the entries from %d: %w", r.End(), err)
		}
		have := r.End() - i*layout.EntryBundleWidth
		want := min(next.Size-i*layout.EntryBundleWidth, layout.EntryBundleWidth)
		if uint64(len(bundle.Entries)) < want {
			return fmt.Errorf("entry bundle %d has %d entries: want %d", i, len(bundle.Entries), want)
		}
		for _, e := range bundle.Entries[have:want] {
			if err := r.Append(leafHash(e), nil); err != nil {
				return fmt.Errorf("compute the root at size %d: %w", next.Size, err)
			}
		}
	}
	root, err := rootOfRange(r)
	if err != nil {
		return fmt.Errorf("compute the root at size %d: %w", next.Size, err)
	}
	if !bytes.Equal(root, next.Root[:]) {
		return fmt.Errorf("root %x at size %d: the entries have %x", next.Root, next.Size, root)
	}
	return nil
}

// state returns when the guard last signed, the size that it signed or last tried to, and why it
// did not, if so.
func (g *guard) state() (at time.Time, size uint64, err error) {
	g.told.Lock()
	defer g.told.Unlock()
	return g.at, g.size, g.err
}

// refusal is why nothing is signed, or nil. What another process published since then shows that it
// has passed.
func (g *guard) refusal(published time.Time) error {
	g.told.Lock()
	defer g.told.Unlock()
	if g.shared && published.After(g.failed) {
		return nil
	}
	return g.err
}
