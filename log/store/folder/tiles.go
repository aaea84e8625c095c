package folder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/storage/posix"

	"github.com/poclog/poclog/log/store"
)

// tiles are a tree in a folder. It is read from its files, whether it can be written or not:
// writing needs Tessera, and Tessera needs a disk that can be written to.
type tiles struct {
	root     string
	interval time.Duration
	logger   *slog.Logger
}

// Open opens a file.
func (t *tiles) Open(_ context.Context, path string) (io.ReadCloser, int64, error) {
	if path == layout.CheckpointPath && t.logger != nil {
		if err := t.mendTime(); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.Open(filepath.Join(t.root, filepath.FromSlash(path)))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// mendTime sets the time of the checkpoint's file back if it is in the future. Tessera reckons the
// checkpoint's age by it, and would publish nothing until then.
func (t *tiles) mendTime() error {
	path := filepath.Join(t.root, layout.CheckpointPath)
	now := time.Now()
	info, err := os.Stat(path)
	if err != nil || !info.ModTime().After(now.Add(t.interval)) {
		return nil
	}
	if err := os.Chtimes(path, now, now); err != nil {
		return fmt.Errorf("the checkpoint's file has a time in the future, %s, until which nothing can be published: set it back: %w", info.ModTime().Format(time.RFC3339), err)
	}
	t.logger.Warn("the checkpoint's file had a time in the future, which would have stopped publication: it was set back", "time", info.ModTime())
	return nil
}

// State reads Tessera's state. A log that was never served has none: its tree is empty.
func (t *tiles) State(context.Context) (store.TreeState, error) {
	none := store.TreeState{Root: rfc6962.DefaultHasher.EmptyRoot()}
	b, err := os.ReadFile(filepath.Join(t.root, ".state", "treeState"))
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("read the state of the log's tree: %w", err)
	}
	var state struct {
		Size uint64 `json:"size"`
		Root []byte `json:"root"`
	}
	if err := json.Unmarshal(b, &state); err != nil {
		return none, fmt.Errorf("the state of the log's tree: %w", err)
	}
	return store.TreeState{Size: state.Size, Root: state.Root, Written: true}, nil
}

// Driver opens the tree for writing.
func (t *tiles) Driver(ctx context.Context, witnesses *http.Client) (tessera.Driver, func() error, error) {
	if err := sweep(t.root, 0); err != nil {
		return nil, nil, fmt.Errorf("remove what a full disk left: %w", err)
	}
	release, err := lockInMemory(filepath.Join(t.root, ".state"))
	if err != nil {
		return nil, nil, err
	}
	d, err := posix.New(ctx, posix.Config{Path: t.root, HTTPClient: witnesses})
	if err != nil {
		return nil, nil, errors.Join(err, release())
	}
	return d, release, nil
}
