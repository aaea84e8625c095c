package log

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/folder"
	"github.com/poclog/poclog/log/store/mysqls3"
)

// fileStore says where a log is kept, if not in its own folder.
const fileStore = "store.json"

// openStore opens what a log's folder says that it is kept in: itself, or what store.json names.
func openStore(ctx context.Context, dir string, o folder.Options) (*store.Store, error) {
	file, err := os.ReadFile(filepath.Join(dir, fileStore))
	if errors.Is(err, fs.ErrNotExist) {
		o.Guard = cmp.Or(o.Guard, GuardPath(dir))
		return folder.Open(dir, o), nil
	}
	if err != nil {
		return nil, err
	}
	c, err := mysqls3.ParseConfig(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fileStore, err)
	}
	if o.Guard != "" {
		return nil, fmt.Errorf("a guard file is named, and %s names a guard object", fileStore)
	}
	return mysqls3.Open(ctx, c, filepath.Join(dir, fileLock))
}

// inTurn runs a function in its turn among all front ends. It is given the number of the next
// entry: those below it may be on their way into the tree.
func (s *Service) inTurn(ctx context.Context, name string, do func(next uint64) error) error {
	release, next, err := s.store.Turn(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	return do(next)
}
