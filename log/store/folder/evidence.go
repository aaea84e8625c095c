package folder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/verify"
)

// Limits of evidence.
const (
	maxSegment = 64 << 20 // bytes after which a segment is not appended to
	maxFlush   = 4 << 20  // bytes that are written at a time, if one file is not larger
	maxIntact  = 1 << 14  // digests remembered as intact
)

// evidence keeps files in segments. Those that many callers put at one time are written and synced
// together: Put returns after the fsync that made its file durable. A segment to which something
// could not be written is not used again, and the next one is another file.
type evidence struct {
	dir    string
	limit  int64 // maxSegment
	places *places

	mu       sync.Mutex // guards what follows
	files    durable.FS
	queue    []*put
	waiting  map[poclog.Digest]*put // in the queue, or being written
	flushing bool                   // a goroutine empties the queue
	intact   map[poclog.Digest]bool // files that were read, or written, and not found damaged since
	closed   bool

	segment segment // of this process; without a name: the next file begins one. flush alone uses it
}

// A put is a file that waits to be durable.
type put struct {
	digest poclog.Digest
	file   []byte
	done   chan struct{} // closed once err says what became of it
	err    error
}

func newEvidence(dir, index string, logger *slog.Logger) *evidence {
	return &evidence{dir: dir, limit: maxSegment, places: newPlaces(dir, index, logger), waiting: make(map[poclog.Digest]*put), intact: make(map[poclog.Digest]bool)}
}

// prepare makes the folder ready for writing: nobody else writes there.
func (s *evidence) prepare() error {
	if err := s.files.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	if err := durable.Sweep(s.dir); err != nil {
		return err
	}
	return s.places.serve(s.files)
}

// close syncs nothing: what was put is durable.
func (s *evidence) close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	return s.places.close()
}

// Put keeps a file. One that is there is not written again, and one that was damaged since is.
func (s *evidence) Put(ctx context.Context, b []byte) (poclog.Blob, error) {
	blob := poclog.BlobOf(b)
	at, there, err := s.there(ctx, blob, b)
	if err == nil && !there {
		err = s.append(blob.SHA256, b, at)
	}
	if err != nil {
		return blob, fmt.Errorf("keep evidence: %w", err)
	}
	s.setIntact(blob.SHA256)
	return blob, nil
}

// there says where a file is, and whether it is there as it should be. It was synced before it was
// found: by who wrote it, or at the start.
func (s *evidence) there(ctx context.Context, blob poclog.Blob, b []byte) (at place, ok bool, err error) {
	at, ok, err = s.places.find(ctx, blob.SHA256)
	if err != nil || !ok || !s.whole(at, blob) {
		return at, false, err
	}
	if s.isIntact(blob.SHA256) {
		return at, true, nil
	}
	have, err := s.read(at)
	return at, err == nil && bytes.Equal(have, b), nil
}

// append has a file written with those of others, and waits until it is durable. If it is in
// another place than the bad one by now, it is.
func (s *evidence) append(d poclog.Digest, b []byte, bad place) error {
	if len(b) > maxFile {
		return fmt.Errorf("a file of %d bytes: want at most %d", len(b), maxFile)
	}
	if err := s.places.room(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fs.ErrClosed
	}
	p := s.waiting[d]
	if p == nil {
		if at, ok := s.places.recent(d); ok && at != bad {
			s.mu.Unlock()
			return nil
		}
		p = &put{digest: d, file: b, done: make(chan struct{})}
		s.queue, s.waiting[d] = append(s.queue, p), p
	}
	if !s.flushing {
		s.flushing = true
		go s.flush()
	}
	s.mu.Unlock()
	<-p.done
	return p.err
}

// flush empties the queue. While it waits for the disk, the next ones gather.
func (s *evidence) flush() {
	var b []byte
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.flushing = false
			s.mu.Unlock()
			return
		}
		n, size := 0, 0
		for n < len(s.queue) && (n == 0 || size+len(s.queue[n].file) <= maxFlush) {
			size += headerSize + len(s.queue[n].file)
			n++
		}
		batch, files := s.queue[:n:n], s.files
		s.queue = s.queue[n:]
		s.mu.Unlock()
		var err error
		b, err = s.write(files, batch, b[:0])
		s.mu.Lock()
		for _, p := range batch {
			delete(s.waiting, p.digest)
			p.file, p.err = nil, err
			close(p.done)
		}
		s.mu.Unlock()
	}
}

