package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
)

// A DossierOf says what a dossier is of.
type DossierOf struct {
	Names     []string  // see verify/index.ParseName; 1 to 64
	Since     time.Time // all that was logged from then on; zero: everything
	Intervals bool      // with the checkpoints that bound when each entry's evidence was made

	// Progress, if not nil, is told how many entries of how many are there.
	Progress func(done, total int)
}

// Dossier fetches a dossier, whose pages may come in several answers. It is not checked:
// verify/dossier.Check does that.
func (c *Client) Dossier(ctx context.Context, of DossierOf) (*poclog.Dossier, error) {
	q := url.Values{"name": of.Names}
	if !of.Since.IsZero() {
		q.Set("since", verify.Stamp(of.Since))
	}
	if of.Intervals {
		q.Set("intervals", "1")
	}
	file, err := c.get(ctx, "v1/dossiers?"+q.Encode(), poclog.MaxDossier)
	if err != nil {
		return nil, fmt.Errorf("fetch the dossier: %w", err)
	}
	d, err := poclog.ParseDossier(file)
	if err != nil {
		return nil, fmt.Errorf("fetch the dossier: %w", err)
	}
	if err := c.pages(ctx, d, of, len(file)); err != nil {
		return nil, fmt.Errorf("fetch the dossier: %w", err)
	}
	return d, nil
}

// pages fetches the entries that are missing, in the tree of the first answer.
func (c *Client) pages(ctx context.Context, d *poclog.Dossier, of DossierOf, fetched int) error {
	v, err := receipt.Open(d.Index, c.Policy)
	if err != nil {
		return err
	}
	if v.IndexEntry == nil {
		return fmt.Errorf("entry %d is no index entry", v.Index)
	}
	q := url.Values{"name": of.Names, "tree": {strconv.FormatUint(v.Size, 10)}, "index": {strconv.FormatUint(v.IndexEntry.Size, 10)}}
	if of.Intervals {
		q.Set("intervals", "1")
	}
	if d.Since != nil {
		since, err := c.Policy.Open(d.Since)
		if err != nil {
			return err
		}
		q.Set("from", strconv.FormatUint(since.Size, 10))
	}
	missing, total := listed(d)
	for {
		for _, p := range d.Pages[max(0, len(d.Pages)-1):] {
			for _, e := range p.Entries {
				delete(missing, e.Number)
			}
			q.Set("after", strconv.FormatUint(p.Entries[len(p.Entries)-1].Number, 10))
		}
		if of.Progress != nil {
			of.Progress(total-len(missing), total)
		}
		if len(missing) == 0 || len(d.Pages) == 0 {
			return nil
		}
		left := len(missing)
		file, err := c.get(ctx, "v1/dossiers?"+q.Encode(), poclog.MaxDossier)
		if err != nil {
			return err
		}
		if fetched += len(file); fetched > poclog.MaxDossier {
			return fmt.Errorf("over %d bytes: ask since a later time", poclog.MaxDossier)
		}
		p, err := poclog.ParseDossierPage(file)
		if err != nil {
			return err
		}
		d.Pages = append(d.Pages, *p)
		for _, e := range p.Entries {
			if missing[e.Number] {
				left--
			}
		}
		if left == len(missing) {
			return fmt.Errorf("the log sends entries that were not asked for, and not the %d that are missing", left)
		}
	}
}

// listed returns the numbers that the names list.
func listed(d *poclog.Dossier) (numbers map[uint64]bool, n int) {
	numbers = make(map[uint64]bool)
	for _, name := range d.Names {
		for _, x := range name.Numbers {
			numbers[x] = true
		}
	}
	return numbers, len(numbers)
}
