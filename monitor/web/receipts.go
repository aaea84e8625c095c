package web

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/monitor"
)

// How long logs are asked for a receipt, and not asked again.
const (
	receiptTimeout = 10 * time.Second
	receiptKept    = time.Minute
	failureKept    = 10 * time.Second
	maxReceipts    = 1024 // that are kept
)

// errBusy says that others wait for receipts.
var errBusy = errors.New("too many ask for receipts")

// receipts asks logs for receipts: for each entry once at a time, whoever wants it, and not again
// for a while.
type receipts struct {
	s      *Server
	places *httpd.Shares
	flight singleflight.Group

	mu   sync.Mutex // guards kept
	kept map[monitor.EntryRef]keptReceipt
}

// A keptReceipt is what a log answered.
type keptReceipt struct {
	file  []byte
	err   error
	until time.Time
}

func newReceipts(s *Server) *receipts {
	return &receipts{s: s, places: httpd.NewShares(receiptPlaces), kept: make(map[monitor.EntryRef]keptReceipt)}
}

// get returns the receipt of an entry, or why there is none now.
func (c *receipts) get(ctx context.Context, e monitor.EntryRef) ([]byte, error) {
	if k, ok := c.find(e); ok {
		return k.file, k.err
	}
	who := httpd.ClientOf(ctx)
	if !c.places.Take(who, 1) {
		c.s.http.Limited("receipts")
		return nil, errBusy
	}
	defer c.places.Give(who, 1)
	// Whoever comes first may go away while others wait for the same.
	answer := c.flight.DoChan(fmt.Sprint(e), func() (any, error) { return c.ask(context.WithoutCancel(ctx), e) })
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case a := <-answer:
		file, _ := a.Val.([]byte)
		return file, a.Err
	}
}

func (c *receipts) find(e monitor.EntryRef) (keptReceipt, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[e]
	return k, ok && c.s.cfg.Clock().Before(k.until)
}

// ask asks the log, and keeps what it answers.
func (c *receipts) ask(ctx context.Context, e monitor.EntryRef) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, receiptTimeout)
	defer cancel()
	file, err := c.s.cfg.Receipts(ctx, e.Origin, e.Index)
	k := keptReceipt{file, err, c.s.cfg.Clock().Add(receiptKept)}
	if err != nil {
		c.s.cfg.Logger.Warn("no receipt", "origin", e.Origin, "entry", e.Index, "error", err)
		k.until = c.s.cfg.Clock().Add(failureKept)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= maxReceipts {
		clear(c.kept)
	}
	c.kept[e] = k
	return file, err
}