// write appends the records of files to this process's segment, in the buffer b, and syncs it once.
// A segment is not held open: a disk with such a file cannot be made read-only.
func (s *evidence) write(files durable.FS, batch []*put, b []byte) ([]byte, error) {
	if err := s.begin(files); err != nil {
		return b, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, s.segment.name), os.O_RDWR, 0)
	if err != nil {
		s.segment = segment{}
		return b, err
	}
	defer f.Close()
	at, err := f.Seek(0, io.SeekEnd)
	found := make(map[poclog.Digest]place, len(batch))
	for _, p := range batch {
		found[p.digest] = place{s.segment.name, at + int64(len(b)) + headerSize, int64(len(p.file))}
		b = s.segment.appendTo(b, p.digest, p.file)
	}
	end := at + int64(len(b))
	if err == nil {
		err = files.Append(f, b)
	}
	if err == nil {
		s.places.add(s.segment.name, at, end, found)
	}
	if err != nil || end >= s.limit {
		s.segment = segment{}
	}
	return b, err
}

// begin begins a segment, if none is begun.
func (s *evidence) begin(files durable.FS) error {
	if s.segment.name != "" {
		return nil
	}
	_, number, err := segments(s.dir)
	if err != nil {
		return err
	}
	seg := newSegment(number)
	path := filepath.Join(s.dir, seg.name)
	if err := files.Create(path, nil, 0o644); err != nil {
		_ = os.Remove(path) // an empty one does no harm
		return err
	}
	s.segment = seg
	return nil
}

// Damaged is what this process found wrong with the folder's list of where files are, while another
// one serves the log, or none: it made one of its own. Nil: nothing.
func (s *evidence) Damaged() error {
	s.places.mu.RLock()
	defer s.places.mu.RUnlock()
	return s.places.damage
}

// Has reports whether a file is there with its length.
func (s *evidence) Has(ctx context.Context, b poclog.Blob) (bool, error) {
	at, ok, err := s.places.find(ctx, b.SHA256)
	return ok && s.whole(at, b), err
}

// whole reports whether a place has the length of a file, and is in its segment.
func (s *evidence) whole(at place, b poclog.Blob) bool {
	if at.size != int64(b.Size) {
		return false
	}
	info, err := os.Stat(filepath.Join(s.dir, at.segment))
	return err == nil && info.Size() >= at.at+at.size
}

func (s *evidence) isIntact(d poclog.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.intact[d]
}

func (s *evidence) setIntact(d poclog.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.intact) >= maxIntact {
		clear(s.intact)
	}
	s.intact[d] = true
}

// lost has the next Put of a file look again.
func (s *evidence) lost(d poclog.Digest, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.intact, d)
	return fmt.Errorf("evidence %s: %w", d, err)
}

// Get reads a file and checks its digest.
func (s *evidence) Get(ctx context.Context, d poclog.Digest) ([]byte, error) {
	f, size, err := s.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err = io.ReadFull(f, b); err == nil && poclog.Sum(b) != d {
		err = errors.New("it was changed while it was read")
	}
	if err != nil {
		return nil, s.lost(d, err)
	}
	return b, nil
}

func (s *evidence) read(at place) ([]byte, error) {
	f, err := os.Open(filepath.Join(s.dir, at.segment))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, at.size)
	_, err = f.ReadAt(b, at.at)
	return b, err
}

// A part is a file within a segment that is open.
type part struct {
	*io.SectionReader
	io.Closer
}

// Open opens a file of which it has checked the digest. Nobody changes a segment where it has been
// written: what was hashed is what is read.
func (s *evidence) Open(ctx context.Context, d poclog.Digest) (io.ReadCloser, int64, error) {
	at, ok, err := s.places.find(ctx, d)
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(filepath.Join(s.dir, at.segment))
	}
	if err != nil {
		return nil, 0, s.lost(d, err)
	}
	in := io.NewSectionReader(f, at.at, at.size)
	if err := check(in, d); err != nil {
		return nil, 0, errors.Join(s.lost(d, err), f.Close())
	}
	return part{in, f}, at.size, nil
}

// check checks the digest of a file, and goes back to its begin.
func check(in *io.SectionReader, d poclog.Digest) error {
	h := sha256.New()
	n, err := io.Copy(h, in)
	if err != nil {
		return err
	}
	if got := poclog.Digest(h.Sum(nil)); got != d {
		if blank(in) {
			return fmt.Errorf("it was erased: %w", fs.ErrNotExist)
		}
		return fmt.Errorf("the file has digest %s, in %d of %d bytes", got, n, in.Size())
	}
	_, err = in.Seek(0, io.SeekStart)
	return err
}

// blank reports whether a file is nothing but zeros.
func blank(in *io.SectionReader) bool {
	b := make([]byte, in.Size())
	_, err := in.ReadAt(b, 0)
	return err == nil && verify.IsZero(b)
}
