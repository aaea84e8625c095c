// Package pause waits, as everything here waits between two tries: until a time has passed, or
// nobody wants the result any more.
package pause

import (
	"context"
	"time"
)

// For waits for d. It returns the cause of the context's end if that comes first.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
