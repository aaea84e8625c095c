package mysqls3

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// turnPause is how long who gets a turn waits before it looks what the one before left: what that
// one queued last is numbered within it, also where its turn ended with its connection.
const turnPause = time.Second

// turn waits for a lock of a name that one front end has at a time, and returns how many entries
// have numbers by then. The lock ends with its connection.
func (t *tiles) turn(ctx context.Context, name string) (release func(), next uint64, err error) {
	conn, err := t.db.Conn(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("take the turn %q: %w", name, explain(err))
	}
	h := fnv.New64a()
	h.Write([]byte(t.database))
	lock := fmt.Sprintf("poclog-%016x-%s", h.Sum64(), name)
	end := func() {
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		if _, err := conn.ExecContext(ctx, "DO RELEASE_LOCK(?)", lock); err != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // it ends, and the lock with it
		}
		_ = conn.Close() // of a connection that ended there is nothing to say
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	for got := (sql.NullInt64{}); got.Int64 != 1; {
		if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 2)", lock).Scan(&got); err != nil {
			return nil, 0, fmt.Errorf("take the turn %q: %w", name, explain(err))
		}
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
	}
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-time.After(turnPause):
	}
	if err := conn.QueryRowContext(ctx, "SELECT next FROM SeqCoord WHERE id = 0").Scan(&next); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, 0, fmt.Errorf("take the turn %q: %w", name, explain(err))
	}
	return end, next, nil
}
