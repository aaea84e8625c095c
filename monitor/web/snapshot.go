package web

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
)

// A snapshot is what lists show: drawn from all records, which takes seconds where there are
// millions, and so not for each request.
type snapshot struct {
	chips  []query.Chassis
	cvms   []query.CVM
	places []query.PlaceCount
	images []image
	days   []day
	proofs int

	registrars []*registrarRow

	of string // the logs' state that it was drawn from
}

// An image is a launch measurement with what ran from it.
type image struct {
	Measurement string
	Technology  string
	CVMs, Chips int
	First, Last time.Time
	Newest      monitor.EntryRef
}

// A day counts the proofs of one.
type day struct {
	Day            time.Time
	Bound, Lone    int // of level 2, and of level 0
	UpToDate, Late int // by TCB status, where there is one
}

// snapshots keeps the newest snapshot. One is drawn at a time, and again once the logs have grown
// and the last is a minute old, or more where it took long; who asks meanwhile gets the last.
type snapshots struct {
	s    *Server
	life context.Context // none is drawn beyond it

	mu      sync.Mutex // guards what follows
	last    *snapshot
	next    time.Time     // before which none is drawn again
	drawing chan struct{} // closed once the one that is being drawn is there; nil: none is
	err     error
}

const (
	snapshotLife = time.Minute
	snapshotTime = 10 * time.Minute
	// snapshotShare keeps drawing to a part of the time: a snapshot that takes so long is drawn again
	// after so many times as long.
	snapshotShare = 10
)

// begin draws the first snapshot, so that nobody waits for it, and returns what waits for the last
// once ctx has ended.
func (c *snapshots) begin(ctx context.Context) (wait func()) {
	c.life = ctx
	if logs, err := c.s.folder.Logs(ctx); err == nil {
		c.refresh(logs)
	}
	return func() {
		c.mu.Lock()
		drawing := c.drawing
		c.mu.Unlock()
		if drawing != nil {
			<-drawing
		}
	}
}

// get returns the last snapshot, or waits for the first.
func (c *snapshots) get(ctx context.Context) (*snapshot, error) {
	logs, err := c.s.folder.Logs(ctx)
	if err != nil {
		return nil, err
	}
	last, drawing := c.refresh(logs)
	if last != nil {
		return last, nil
	}
	select {
	case <-drawing:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.err
}

// refresh begins to draw where that is due, and returns what there is by now.
func (c *snapshots) refresh(logs []monitor.LogInfo) (last *snapshot, drawing chan struct{}) {
	of := fmt.Sprintln(statesOf(logs))
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.last == nil || c.last.of != of && !c.s.cfg.Clock().Before(c.next)
	if due && c.drawing == nil {
		c.drawing = make(chan struct{})
		go c.draw(of)
	}
	return c.last, c.drawing
}

// state says what the last snapshot was drawn from: pages change with it, too. Who asks only
// whether a page has changed has it drawn as well.
func (c *snapshots) state(logs []monitor.LogInfo) string {
	if last, _ := c.refresh(logs); last != nil {
		return last.of
	}
	return ""
}

func (c *snapshots) draw(of string) {
	ctx, cancel := context.WithTimeout(c.life, snapshotTime)
	defer cancel()
	begun := c.s.cfg.Clock()
	next, err := c.s.draw(ctx)
	if err != nil && c.life.Err() == nil {
		c.s.cfg.Logger.Warn("the explorer's lists are not drawn", "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err = err; err == nil {
		next.of = of
		c.last = next
	}
	now := c.s.cfg.Clock()
	c.next = now.Add(max(snapshotLife, snapshotShare*now.Sub(begun)))
	close(c.drawing)
	c.drawing = nil
}

// draw reads all records and alerts.
func (s *Server) draw(ctx context.Context) (*snapshot, error) {
	if err := s.folder.Index(ctx); err != nil {
		return nil, err
	}
	out := new(snapshot)
	records := func() query.Records { return s.folder.Records(ctx, monitor.Filter{Kind: monitor.KindProof}) }
	clashes, err := query.ClashesIn(ctx, s.folder, func(a *monitor.Alert) bool {
		_, ok := s.public(a)
		return ok
	})
	if err != nil {
		return nil, err
	}
	if out.chips, err = query.ChassisList(records(), query.Filter{}, clashes); err != nil {
		return nil, err
	}
	if out.cvms, err = query.CVMs(records(), query.Filter{}, clashes); err != nil {
		return nil, err
	}
	if out.places, err = query.Places(records(), query.Filter{Unproven: true}, clashes); err != nil {
		return nil, err
	}
	if err := out.count(records()); err != nil {
		return nil, err
	}
	out.images = imagesOf(out.cvms)
	if out.registrars, err = s.registrarsOf(ctx); err != nil {
		return nil, err
	}
	slices.SortStableFunc(out.chips, func(a, b query.Chassis) int { return b.Last.Compare(a.Last) })
	slices.SortStableFunc(out.cvms, func(a, b query.CVM) int { return b.Last.Compare(a.Last) })
	return out, nil
}

// count counts proofs by day.
func (out *snapshot) count(records query.Records) error {
	days := make(map[time.Time]*day)
	for r, err := range records {
		if err != nil {
			return err
		}
		out.proofs++
		at := r.Appraised.UTC().Truncate(24 * time.Hour)
		d := days[at]
		if d == nil {
			d = &day{Day: at}
			days[at] = d
		}
		if r.Level == poclog.LevelBound {
			d.Bound++
		} else {
			d.Lone++
		}
		switch r.TCB {
		case "":
		case "UpToDate":
			d.UpToDate++
		default:
			d.Late++
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(days), time.Time.Compare) {
		out.days = append(out.days, *days[at])
	}
	return nil
}

func imagesOf(cvms []query.CVM) []image {
	found := make(map[string]*image)
	chips := make(map[string]map[poclog.Identity]bool)
	for _, c := range cvms {
		i := found[c.Measurement]
		if i == nil {
			technology := "TDX"
			if c.Profile == poclog.SNP || c.Profile == poclog.AzureSNPvTPM {
				technology = "SEV-SNP"
			}
			i = &image{Measurement: c.Measurement, Technology: technology, First: c.First}
			found[c.Measurement], chips[c.Measurement] = i, make(map[poclog.Identity]bool)
		}
		i.CVMs++
		if c.Chip != "" {
			chips[c.Measurement][c.Chip] = true
		}
		if c.First.Before(i.First) {
			i.First = c.First
		}
		if !c.Last.Before(i.Last) {
			i.Last, i.Newest = c.Last, c.Newest
		}
	}
	list := make([]image, 0, len(found))
	for m, i := range found {
		i.Chips = len(chips[m])
		list = append(list, *i)
	}
	slices.SortFunc(list, func(a, b image) int { return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Measurement, b.Measurement)) })
	return list
}
