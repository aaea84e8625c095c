package monitor

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/rule"
)

// An EntryRef names an entry.
type EntryRef struct {
	Origin string `json:"origin"`
	Index  uint64 `json:"index"`
}

// An Alert is what somebody should look at: a finding of package rule, or of the monitor's own, and
// where it was made. Its JSON is a stable schema, which sinks get; the finding's members stand
// beside the others.
//
// The finding's subject is the identity that was claimed twice, or "log:<origin>".
type Alert struct {
	// ID is a digest of rule, subject and entries, and of the severity where that is "alert": the
	// same finding has the same ID however often it is made. A receiver that gets an alert twice
	// knows it by its ID.
	ID   string    `json:"id"`
	Time time.Time `json:"time"` // when it was raised

	rule.Finding

	Entries []EntryRef `json:"entries,omitempty"`
	File    string     `json:"file,omitempty"` // contradiction or split view, below the monitor's folder

	Checkpoint []byte `json:"checkpoint,omitempty"` // signed, in base64: under which a log does not serve what it signed

	Silenced string `json:"silenced,omitempty"` // why nobody is to be told
}

// AlertID returns the ID of an alert of a rule, a subject and entries, in any order. extra tells
// apart findings that have all three in common, such as the status that an observation saw.
func AlertID(rule string, subject poclog.Identity, entries []EntryRef, extra ...string) string {
	refs := make([]string, len(entries))
	for i, e := range entries {
		refs[i] = fmt.Sprintf("%d %s", e.Index, e.Origin)
	}
	slices.Sort(refs)
	sum := sha256.Sum256([]byte("poclog/alert/v1\n" + strings.Join(append(append([]string{rule, string(subject)}, refs...), extra...), "\n")))
	return hex.EncodeToString(sum[:16])
}

// An AlertFilter says which alerts to list. Its zero value is all.
type AlertFilter struct {
	ID           string
	Rule         string
	Severity     rule.Severity
	Subject      poclog.Identity
	After        int64     // alerts that came later than this number of the order only
	Since, Until time.Time // Since ≤ time < Until; zero is no limit
	Unsilenced   bool      // only those that somebody is to be told of
	Untaken      string    // only those that this sink has not taken
	Limit        int       // 0: no limit
	Newest       bool      // the newest first, not the order in which they came
}

// AddAlerts keeps alerts, durably once it returns, and says how many of them are new. An alert with
// an ID that is known is not kept again, but for its file where it had none. An alert without ID
// gets one, without time the monitor's; both, and why it is silenced, are set in the list.
func (m *Monitor) AddAlerts(ctx context.Context, alerts []Alert) (added int, err error) {
	err = m.state.tx(ctx, "keep alerts", func(tx *sql.Tx) error {
		added, err = m.addAlerts(ctx, tx, alerts)
		return err
	})
	if err != nil {
		return 0, err
	}
	return added, nil
}

func (m *Monitor) addAlerts(ctx context.Context, tx *sql.Tx, alerts []Alert) (added int, err error) {
	for i := range alerts {
		isNew, err := m.addAlert(ctx, tx, &alerts[i], quota{most: math.MaxInt64})
		if err != nil {
			return 0, err
		}
		if isNew {
			added++
		}
	}
	return added, nil
}

// insertAlert keeps an alert once, within its quota. OR IGNORE also spares SQLite a journal of the
// statement, which would cost more than the rest.
const insertAlert = "INSERT OR IGNORE INTO alert (id, time, rule, severity, subject, body, silenced) SELECT ?, ?, ?, ?, ?, ?, ? WHERE (" + countOthers + ") < ?"

