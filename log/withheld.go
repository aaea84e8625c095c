package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/log/store/folder"
)

// Erase overwrites the evidence that withheld.txt lists, in a folder that is not served, and
// returns how many copies there were. An empty guard is GuardPath. The entries stay.
func Erase(ctx context.Context, dir, guard string) (n int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("erase evidence of log %s: %w", dir, err)
		}
	}()
	if _, err := os.Stat(dir); err != nil {
		return 0, err
	}
	if _, err := os.Lstat(filepath.Join(dir, fileStore)); err == nil {
		return 0, fmt.Errorf("%s names a bucket: delete the object there, in all its versions", fileStore)
	}
	list, err := withheld(filepath.Join(dir, fileWithheld))
	if err != nil {
		return 0, err
	}
	if len(list) == 0 {
		return 0, fmt.Errorf("%s lists nothing", fileWithheld)
	}
	st, err := openStore(ctx, dir, folder.Options{Guard: guard})
	if err != nil {
		return 0, err
	}
	unlock, err := st.Lock()
	if err != nil {
		return 0, fmt.Errorf("stop it first: %w", err)
	}
	n, err = folder.Erase(ctx, dir, list)
	return n, errors.Join(err, unlock())
}

// withheld reads the list of digests that a law withholds. What is not understood whole is an
// error: nothing is published by a slip.
func withheld(path string) (map[poclog.Digest]bool, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what is withheld: %w", err)
	}
	list := make(map[poclog.Digest]bool)
	number := 0
	for line := range strings.Lines(string(b)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		d, err := poclog.ParseDigest(line)
		if err != nil {
			return nil, fmt.Errorf("read what is withheld: %s, line %d: %w", path, number, err)
		}
		list[d] = true
	}
	return list, nil
}

// publishable refuses an entry that names what a law withholds: nobody may see it, and what was erased
// would be kept again.
func (s *Service) publishable(leaf poclog.Leaf) error {
	list, err := s.withheld()
	if err != nil {
		return refuse(kindUnavailable, "%w", err)
	}
	for _, f := range filesOf(leaf) {
		if list[f.SHA256] {
			return refuse(kindWithheld, "%s %s: no new entry may name it", f.What, f.SHA256)
		}
	}
	return nil
}
