package log

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"golang.org/x/sync/errgroup"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/folder"
	"github.com/poclog/poclog/log/store/mysqls3"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// copies is how many objects are written at a time.
const copies = 16

// Move takes a stopped log from its folder into a database and S3, which must be new. First it
// marks the folder's guard as moved, so that no copy of the folder is served again. Then it copies,
// proves the copy whole, makes the new guard, and writes store.json. If it is stopped at any
// moment, the same call goes on. Say, if set, is told what is done.
func Move(ctx context.Context, dir, guard string, to *mysqls3.Config, say func(string)) error {
	file, err := to.Marshal()
	if err != nil {
		return fmt.Errorf("%s: %w", fileStore, err)
	}
	if have, err := os.ReadFile(filepath.Join(dir, fileStore)); err == nil {
		if bytes.Equal(have, file) {
			return nil // it was moved
		}
		return fmt.Errorf("%s says already where log %s is kept", fileStore, dir)
	}
	guard = cmp.Or(guard, GuardPath(dir))
	if say == nil {
		say = func(string) {}
	}
	m := &move{dir: dir, register: &folder.Register{Path: guard}, from: folder.Open(dir, folder.Options{Guard: guard}), say: say}
	unlock, err := m.from.Lock()
	if err != nil {
		return fmt.Errorf("move log %s: stop it first: %w", dir, err)
	}
	err = m.run(ctx, to)
	if err == nil {
		err = durable.Create(filepath.Join(dir, fileStore), file, 0o644)
	}
	if err = errors.Join(err, m.from.Close(), unlock()); err != nil {
		return fmt.Errorf("move log %s: %w", dir, err)
	}
	return nil
}

type move struct {
	dir      string
	register *folder.Register
	from     *store.Store
	to       *mysqls3.Target
	say      func(string)
}

