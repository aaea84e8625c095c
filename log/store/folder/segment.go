package folder

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/poclog/poclog"
)

// A segment is a file of evidence to which one process appends. Its name is NUMBER-MARK.evidence,
// with a mark of 16 random bytes. It has records, one after another:
//
//	mark    16 bytes, as in the name
//	size    4 bytes, big-endian, at most maxFile
//	digest  32 bytes, SHA-256 of what follows
//	file    as many bytes as size says
//
// A record counts if its digest is right. All else is skipped up to the next mark: what a process
// that was killed left unfinished, what was erased, and damage. Nobody outside knows the mark, so
// that no evidence can hold it.
type segment struct {
	name string
	mark [markSize]byte
}

const (
	markSize   = 16
	headerSize = markSize + 4 + 32
	maxFile    = 16 << 20 // more than the largest file that a log keeps
	searchSize = 64 << 10 // in which the next mark is looked for at a time
)

var segmentName = regexp.MustCompile(`^[0-9]{8}-([0-9a-f]{32})\.evidence$`)

func newSegment(number int) segment {
	var s segment
	_, _ = rand.Read(s.mark[:]) // it never fails
	s.name = fmt.Sprintf("%08d-%x.evidence", number, s.mark)
	return s
}

func parseSegment(name string) (s segment, ok bool) {
	m := segmentName.FindStringSubmatch(name)
	if m == nil {
		return s, false
	}
	_, err := hex.Decode(s.mark[:], []byte(m[1]))
	s.name = name
	return s, err == nil
}

// segments returns those of a folder, ascending by number, and the number of the next.
func segments(dir string) (list []segment, next int, err error) {
	names, err := os.ReadDir(dir) // ascending
	if err != nil {
		return nil, 0, err
	}
	for _, n := range names {
		if s, ok := parseSegment(n.Name()); ok && n.Type().IsRegular() {
			list = append(list, s)
		}
	}
	if len(list) > 0 {
		last, err := strconv.Atoi(list[len(list)-1].name[:8])
		if err != nil {
			return nil, 0, err
		}
		next = last + 1
	}
	return list, next, nil
}

// appendTo appends the record of a file to bytes.
func (s segment) appendTo(b []byte, d poclog.Digest, file []byte) []byte {
	b = append(b, s.mark[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(file)))
	b = append(b, d[:]...)
	return append(b, file...)
}

// A record is what a mark leads to. If it is not right, its size and its digest may be another's.
type record struct {
	digest poclog.Digest
	place
	file  []byte // until the next record
	right bool   // the file has the digest
}

// A place is where the bytes of a file are.
type place struct {
	segment string
	at      int64
	size    int64
}

// walk calls a function with each record from an offset on, and with what may have been one. It
// returns where the segment ends.
func (s segment) walk(ctx context.Context, dir string, from int64, f func(r *record) error) (end int64, err error) {
	in, err := os.Open(filepath.Join(dir, s.name))
	if err != nil {
		return 0, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	end = info.Size()
	var header [headerSize]byte
	r := record{place: place{segment: s.name}}
	for at := from; at+headerSize <= end; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if _, err := in.ReadAt(header[:], at); err != nil {
			return 0, err
		}
		r.at = at + headerSize
		if [markSize]byte(header[:]) != s.mark {
			if at, err = s.search(in, at+1, end); err != nil {
				return 0, err
			}
			continue
		}
		r.size = min(int64(binary.BigEndian.Uint32(header[markSize:])), maxFile, end-r.at)
		r.digest = poclog.Digest(header[markSize+4:])
		r.file = slices.Grow(r.file[:0], int(r.size))[:r.size]
		if _, err := in.ReadAt(r.file, r.at); err != nil {
			return 0, err
		}
		r.right = poclog.Sum(r.file) == r.digest
		if err := f(&r); err != nil {
			return 0, err
		}
		at = r.at + r.size
		if !r.right { // its size may be wrong
			if at, err = s.search(in, r.at, end); err != nil {
				return 0, err
			}
		}
	}
	return end, nil
}

// search returns where the next mark is, or the end.
func (s segment) search(in io.ReaderAt, from, end int64) (int64, error) {
	b := make([]byte, searchSize)
	for at := from; at < end; at += searchSize - markSize + 1 {
		n, err := in.ReadAt(b[:min(searchSize, end-at)], at)
		if err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.Index(b[:n], s.mark[:]); i >= 0 {
			return at + int64(i), nil
		}
	}
	return end, nil
}
