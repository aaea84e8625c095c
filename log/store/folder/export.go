package folder

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// EachTile calls a function with the path and the bytes of every tile and entry bundle of a log's
// folder.
func EachTile(ctx context.Context, dir string, f func(path string, b []byte) error) error {
	return each(ctx, filepath.Join(dir, dirTiles), "tile", f)
}

// EachEvidence calls a function with the path and the bytes of every file of evidence.
func EachEvidence(ctx context.Context, dir string, f func(path string, b []byte) error) error {
	return each(ctx, filepath.Join(dir, dirEvidence), "sha256", f)
}

func each(ctx context.Context, root, below string, f func(path string, b []byte) error) error {
	if _, err := os.Stat(filepath.Join(root, below)); os.IsNotExist(err) {
		return nil // nothing was written yet
	}
	return filepath.WalkDir(filepath.Join(root, below), func(path string, d fs.DirEntry, err error) error {
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

// EachCheckpoint calls a function with every kept checkpoint of a log's folder, ascending by size and
// time.
func EachCheckpoint(ctx context.Context, dir string, f func(size uint64, seen time.Time, signed []byte, indexed bool) error) error {
	c := &checkpoints{path: filepath.Join(dir, dirState, "checkpoints.db")}
	db, err := c.open()
	if err != nil {
		return err
	}
	defer c.close()
	rows, err := db.Read.QueryContext(ctx, `SELECT size, seen, signed, indexed FROM checkpoints ORDER BY size, seen`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var size, seen int64
		var signed []byte
		var indexed bool
		if err := rows.Scan(&size, &seen, &signed, &indexed); err != nil {
			return err
		}
		if err := f(uint64(size), time.Unix(seen, 0), signed, indexed); err != nil {
			return err
		}
	}
	return rows.Err()
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