func (m *move) run(ctx context.Context, config *mysqls3.Config) (err error) {
	if m.to, err = mysqls3.OpenTarget(ctx, config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.to.Close()) }()
	text, err := m.mark(ctx)
	if err != nil {
		return err
	}
	state, err := m.sound(ctx, text)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"tiles and entries", func(ctx context.Context) error { return m.copyTiles(ctx, state.Size) }}, {"evidence", m.copyEvidence}, {"kept checkpoints", m.copyCheckpoints}, {"published checkpoint", m.publish},
		{"proof that the copy is whole", func(ctx context.Context) error { return m.whole(ctx, state) }},
		{"tables", func(ctx context.Context) error { return m.to.Adopt(ctx, state) }},
		{"guard", func(ctx context.Context) error { return m.to.Guarded(ctx, text) }},
	} {
		m.say(step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// mark marks the guard as moved, and returns the checkpoint's text in it. Where the mark is there
// already, it must say the same.
func (m *move) mark(ctx context.Context) ([]byte, error) {
	b, _, err := m.register.Load(ctx)
	if err != nil {
		return nil, err
	}
	to, text, moved := folder.Moved(b)
	if moved {
		if to != m.to.Name {
			return nil, fmt.Errorf("%s: the log is being moved to %s, not to %s", m.register.Name(), to, m.to.Name)
		}
		return text, nil
	}
	if _, err := tlogpolicy.ParseCheckpoint(text); err != nil {
		return nil, fmt.Errorf("%s: %w", m.register.Name(), err)
	}
	if _, err := m.sound(ctx, text); err != nil {
		return nil, err
	}
	if _, _, err := m.to.Guard.Load(ctx); err == nil {
		return nil, fmt.Errorf("%s exists: want a new store", m.to.Guard.Name())
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s cannot be read: want a new store: %w", m.to.Guard.Name(), err)
	}
	if err := isNew(ctx, m.to.Store); err != nil {
		return nil, err
	}
	return text, m.register.MarkMoved(m.to.Name, text)
}

// sound holds the folder to its guard, and returns the tree that its driver has.
func (m *move) sound(ctx context.Context, text []byte) (store.TreeState, error) {
	state, err := m.from.Tiles.State(ctx)
	if err != nil {
		return state, err
	}
	last, err := tlogpolicy.ParseCheckpoint(text)
	if err != nil {
		return state, err
	}
	tiles := store.Reader{Tiles: m.from.Tiles}
	if len(state.Root) != len(last.Root) {
		return state, fmt.Errorf("the state of the log's tree has a root of %d bytes", len(state.Root))
	}
	if state.Size < last.Size {
		return state, fmt.Errorf("the log signed size %d, and its tree is at size %d", last.Size, state.Size)
	}
	for _, want := range []tlogpolicy.Checkpoint{last, {Size: state.Size, Root: [32]byte(state.Root)}} {
		root, err := rootOf(ctx, want.Size, tiles)
		if err != nil {
			return state, err
		}
		if !bytes.Equal(root, want.Root[:]) {
			return state, fmt.Errorf("the tiles have root %x at size %d: want %x", root, want.Size, want.Root)
		}
	}
	return state, nil
}

// A group copies files, many at a time.
func group(ctx context.Context, each func(g *errgroup.Group, ctx context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(copies)
	err := each(g, ctx)
	return errors.Join(g.Wait(), err)
}

// copyTiles leaves behind what is not in the tree: a log that was killed may have written tiles of
// entries that it never numbered.
func (m *move) copyTiles(ctx context.Context, size uint64) error {
	return group(ctx, func(g *errgroup.Group, ctx context.Context) error {
		return folder.EachTile(ctx, m.dir, func(path string, b []byte) error {
			level, index, width, err := parseTilePath("/" + path)
			if err == nil && inTree(level, index, width, size) {
				g.Go(func() error { return m.to.PutTile(ctx, path, b) })
			}
			return ctx.Err()
		})
	})
}

// copyEvidence copies what has the digest that it was kept under. What has not is damaged, and
// stays behind: the proof says whether an entry lacks it.
func (m *move) copyEvidence(ctx context.Context) error {
	return group(ctx, func(g *errgroup.Group, ctx context.Context) error {
		return folder.EachEvidence(ctx, m.dir, func(b []byte) error {
			g.Go(func() error { _, err := m.to.Evidence.Put(ctx, b); return err })
			return ctx.Err()
		})
	})
}

func (m *move) copyCheckpoints(ctx context.Context) error {
	return folder.EachCheckpoint(ctx, m.dir, func(size uint64, seen time.Time, signed []byte, indexed bool) error {
		return m.to.Checkpoints.Put(ctx, size, seen, signed, indexed)
	})
}

func (m *move) publish(ctx context.Context) error {
	signed, err := (store.Reader{Tiles: m.from.Tiles}).ReadCheckpoint(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it never published
	}
	if err != nil {
		return err
	}
	return m.to.Publish(ctx, signed)
}

// whole recomputes the tree from the copy's tiles and from its entries, and looks for the evidence
// of each entry. What a law withholds may be gone.
func (m *move) whole(ctx context.Context, state store.TreeState) error {
	copied := store.Reader{Tiles: m.to.Tiles}
	root, err := rootOf(ctx, state.Size, copied)
	if err != nil {
		return err
	}
	if !bytes.Equal(root, state.Root) {
		return fmt.Errorf("the copied tiles have root %x at size %d: want %x", root, state.Size, state.Root)
	}
	list, err := withheld(filepath.Join(m.dir, fileWithheld))
	if err != nil {
		return err
	}
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(copies)
	r, err := rehash(ctx, state.Size, copied, func(r *compact.Range, leaf []byte) error {
		number := r.End() - 1
		g.Go(func() error { return m.has(each, list, number, leaf) })
		return nil
	})
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	if root, err = rootOfRange(r); err != nil {
		return err
	}
	if !bytes.Equal(root, state.Root) {
		return fmt.Errorf("the copied entries have root %x at size %d: want %x", root, state.Size, state.Root)
	}
	return nil
}

func (m *move) has(ctx context.Context, withheld map[poclog.Digest]bool, number uint64, leaf []byte) error {
	l, err := poclog.ParseLeaf(leaf)
	if err != nil {
		return fmt.Errorf("entry %d: %w", number, err)
	}
	for _, f := range filesOf(l) {
		has, err := m.to.Evidence.Has(ctx, f.Blob)
		if err != nil {
			return err
		}
		if !has && !withheld[f.SHA256] {
			return fmt.Errorf("entry %d: its %s %s is not in the copy: submit the same bundle to the log before it is moved, or withhold it", number, f.What, f.SHA256)
		}
	}
	return nil
}
