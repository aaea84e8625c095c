package testlog

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// A Server serves a log as C2SP tlog-tiles, as its fields stand: a lie is a change of them. It may
// be changed while it serves.
type Server struct {
	mu         sync.Mutex
	log        *Log
	checkpoint []byte
	// Corrupt, if set, changes what is answered for a path.
	corrupt func(path string, b []byte) []byte
}

// Set replaces what is served.
func (s *Server) Set(l *Log, checkpoint []byte, corrupt func(path string, b []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.checkpoint, s.corrupt = l, checkpoint, corrupt
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.answer(r.URL.Path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if s.corrupt != nil {
		b = s.corrupt(r.URL.Path, b)
	}
	if b == nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(b) // the client may be gone
}

func (s *Server) answer(path string) ([]byte, error) {
	if path == "/checkpoint" {
		return s.checkpoint, nil
	}
	rest, ok := strings.CutPrefix(path, "/tile/")
	if !ok {
		return nil, fmt.Errorf("no %q", path)
	}
	level, name, _ := strings.Cut(rest, "/")
	n, w, err := TileIndex(name)
	if err != nil {
		return nil, err
	}
	if level == "entries" {
		return s.entries(n, w)
	}
	l, err := strconv.Atoi(level)
	if err != nil {
		return nil, err
	}
	size := uint64(len(s.log.Leaves))
	if uint64(n*256+int64(w)) > size>>(8*l) {
		return nil, fmt.Errorf("beyond the tree")
	}
	return tlog.ReadTileData(tlog.Tile{H: 8, L: l, N: n, W: w}, s.log.cached())
}

func (s *Server) entries(n int64, w int) ([]byte, error) {
	var b []byte
	for i := n * 256; i < n*256+int64(w); i++ {
		if i >= int64(len(s.log.Leaves)) {
			return nil, fmt.Errorf("beyond the tree")
		}
		leaf := s.log.Leaves[i]
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(leaf))), leaf...)
	}
	return b, nil
}

// TileIndex reads the name of a tile below its level: "x001/234" or "x001/234.p/5".
func TileIndex(name string) (n int64, w int, err error) {
	name, partial, isPartial := strings.Cut(name, ".p/")
	w = 256
	if isPartial {
		if w, err = strconv.Atoi(partial); err != nil {
			return 0, 0, err
		}
	}
	for _, part := range strings.Split(name, "/") {
		d, err := strconv.Atoi(strings.TrimPrefix(part, "x"))
		if err != nil {
			return 0, 0, err
		}
		n = n*1000 + int64(d)
	}
	return n, w, nil
}

// cached serves the stored hashes of the whole log, computed once for its length.
func (l *Log) cached() tlog.HashReader {
	if l.hashes == nil || l.hashed != len(l.Leaves) {
		l.hashes, l.hashed = l.reader(uint64(len(l.Leaves))), len(l.Leaves)
	}
	return l.hashes
}
