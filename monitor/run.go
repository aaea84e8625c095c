package monitor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A Progress says how far a scan is.
type Progress struct {
	Origin      string
	Done, Total uint64 // of the entries that were new when it began
}

// Options say how to run.
type Options struct {
	Once     bool           // one look at every log, instead of following them
	Progress func(Progress) // is called after every bundle; nil: nobody is told. It must not block, and may be called concurrently

	// Round, if set, is called after every look at the logs, with what was found since the run
	// began. An error ends the run.
	Round func(context.Context, *Outcome) error
}

// An Outcome says what a run found.
type Outcome struct {
	// New counts the alerts that were kept and not silenced, by severity.
	New map[string]int
	// Trouble says of logs why they could not be followed to their end, by origin.
	Trouble map[string]error
	// Waiting counts the pairs of entries that could not be compared yet.
	Waiting int
	// IndexSlots and IndexBytes are what the index in memory holds, and takes.
	IndexSlots, IndexBytes int
}

// A run follows the logs of a folder. It holds the folder's lock.
type run struct {
	m    *Monitor
	opt  Options
	logs []*tail // by number; removed ones too, for their entries are compared

	// mu guards what follows, and what others read of a tail while it reads its log: terms, keyer,
	// tree and cursor.
	mu    sync.Mutex
	index *index
	out   Outcome

	cache leafCache                // of the goroutine that compares
	spent map[[2]int]time.Duration // comparing entries of two logs, in this round
}

// limited bounds how long others wait for one log, unless there is one round alone.
func (r *run) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.opt.Once {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, r.m.cfg.Turn)
}

// Run looks at every log once, or follows all until the context ends. Trouble with one log does not
// end it; the Outcome says what there was. An error means that the folder itself is not to be used,
// or that another process uses it.
func (m *Monitor) Run(ctx context.Context, opt Options) (*Outcome, error) {
	unlock, err := durable.TryLock(filepath.Join(m.dir, "run.lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("%s: another process runs this monitor", m.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the monitor's folder: %w", err)
	}
	defer unlock()
	if err := m.sweep(); err != nil {
		return nil, err
	}
	r := &run{m: m, opt: opt, index: newIndex(), out: Outcome{New: make(map[string]int), Trouble: make(map[string]error)}}
	defer r.close()
	for {
		if err := r.open(ctx); err != nil {
			return nil, err
		}
		if err := r.once(ctx); err != nil {
			return nil, err
		}
		if opt.Once || opt.Round != nil {
			if err := r.round(ctx); err != nil || opt.Once {
				return &r.out, err
			}
		}
		if err := pause.For(ctx, m.cfg.Interval); err != nil {
			return &r.out, nil
		}
	}
}

// round counts what waits, and calls whoever wants to know.
func (r *run) round(ctx context.Context) (err error) {
	if ctx.Err() != nil {
		return nil
	}
	r.out.IndexSlots, r.out.IndexBytes = r.index.size()
	if r.out.Waiting, err = r.m.state.waiting(ctx); err != nil || r.opt.Round == nil {
		return err
	}
	return r.opt.Round(ctx, &r.out)
}

// open loads the logs that are new, and what changed of the others.
func (r *run) open(ctx context.Context) error {
	list, err := r.m.state.logs(ctx)
	if err != nil {
		return err
	}
	for i, l := range list {
		if i < len(r.logs) {
			if err := r.logs[i].renew(l); err != nil {
				return err
			}
			continue
		}
		t, err := r.load(ctx, l)
		if err != nil {
			return err
		}
		r.logs = append(r.logs, t)
	}
	return nil
}

func (r *run) close() {
	for _, t := range r.logs {
		if err := errors.Join(t.rows.close(), t.indexes.close()); err != nil {
			r.m.cfg.Logger.Error("close the records", "origin", t.l.origin, "error", err)
		}
	}
}

func (r *run) tail(number int) *tail {
	for _, t := range r.logs {
		if t.l.number == number {
			return t
		}
	}
	return nil
}

func (r *run) tailOf(origin string) *tail {
	for _, t := range r.logs {
		if t.l.origin == origin {
			return t
		}
	}
	return nil
}

// once looks at every log that is due, side by side, and then does what is left: comparing pairs,
// and holding challenges to trees. An error is the folder's, never a log's.
func (r *run) once(ctx context.Context) error {
	var group sync.WaitGroup
	fatal := make(chan error, len(r.logs))
	for _, t := range r.logs {
		if t.l.removed || !r.opt.Once && r.m.cfg.Clock().Before(t.due) {
			continue
		}
		group.Go(func() {
			if err := t.visit(ctx); err != nil {
				fatal <- fmt.Errorf("log %q: %w", t.l.origin, err)
			}
		})
	}
	group.Wait()
	close(fatal)
	if err := <-fatal; err != nil && ctx.Err() == nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := r.settle(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// settle does what is left after entries were read: side by side it compares pairs, and holds
// challenges to trees. What that finds wrong is judged last.
func (r *run) settle(ctx context.Context) error {
	r.spent = make(map[[2]int]time.Duration)
	roots := make(chan error)
	go func() { roots <- r.checkRoots(ctx) }()
	err := r.comparePairs(ctx)
	if err := errors.Join(<-roots, err); err != nil {
		return err
	}
	return r.comparePairs(ctx)
}

func (r *run) checkRoots(ctx context.Context) error {
	for _, t := range r.logs {
		if err := t.checkRoots(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes files that a killed process had begun to write.
func (m *Monitor) sweep() error {
	for _, sub := range []string{contradictionsDir, splitViewsDir} {
		if err := durable.Sweep(filepath.Join(m.dir, sub)); err != nil {
			return fmt.Errorf("sweep the monitor's folder: %w", err)
		}
	}
	return nil
}

// A tail is the verified tail of one log.
type tail struct {
	r     *run
	l     *logState
	cl    *client.Client
	rows  *rowFile
	terms *terms
	keyer *keyer
	tree  tree

	views map[poclog.Digest]*tlogpolicy.View // checkpoints that were opened under the policy

	filling, writing batch        // entries come into one while the other is made durable
	done             <-chan error // of the batch that is being written; nil: none is

	indexes  indexes
	chips    *chipRows // nil before it is needed
	toldFull bool      // that there are more terms than are kept
	newest   int64     // Unix seconds: when the log says that it judged the newest fresh entry

	began time.Time     // of the last look
	busy  bool          // it ended among entries, of which there are many
	due   time.Time     // of the next look
	pause time.Duration // before it, if the last one failed
}
