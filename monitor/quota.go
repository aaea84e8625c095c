package monitor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/verify/rule"
)

// maxOfSubject is how many alerts are kept of one rule, severity and subject. An identity that was
// claimed twice so often needs no further proof, and whoever has a part in a chip can raise alerts
// by the dozen.
const maxOfSubject = 64

// A quota bounds the alerts of one rule, severity and subject.
type quota struct {
	most  int64
	since int64 // Unix seconds: older ones do not count
}

// quotaOf is the quota of an alert that this monitor raises itself. What a log does, and what
// honest operation does, too, goes on for ever: these count within a day.
func quotaOf(a *Alert, now time.Time) quota {
	q := quota{most: maxOfSubject}
	if a.Severity == rule.Information || a.Severity == rule.Alert && strings.HasPrefix(string(a.Subject), "log:") {
		q.since = now.Add(-24 * time.Hour).Unix()
	}
	return q
}

// countOthers is SQL that counts the alerts, but one, that are in its quota. Its arguments, and
// then the bound, are those of quota.others.
const countOthers = "SELECT count(*) FROM alert WHERE subject = ? AND rule = ? AND severity = ? AND time >= ? AND id <> ?"

func (q quota) others(a *Alert) []any {
	return []any{a.Subject, a.Rule, a.Severity, q.since, a.ID, q.most}
}

// hasRoom reports whether an alert would be kept, or is.
func (m *Monitor) hasRoom(ctx context.Context, a *Alert) (ok bool, err error) {
	q := quotaOf(a, m.cfg.Clock())
	if err := m.state.db.QueryRowContext(ctx, "SELECT ("+countOthers+") < ?", q.others(a)...).Scan(&ok); err != nil {
		return false, fmt.Errorf("count the alerts: %w", err)
	}
	return ok, nil
}

// keep writes an alert's file below the folder, durably, and names it in the alert. An alert has
// one file, however often its finding is made; one that would not be kept has none.
func (m *Monitor) keep(ctx context.Context, a *Alert, folder, suffix string, content []byte) error {
	kept, err := m.hasFile(ctx, a)
	if err != nil || kept {
		return err
	}
	if ok, err := m.hasRoom(ctx, a); err != nil || !ok {
		return err
	}
	name := filepath.Join(folder, a.ID+suffix)
	if err := durable.Replace(filepath.Join(m.dir, name), content, 0o600); err != nil {
		return fmt.Errorf("keep the file of alert %s: %w", a.ID, err)
	}
	a.File = name
	return nil
}

// hasFile reports whether an alert has its file already, and names it in the alert.
func (m *Monitor) hasFile(ctx context.Context, a *Alert) (bool, error) {
	var name string
	err := m.state.db.QueryRowContext(ctx, "SELECT coalesce(json_extract(body, '$.file'), '') FROM alert WHERE id = ?", a.ID).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) || err == nil && name == "" {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read alert %s: %w", a.ID, err)
	}
	if _, err := os.Lstat(filepath.Join(m.dir, name)); errors.Is(err, fs.ErrNotExist) {
		return false, nil // somebody removed it
	}
	a.File = name
	return true, nil
}
