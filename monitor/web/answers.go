package web

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
)

// How long logs are asked for a receipt, and not asked again.
const (
	receiptTimeout = 10 * time.Second
	receiptKept    = time.Minute
	failureKept    = 10 * time.Second
	maxReceipts    = 1024    // answers that are kept
	largestKept    = 1 << 16 // bytes of one
)

// errBusy says that others wait for receipts.
var errBusy = errors.New("too many ask for receipts")

// A question is for a file of a log: the receipt of an entry or, with an identity, its dossier.
type question struct {
	origin string
	index  uint64
	id     poclog.Identity
}

// answers asks logs for files: for each once at a time, whoever wants it, and not again for a while.
type answers struct {
	s      *Server
	places *httpd.Shares
	flight singleflight.Group

	mu   sync.Mutex // guards kept
	kept map[question]keptAnswer
}

// A keptAnswer is what a log answered.
type keptAnswer struct {
	file  []byte
	err   error
	until time.Time
}

func newAnswers(s *Server) *answers {
	return &answers{s: s, places: httpd.NewShares(receiptPlaces), kept: make(map[question]keptAnswer)}
}

// get returns a file, or why there is none now.
func (c *answers) get(ctx context.Context, q question) ([]byte, error) {
	if k, ok := c.find(q); ok {
		return k.file, k.err
	}
	who := httpd.ClientOf(ctx)
	if !c.places.Take(who, 1) {
		c.s.http.Limited("receipts")
		return nil, errBusy
	}
	defer c.places.Give(who, 1)
	// Whoever comes first may go away while others wait for the same.
	answer := c.flight.DoChan(fmt.Sprint(q), func() (any, error) { return c.ask(context.WithoutCancel(ctx), q) })
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case a := <-answer:
		file, _ := a.Val.([]byte)
		return file, a.Err
	}
}

func (c *answers) find(q question) (keptAnswer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[q]
	return k, ok && c.s.cfg.Clock().Before(k.until)
}

// ask asks the log, and keeps what it answers.
func (c *answers) ask(ctx context.Context, q question) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, receiptTimeout)
	defer cancel()
	var file []byte
	var err error
	if q.id != "" {
		file, err = c.s.cfg.Dossiers(ctx, q.origin, q.id)
	} else {
		file, err = c.s.cfg.Receipts(ctx, q.origin, q.index)
	}
	k := keptAnswer{file, err, c.s.cfg.Clock().Add(receiptKept)}
	if err != nil {
		c.s.cfg.Logger.Warn("a log gives no file", "origin", q.origin, "entry", q.index, "identity", q.id, "error", err)
		k.until = c.s.cfg.Clock().Add(failureKept)
	}
	if len(file) > largestKept {
		return file, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= maxReceipts {
		clear(c.kept)
	}
	c.kept[q] = k
	return file, err
}