// addAlert keeps an alert, unless there are as many others of its rule, severity and subject as may
// be.
func (m *Monitor) addAlert(ctx context.Context, tx *sql.Tx, a *Alert, q quota) (isNew bool, err error) {
	if a.ID == "" {
		a.ID = AlertID(a.Rule, a.Subject, a.Entries)
	}
	if a.Time.IsZero() {
		a.Time = m.cfg.Clock()
	}
	a.Time = a.Time.UTC().Truncate(time.Second)
	a.Silenced = m.cfg.Silence(a)
	body, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	res, err := m.state.insertAlert.Exec(tx, append([]any{a.ID, a.Time.Unix(), a.Rule, a.Severity, a.Subject, string(body), a.Silenced}, q.others(a)...)...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	if err != nil || n == 1 || a.File == "" {
		return n == 1, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE alert SET body = json_set(body, '$.file', ?) WHERE id = ? AND json_extract(body, '$.file') IS NULL", a.File, a.ID)
	return false, err
}

// maxAlerts is how many alerts are read at once.
const maxAlerts = 256

// Alerts lists alerts in the order in which they came, or the newest first.
func (m *Monitor) Alerts(ctx context.Context, f AlertFilter) iter.Seq2[*Alert, error] {
	return func(yield func(*Alert, error) bool) {
		for n, last := 0, int64(0); ; {
			page, err := m.state.alerts(ctx, &f, &last)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, a := range page {
				if n++; f.Limit > 0 && n > f.Limit || !yield(a, nil) {
					return
				}
			}
			if len(page) < maxAlerts {
				return
			}
		}
	}
}

// alerts reads the page of alerts after number last, 0 before the first page, and moves last on.
func (s *state) alerts(ctx context.Context, f *AlertFilter, last *int64) (page []*Alert, err error) {
	query, args, order := "SELECT seq, body, silenced FROM alert WHERE seq > ?", []any{max(f.After, *last)}, " ORDER BY seq LIMIT ?"
	if f.Newest {
		query, args, order = "SELECT seq, body, silenced FROM alert WHERE seq > ? AND (? = 0 OR seq < ?)", []any{f.After, *last, *last}, " ORDER BY seq DESC LIMIT ?"
	}
	if f.Severity != "" && f.Severity != rule.Information {
		query += " AND severity <> 'information'" // there is an index of these
	}
	and := func(clause string, arg any) { query, args = query+" AND "+clause, append(args, arg) }
	for clause, v := range map[string]string{"id = ?": f.ID, "rule = ?": f.Rule, "severity = ?": string(f.Severity), "subject = ?": string(f.Subject),
		"NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.alert = alert.id AND sink = ?)": f.Untaken} {
		if v != "" {
			and(clause, v)
		}
	}
	if !f.Since.IsZero() {
		and("time >= ?", f.Since.Unix())
	}
	if !f.Until.IsZero() {
		and("time < ?", f.Until.Unix())
	}
	if f.Unsilenced {
		and("silenced = ?", "")
	}
	rows, err := s.db.Read.QueryContext(ctx, query+order, append(args, maxAlerts)...)
	if err != nil {
		return nil, fmt.Errorf("read the alerts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var body, silenced string
		a := new(Alert)
		if err := rows.Scan(last, &body, &silenced); err != nil {
			return nil, fmt.Errorf("read the alerts: %w", err)
		}
		if err := json.Unmarshal([]byte(body), a); err != nil {
			return nil, fmt.Errorf("read the alerts: number %d: %w", *last, err)
		}
		a.Silenced = silenced
		page = append(page, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the alerts: %w", err)
	}
	return page, nil
}

// Taken records that a sink has taken an alert: it answered, and will not be given it again. A sink
// that dies between the two gets it twice.
func (m *Monitor) Taken(ctx context.Context, sink, id string) error {
	if _, err := m.state.db.ExecContext(ctx, "INSERT INTO delivery (sink, alert, time) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		sink, id, m.cfg.Clock().Unix()); err != nil {
		return fmt.Errorf("record that %s took alert %s: %w", sink, id, err)
	}
	return nil
}

// Silence keeps an alert from being told, and says why; "" undoes it.
func (m *Monitor) Silence(ctx context.Context, id, why string) error {
	res, err := m.state.db.ExecContext(ctx, "UPDATE alert SET silenced = ? WHERE id = ?", why, id)
	if err != nil {
		return fmt.Errorf("silence alert %s: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("silence alert %s: there is none", id)
	}
	return nil
}

// Mark returns how far a reader of a log's records came: the index of the next. A reader has any
// name.
func (m *Monitor) Mark(ctx context.Context, reader, origin string) (next uint64, err error) {
	err = m.state.db.QueryRowContext(ctx, `SELECT coalesce((SELECT next FROM mark WHERE reader = ? AND log = log.number), 0) FROM log WHERE origin = ?`,
		reader, origin).Scan(&next)
	if err != nil {
		return 0, fmt.Errorf("read how far %s came with log %q: %w", reader, origin, err)
	}
	return next, nil
}

// AddAlertsAndMark keeps the alerts that a reader raised over records, and how far it came, in one
// transaction: a reader that is killed loses no alert and raises none twice.
func (m *Monitor) AddAlertsAndMark(ctx context.Context, alerts []Alert, reader, origin string, next uint64) (added int, err error) {
	err = m.state.tx(ctx, "keep alerts of "+reader, func(tx *sql.Tx) error {
		if added, err = m.addAlerts(ctx, tx, alerts); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO mark (reader, log, next) SELECT ?, number, ? FROM log WHERE origin = ?
			ON CONFLICT (reader, log) DO UPDATE SET next = max(next, excluded.next)`, reader, next, origin)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("log %q: %w", origin, errNoLog)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return added, nil
}
