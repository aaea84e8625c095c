package audit

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
)

// lists fills in what a report lists.
func (s *state) lists(ctx context.Context, origin string, from uint64, out *Report) error {
	out.Refused, out.SplitViews, out.Withheld = []Finding{}, []json.RawMessage{}, []Withheld{}
	err := s.each(ctx, "SELECT entry, chk, detail, seen, resolved FROM refused WHERE origin = ? ORDER BY entry", []any{origin}, func(rows *sql.Rows) error {
		var f Finding
		var seen, resolved int64
		if err := rows.Scan(&f.Entry, &f.Check, &f.Detail, &seen, &resolved); err != nil {
			return err
		}
		f.Seen, f.Resolved = instant(seen), instant(resolved)
		out.Refused = append(out.Refused, f)
		return nil
	})
	if err != nil {
		return err
	}
	err = s.each(ctx, "SELECT evidence FROM split WHERE origin = ? ORDER BY seen", []any{origin}, func(rows *sql.Rows) error {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return err
		}
		out.SplitViews = append(out.SplitViews, b)
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM withheld WHERE origin = ?", origin).Scan(&out.WithheldTotal); err != nil {
		return fmt.Errorf("read the audit state of %q: %w", origin, err)
	}
	const query = "SELECT entry, part, digest, seen FROM withheld WHERE origin = ? AND entry >= ? ORDER BY entry LIMIT ?"
	return s.each(ctx, query, []any{origin, int64(from), maxListed}, func(rows *sql.Rows) error {
		var w Withheld
		var digest string
		var seen int64
		if err := rows.Scan(&w.Entry, &w.Part, &digest, &seen); err != nil {
			return err
		}
		w.Seen = instant(seen)
		w.Digest, err = poclog.ParseDigest(digest)
		out.Withheld = append(out.Withheld, w)
		return err
	})
}

// each calls f for each row of a query.
func (s *state) each(ctx context.Context, query string, args []any, f func(*sql.Rows) error) error {
	if err := sqlite.Each(ctx, s.db.DB, query, args, f); err != nil {
		return fmt.Errorf("read the audit state: %w", err)
	}
	return nil
}

// faults counts what implicates a log.
func (s *state) faults(ctx context.Context, origin string) (n uint64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM refused WHERE origin = ? AND resolved = 0) + (SELECT count(*) FROM split WHERE origin = ?)`,
		origin, origin).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("read the audit state of %q: %w", origin, err)
	}
	return n, nil
}

// instant writes Unix seconds; 0 is no time.
func instant(unix int64) string {
	if unix == 0 {
		return ""
	}
	return time.Unix(unix, 0).UTC().Format(time.RFC3339)
}
