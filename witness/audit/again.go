package audit

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
)

// How evidence that was withheld is asked for again: a law that lapses, or a mistake that is
// mended, gives the auditor's own keys their word back.
const (
	retryWithheld = 10 * time.Minute // between two attempts at one entry
	retriesAtOnce = 16               // entries in one look
)

// A missing is an entry that was withheld.
type missing struct {
	entry    uint64
	bound    time.Time // by which a checkpoint that covers it was seen
	judgedBy poclog.Blob
}

// again verifies entries whose evidence was withheld, some at a time. One that passes is no
// exception any more; one whose evidence is wrong, or missing without the law, is refused, and
// stops both signatures.
func (a *Auditor) again(ctx context.Context, cl *client.Client, r *record) error {
	due, err := a.state.due(ctx, r.origin, a.cfg.Clock().Add(-retryWithheld))
	if err != nil {
		return err
	}
	for _, m := range due {
		v, err := a.examineAgain(ctx, cl, r, m)
		if err != nil {
			return err
		}
		if err := a.state.settle(ctx, r.origin, m.entry, v, a.cfg.Clock()); err != nil {
			return err
		}
		switch {
		case v.err != nil: // it stays an exception
			a.cfg.Logger.Warn("an exception cannot be verified", "origin", r.origin, "entry", m.entry, "error", v.err)
		case v.refused != nil:
			a.cfg.Logger.Error("entry refused", "origin", r.origin, "entry", m.entry, "check", v.refused.Check, "detail", v.refused.Detail)
		case v.withheld == nil:
			a.cfg.Logger.Info("no exception any more", "origin", r.origin, "entry", m.entry)
		}
	}
	return nil
}

func (a *Auditor) examineAgain(ctx context.Context, cl *client.Client, r *record, m missing) (verdict, error) {
	for leaf, err := range cl.Entries(ctx, r.target.Tree, client.Range{From: m.entry, To: m.entry + 1}) {
		if err != nil {
			return verdict{}, fmt.Errorf("read entry %d: %w", m.entry, err)
		}
		x := &examiner{files: newFiles(cl.Evidence), appraise: a.cfg.Appraise, policy: r.policy, seen: m.bound}
		parsed, malformed := poclog.ParseLeaf(leaf.Entry)
		return classify(x.entry(ctx, leaf, parsed, malformed, m.judgedBy)), nil
	}
	return verdict{}, fmt.Errorf("read entry %d: there is none", m.entry)
}

// due lists exceptions that were not asked for since a time, those that waited longest first.
func (s *state) due(ctx context.Context, origin string, since time.Time) (list []missing, err error) {
	const query = "SELECT entry, bound, judged, judged_size FROM withheld WHERE origin = ? AND tried <= ? ORDER BY tried, entry LIMIT ?"
	err = s.each(ctx, query, []any{origin, since.Unix(), retriesAtOnce}, func(rows *sql.Rows) error {
		var m missing
		var bound int64
		var judged string
		if err := rows.Scan(&m.entry, &bound, &judged, &m.judgedBy.Size); err != nil {
			return err
		}
		m.bound = time.Unix(bound, 0).UTC()
		m.judgedBy.SHA256, err = poclog.ParseDigest(judged)
		list = append(list, m)
		return err
	})
	return list, err
}

// settle records what came of an exception that was asked for again.
func (s *state) settle(ctx context.Context, origin string, entry uint64, v verdict, at time.Time) error {
	err := s.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		exec := func(query string, args ...any) {
			if err == nil {
				_, err = tx.ExecContext(ctx, query, args...)
			}
		}
		exec("UPDATE withheld SET tried = ? WHERE origin = ? AND entry = ?", at.Unix(), origin, entry)
		switch {
		case v.err != nil:
			return err
		case v.refused != nil:
			exec(`INSERT INTO refused (origin, entry, chk, detail, seen) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT DO UPDATE SET chk = excluded.chk, detail = excluded.detail, resolved = 0`,
				origin, entry, string(v.refused.Check), oneLine(v.refused.Detail), at.Unix())
			return err
		case v.withheld == nil:
			exec("DELETE FROM withheld WHERE origin = ? AND entry = ?", origin, entry)
		}
		exec("UPDATE refused SET resolved = ? WHERE origin = ? AND entry = ? AND resolved = 0", at.Unix(), origin, entry)
		return err
	})
	if err != nil {
		return fmt.Errorf("record the audit of %q: %w", origin, err)
	}
	return nil
}
