package monitor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Covering returns the smallest signed checkpoint on record that covers an entry, or nil: a receipt
// under a later one shows by it when the entry was there.
func (m *Monitor) Covering(ctx context.Context, origin string, index uint64) (signed []byte, err error) {
	err = m.state.db.Read.QueryRowContext(ctx, "SELECT signed FROM covering, log WHERE covering.log = log.number AND origin = ? AND size > ? ORDER BY size LIMIT 1",
		origin, int64(index)).Scan(&signed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints of %q: %w", origin, err)
	}
	return signed, nil
}
