package log

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/poclog/poclog"
)

// A store keeps evidence by digest: DIR/sha256/<two digits>/<64 digits>.
type store struct{ dir string }

func (s *store) path(d poclog.Digest) string {
	name := d.String()
	return filepath.Join(s.dir, "sha256", name[:2], name)
}

// put keeps a file. It is durable once put returns; a file that is there is not written again.
func (s *store) put(b []byte) (poclog.Blob, error) {
	blob := poclog.BlobOf(b)
	path := s.path(blob.SHA256)
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(b)) {
		return blob, nil
	}
	if err := s.write(path, b); err != nil {
		return blob, fmt.Errorf("keep evidence: %w", err)
	}
	return blob, nil
}

func (s *store) write(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := makeDirs(s.dir, dir); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	// Two submissions may write one file: a link never replaces.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// makeDirs makes the folders from root down to dir, durably.
func makeDirs(root, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if dir != root {
		if err := makeDirs(root, filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// get reads a file and checks its digest.
func (s *store) get(d poclog.Digest) ([]byte, error) {
	b, err := os.ReadFile(s.path(d))
	if err != nil {
		return nil, err
	}
	if got := poclog.Sum(b); got != d {
		return nil, fmt.Errorf("evidence %s: the file has digest %s", d, got)
	}
	return b, nil
}

// withheld reads the list of digests that a law withholds. A line that is no digest is an error: nothing is published by a slip.
func withheld(path string) (map[poclog.Digest]bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list := make(map[poclog.Digest]bool)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		d, err := poclog.ParseDigest(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list[d] = true
	}
	return list, nil
}
