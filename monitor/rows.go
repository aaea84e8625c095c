package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/poclog/poclog/internal/durable"
)

// batchRows is how many records are made durable at once, at most.
var batchRows = 1 << 14 // a variable for the tests alone

// errStale says that the database is older than the records beside it.
var errStale = errors.New("the folder's database is older than its records, as after a restore: make a new monitor instead")

// A rowFile holds the records of one log, record n at n·rowSize. Only what lies below the cursor
// counts: a process that was killed may leave rows beyond it, at most a batch, which the next one
// overwrites.
type rowFile struct {
	f *os.File
}

func rowPath(dir string, log int) string {
	return filepath.Join(dir, recordsDir, strconv.Itoa(log)+".rows")
}

// createRows makes an empty records file, durably, unless there is one.
func createRows(dir string, log int) error {
	if err := durable.Create(rowPath(dir, log), nil, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create the records: %w", err)
	}
	return nil
}

// openRows opens the records of a log whose cursor is at next. A file that is too short, or longer
// than a killed process leaves it, is not the cursor's.
func openRows(dir string, log int, next uint64, flag int) (*rowFile, error) {
	f, err := os.OpenFile(rowPath(dir, log), flag, 0)
	if err != nil {
		return nil, fmt.Errorf("open the records: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the records: %w", err), f.Close())
	}
	if have := uint64(info.Size()); have < next*rowSize {
		return nil, errors.Join(fmt.Errorf("open the records %s: %d bytes: the cursor at %d wants %d", f.Name(), have, next, next*rowSize), f.Close())
	}
	return &rowFile{f}, nil
}

// checkFresh refuses records that go on for longer than a killed process can leave them.
func (r *rowFile) checkFresh(next uint64) error {
	info, err := r.f.Stat()
	if err != nil {
		return fmt.Errorf("open the records: %w", err)
	}
	if uint64(info.Size()) > (next+uint64(batchRows))*rowSize {
		return fmt.Errorf("open the records %s: %w", r.f.Name(), errStale)
	}
	return nil
}

func (r *rowFile) close() error { return r.f.Close() }

// A block is consecutive rows as they lie in the file.
type block []byte

func newBlock(rows int) block { return make(block, rows*rowSize) }

func (b block) len() int       { return len(b) / rowSize }
func (b block) row(i int) *row { return (*row)(b[i*rowSize : (i+1)*rowSize]) }

// write puts rows at an index. They are durable once it returns.
func (r *rowFile) write(at uint64, rows block) error {
	if _, err := r.f.WriteAt(rows, int64(at)*rowSize); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	if err := r.f.Sync(); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	return nil
}

// read fills rows from an index on, and checks them. An error is a folderError.
func (r *rowFile) read(at uint64, rows block) error {
	if n, err := r.f.ReadAt(rows, int64(at)*rowSize); err != nil && !(errors.Is(err, io.EOF) && n == len(rows)) {
		return &folderError{fmt.Errorf("read records from %d on: %w", at, err)}
	}
	for i := range rows.len() {
		if !rows.row(i).sealed(at + uint64(i)) {
			return &folderError{fmt.Errorf("read records: %s: record %d is damaged", r.f.Name(), at+uint64(i))}
		}
	}
	return nil
}

// one reads one row.
func (r *rowFile) one(at uint64) (*row, error) {
	b := newBlock(1)
	return b.row(0), r.read(at, b)
}

// maxRead is how many rows are read at once, after the first few: who looks for one mostly finds it
// near.
const (
	minRead = 32
	maxRead = 1 << 10
)

// each gives the rows from an index up to another, in order, until yield returns false or the
// context ends. A row is good until the next one.
func (r *rowFile) each(ctx context.Context, from, to uint64, yield func(index uint64, row *row) bool) error {
	var buf block
	for n := uint64(minRead); from < to; n = min(2*n, maxRead) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n = min(n, to-from)
		if uint64(buf.len()) < n {
			buf = newBlock(int(n))
		}
		part := buf[:n*rowSize]
		if err := r.read(from, part); err != nil {
			return err
		}
		for i := range part.len() {
			if !yield(from+uint64(i), part.row(i)) {
				return nil
			}
		}
		from += n
	}
	return nil
}
