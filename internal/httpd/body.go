package httpd

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// maxChunk is what a body takes of the memory at a time.
const maxChunk = 64 << 10

// ReadBody reads a request's body of at most limit bytes. What arrives takes memory, until the
// handler returns or calls [Wait]; what a peer only promises to send takes none. A body that comes
// slower than the least rate is cut off.
func (s *Server) ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, Refuse(KindTooLarge, "%d bytes: want at most %d", r.ContentLength, limit)
	}
	control := http.NewResponseController(w)
	in := &body{r: http.MaxBytesReader(w, r.Body, limit), control: control, least: s.cfg.LeastRate, begun: time.Now(), request: requestOf(r.Context()), server: s}
	b, err := readChunks(in)
	// While a request is answered the server watches its connection: a deadline would end the
	// request.
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, Refuse(KindMalformed, "read the body: %w", err)
	}
	var large *http.MaxBytesError
	var slow net.Error
	switch {
	case err == nil:
		return b, nil
	case errors.As(err, &large):
		return nil, Refuse(KindTooLarge, "over %d bytes", limit)
	case errors.Is(err, errMemory):
		s.metrics.limited.WithLabelValues("memory").Inc()
		return nil, Refuse(KindBusy, "%w", err)
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &slow) && slow.Timeout():
		s.metrics.limited.WithLabelValues("slow-body").Inc()
		return nil, &Refusal{Kind: KindSlow, Err: errors.New("the body came too slowly"), Cost: 5}
	}
	return nil, Refuse(KindMalformed, "read the body: %w", err)
}

// readChunks reads to the end. A slice that grows would leave several times its length behind as
// garbage.
func readChunks(r io.Reader) ([]byte, error) {
	var full []*[maxChunk]byte
	defer func() {
		for _, c := range full {
			chunks.Put(c)
		}
	}()
	length := 0
	for {
		if length == len(full)*maxChunk {
			full = append(full, chunks.Get().(*[maxChunk]byte))
		}
		n, err := r.Read(full[len(full)-1][length%maxChunk:])
		length += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	whole := make([]byte, 0, length)
	for _, c := range full {
		whole = append(whole, c[:min(maxChunk, length-len(whole))]...)
	}
	return whole, nil
}

var chunks = sync.Pool{New: func() any { return new([maxChunk]byte) }}

var errMemory = errors.New("too many requests are being read")

// A body takes memory for what is read through it.
type body struct {
	r       io.Reader
	control *http.ResponseController
	least   int64
	begun   time.Time
	read    int64
	request *request // nil: its memory is not counted
	server  *Server
}

func (b *body) Read(p []byte) (int, error) {
	p = p[:min(len(p), maxChunk)]
	due := b.begun.Add(rateGrace + time.Duration(b.read*int64(time.Second)/b.least))
	if err := b.control.SetReadDeadline(due); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := b.r.Read(p)
	if b.read += int64(n); n > 0 && b.request != nil {
		cost := int64(n) * b.server.cfg.Copies
		if !b.server.memory.Take(b.request.client, cost) {
			return 0, errMemory
		}
		b.request.memory += cost
	}
	return n, err
}
