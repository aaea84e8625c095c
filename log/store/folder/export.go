package folder

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
)

// EachTile calls a function with the path and the bytes of every tile and entry bundle of a log's
// folder.
func EachTile(ctx context.Context, dir string, f func(path string, b []byte) error) error {
	root := filepath.Join(dir, dirTiles)
	if _, err := os.Stat(filepath.Join(root, "tile")); os.IsNotExist(err) {
		return nil // nothing was written yet
	}
	return filepath.WalkDir(filepath.Join(root, "tile"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") {
			return nil // a folder, or unfinished
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return f(filepath.ToSlash(rel), b)
	})
}

// EachEvidence calls a function with every file of evidence that is whole. One that was kept twice
// comes twice.
func EachEvidence(ctx context.Context, dir string, f func(b []byte) error) error {
	dir = filepath.Join(dir, dirEvidence)
	list, _, err := segments(dir)
	if err != nil {
		return err
	}
	for _, s := range list {
		if _, err := s.walk(ctx, dir, 0, func(r *record) error {
			if !r.right {
				return nil
			}
			return f(bytes.Clone(r.file))
		}); err != nil {
			return fmt.Errorf("read evidence: %w", err)
		}
	}
	return nil
}

// Erase writes zeros over every copy of some files of evidence, damaged ones too, and returns how
// many copies there were. Nobody may serve the log.
func Erase(ctx context.Context, dir string, list map[poclog.Digest]bool) (n int, err error) {
	all, _, err := segments(filepath.Join(dir, dirEvidence))
	for _, s := range all {
		if err == nil {
			var more int
			more, err = s.erase(ctx, filepath.Join(dir, dirEvidence), list)
			n += more
		}
	}
	if err == nil {
		err = forget(ctx, filepath.Join(dir, dirState, filePlaces), list)
	}
	if err != nil {
		return n, fmt.Errorf("erase evidence: %w", err)
	}
	return n, nil
}

func (s segment) erase(ctx context.Context, dir string, list map[poclog.Digest]bool) (n int, err error) {
	f, err := os.OpenFile(filepath.Join(dir, s.name), os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, errors.Join(err, f.Close())
	}
	_, err = s.walk(ctx, dir, 0, func(r *record) error {
		if !list[r.digest] && !list[poclog.Sum(r.file)] {
			return nil
		}
		next := r.at + r.size
		if !r.right { // its size may be wrong
			if next, err = s.search(f, r.at, info.Size()); err != nil {
				return err
			}
		}
		if blank(io.NewSectionReader(f, r.at, next-r.at)) {
			return nil
		}
		n++
		_, err := f.WriteAt(make([]byte, next-r.at), r.at)
		return err
	})
	return n, errors.Join(err, f.Sync(), f.Close())
}

// EachCheckpoint calls a function with every kept checkpoint of a log's folder, ascending by size
// and time.
func EachCheckpoint(ctx context.Context, dir string, f func(size uint64, seen time.Time, signed []byte, indexed bool) error) error {
	c := &checkpoints{path: filepath.Join(dir, dirState, "checkpoints.db")}
	db, err := c.open()
	if err != nil {
		return err
	}
	defer c.close()
	return sqlite.Each(ctx, db.Read, `SELECT size, seen, signed, indexed FROM checkpoints ORDER BY size, seen`, nil, func(rows *sql.Rows) error {
		var size, seen int64
		var signed []byte
		var indexed bool
		if err := rows.Scan(&size, &seen, &signed, &indexed); err != nil {
			return err
		}
		return f(uint64(size), time.Unix(seen, 0), signed, indexed)
	})
}

// MarkMoved has the guard file say that its log is served elsewhere, before its text.
func (r *Register) MarkMoved(to string, text []byte) error {
	return r.Files.Replace(r.Path, append([]byte(movedTo+to+"\n"), text...), 0o644)
}

const movedTo = "moved to "

// Moved returns where a guard's text says that its log was moved, and the checkpoint's text after
// it.
func Moved(text []byte) (to string, checkpoint []byte, moved bool) {
	line, rest, ok := strings.Cut(string(text), "\n")
	if to, moved = strings.CutPrefix(line, movedTo); !ok || !moved {
		return "", text, false
	}
	return to, []byte(rest), true
}
