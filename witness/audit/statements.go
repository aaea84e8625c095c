package audit

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// A stated is a statement entry that passed.
type stated struct {
	entry uint64
	key   registry.Line
	leaf  []byte
}

// statements verifies the statement entries of a batch, each by those before it. An entry that
// cannot be judged, because one before it did not pass, has no verdict of its own.
func (a *Auditor) statements(ctx context.Context, x *examiner, r *record, leaves []client.Leaf, parsed []poclog.Leaf, verdicts []verdict, policies []poclog.Blob) (passed []stated) {
	lines, broken := make(map[registry.Line]*registry.History), make(map[registry.Line]bool)
	for i := range leaves {
		e := parsed[i].Statement
		if e == nil {
			continue
		}
		key := registry.LineOf(&e.Envelope.Statement)
		if broken[key] {
			continue
		}
		h, err := lines[key], error(nil)
		if h == nil {
			h, err = a.state.history(ctx, r.origin, key)
			lines[key] = h
		}
		if err == nil {
			err = x.statement(ctx, e, r.origin, policies[i], h)
		}
		if verdicts[i] = classify(err); err != nil {
			broken[key] = true
			continue
		}
		passed = append(passed, stated{leaves[i].Index, key, leaves[i].Entry})
	}
	return passed
}

// statement holds an entry to its envelope, to the policy in force, and to what stands before it.
func (x *examiner) statement(ctx context.Context, e *poclog.StatementEntry, origin string, inForce poclog.Blob, h *registry.History) error {
	if e.Time.After(x.seen.Add(verify.MaxSkew)) {
		return verify.Failf(CheckAppraised, "the statement was taken at %s: a checkpoint that covers it was seen by %s", e.Time.Format(time.RFC3339), x.seen.Format(time.RFC3339))
	}
	file, err := x.fetch(ctx, "policy", inForce, true)
	if err != nil {
		return err
	}
	p, err := poclog.ParsePolicy(file)
	if err != nil {
		return verify.Failf(CheckPolicy, "%w", err)
	}
	registrars, err := registry.New(p.Registrars)
	if err != nil {
		return err
	}
	if err := registrars.CheckEntry(e, inForce, origin, h); err != nil {
		return err
	}
	for _, d := range e.Envelope.Statement.Kept() {
		var withheld *withheldError
		if _, err := x.fetch(ctx, "document", d, false); err != nil && !errors.As(err, &withheld) {
			return err
		}
	}
	_, err = h.Add(&e.Envelope.Statement, e.Time)
	return err
}

// history returns what a registrar stated of a subject, in the entries that were audited.
func (s *state) history(ctx context.Context, origin string, key registry.Line) (*registry.History, error) {
	h := new(registry.History)
	const query = "SELECT leaf FROM stated WHERE origin = ? AND registrar = ? AND subject = ? ORDER BY entry"
	err := s.each(ctx, query, []any{origin, key.Registrar, string(key.Subject)}, func(rows *sql.Rows) error {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return err
		}
		leaf, err := poclog.ParseLeaf(b)
		if err != nil {
			return err
		}
		if leaf.Statement == nil {
			return errors.New("it is no statement")
		}
		_, err = h.Add(&leaf.Statement.Envelope.Statement, leaf.Statement.Time)
		return err
	})
	return h, err
}
