package mysqls3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/log/store"
)

// Keys of kept checkpoints. Of a size the first one that was seen is kept: the key is written once,
// by whichever front end comes first.
const (
	bySize   = "checkpoints/size/"    // 20 digits: all of the last days
	byIndex  = "checkpoints/indexed/" // 20 digits: those that index entries name
	byDigest = "checkpoints/digest/"  // 64 digits: the same
	sweepAll = time.Hour              // between two looks for old ones
	sweepMax = 1000                   // removed in one look
)

func sized(prefix string, size uint64) string { return fmt.Sprintf("%s%020d", prefix, size) }

// checkpoints keep checkpoints as objects. Keys ascend with sizes, so that a list finds the first of
// at least a size.
type checkpoints struct {
	bucket *bucket

	mu    sync.Mutex // guards what follows
	swept time.Time
	spans []span // the oldest first
}

// A span is of entries that one checkpoint covered first.
type span struct {
	from, size uint64
	signed     []byte
}

// Bounds of spans. A front end may keep the checkpoint before one that another kept a moment ago.
const (
	maxSpans  = 256
	spanKnown = 5 * time.Minute // since a checkpoint was seen
)

// Put keeps a checkpoint.
func (c *checkpoints) Put(ctx context.Context, size uint64, seen time.Time, signed []byte, indexed bool) error {
	p := put{body: signed, seen: seen, contentType: checkpointType}
	names := []string{sized(bySize, size)}
	if indexed {
		names = append(names, byDigest+poclog.Sum(signed).String(), sized(byIndex, size))
	}
	for _, name := range names {
		if err := c.bucket.putNew(ctx, name, p); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("keep a checkpoint: %w", err)
		}
	}
	return c.sweep(ctx, seen)
}

// sweep removes old checkpoints that no index entry names, now and then.
func (c *checkpoints) sweep(ctx context.Context, now time.Time) error {
	c.mu.Lock()
	due := now.Sub(c.swept) > sweepAll
	if due {
		c.swept = now
	}
	c.mu.Unlock()
	if !due {
		return nil
	}
	names, err := c.bucket.list(ctx, bySize, "", sweepMax)
	if err != nil {
		return err
	}
	for _, name := range names {
		seen, err := c.bucket.seen(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another front end removed it
		}
		if err != nil {
			return err
		}
		if now.Sub(seen) <= store.KeepCovering {
			return nil
		}
		if err := c.bucket.remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Get returns the checkpoint of a digest.
func (c *checkpoints) Get(ctx context.Context, digest poclog.Digest) ([]byte, error) {
	return c.read(ctx, byDigest+digest.String())
}

// Covering returns the first checkpoint that is known to have covered an entry. Entries of which one
// was looked for are in memory: many of one dossier have the same.
func (c *checkpoints) Covering(ctx context.Context, number uint64) ([]byte, error) {
	if signed := c.spanOf(number); signed != nil {
		return signed, nil
	}
	name, err := c.after(ctx, number)
	if err != nil || name == "" {
		return nil, err
	}
	o, err := c.object(ctx, name)
	if err != nil {
		return nil, err
	}
	if size, err := sizeOf(name); err == nil && len(o.body) > 0 && time.Since(o.seen) > spanKnown {
		c.remember(span{number, size, o.body})
	}
	return o.body, nil
}

func (c *checkpoints) spanOf(number uint64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.from <= number && number < s.size {
			return s.signed
		}
	}
	return nil
}

// remember adds a span, or widens the one of its checkpoint.
func (c *checkpoints) remember(s span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.spans, func(have span) bool { return have.size == s.size }); i >= 0 {
		c.spans[i].from = min(c.spans[i].from, s.from)
		return
	}
	if len(c.spans) >= maxSpans {
		c.spans = slices.Delete(c.spans, 0, 1)
	}
	c.spans = append(c.spans, s)
}

func sizeOf(name string) (size uint64, err error) {
	if _, err := fmt.Sscanf(name[len(name)-20:], "%d", &size); err != nil {
		return 0, fmt.Errorf("kept checkpoint %s: %w", name, err)
	}
	return size, nil
}

// after returns the key of the smallest checkpoint that is larger than a size, or "".
func (c *checkpoints) after(ctx context.Context, size uint64) (string, error) {
	best := ""
	for _, prefix := range []string{bySize, byIndex} {
		names, err := c.bucket.list(ctx, prefix, sized(prefix, size), 1)
		if err != nil {
			return "", err
		}
		if len(names) > 0 && (best == "" || names[0][len(prefix):] < best[len(bySize):]) {
			best = names[0]
		}
	}
	return best, nil
}

// Before returns the largest checkpoint that was seen by a time. Sizes and times ascend together: it
// doubles the size until a checkpoint is too late, and then halves what is left.
func (c *checkpoints) Before(ctx context.Context, t time.Time) ([]byte, error) {
	best, low, high := "", uint64(1), uint64(0) // high 0: not known yet
	for next := low; high == 0 || low < high; {
		name, size, seen, err := c.first(ctx, next)
		if err != nil {
			return nil, err
		}
		if name == "" || seen.After(t) {
			high = next
		} else {
			best, low = name, size+1
		}
		if next = 2 * low; high > 0 {
			next = low + (high-low)/2
		}
	}
	if best == "" {
		return nil, nil
	}
	return c.read(ctx, best)
}

// first returns the smallest checkpoint of at least a size, which is not zero.
func (c *checkpoints) first(ctx context.Context, size uint64) (name string, at uint64, seen time.Time, err error) {
	if name, err = c.after(ctx, size-1); err != nil || name == "" {
		return "", 0, seen, err
	}
	if at, err = sizeOf(name); err != nil {
		return "", 0, seen, err
	}
	seen, err = c.bucket.seen(ctx, name)
	return name, at, seen, err
}

func (c *checkpoints) read(ctx context.Context, name string) ([]byte, error) {
	o, err := c.object(ctx, name)
	return o.body, err
}

// object reads a kept checkpoint. One that is not there has no body.
func (c *checkpoints) object(ctx context.Context, name string) (object, error) {
	o, err := c.bucket.get(ctx, name, maxRegister)
	if errors.Is(err, fs.ErrNotExist) {
		return object{}, nil
	}
	if err != nil {
		return object{}, fmt.Errorf("read the kept checkpoints: %w", err)
	}
	return o, nil
}
