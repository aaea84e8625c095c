package monitor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/poclog/poclog/verify/rule"
)

// An AlertCount is how many alerts there are of one rule.
type AlertCount struct {
	Rule     string
	Severity rule.Severity
	Silenced bool
	N        int
}

// counted are the alerts up to a number of their order: they only become more, so that each is
// counted once.
type counted struct {
	mu   sync.Mutex // guards what follows
	last int64
	n    map[AlertCount]int // by rule and severity
}

// CountAlerts counts the alerts by rule, severity and whether they are silenced, in that order.
func (m *Monitor) CountAlerts(ctx context.Context) (list []AlertCount, err error) {
	c := &m.counted
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, err := m.state.db.Read.QueryContext(ctx, `SELECT rule, severity, 0, count(*), max(seq) FROM alert WHERE seq > ? GROUP BY 1, 2
		UNION ALL SELECT rule, severity, 1, count(*), 0 FROM alert WHERE silenced <> '' GROUP BY 1, 2`, c.last)
	if err != nil {
		return nil, fmt.Errorf("count the alerts: %w", err)
	}
	defer rows.Close()
	all, last, silenced := maps.Clone(c.n), c.last, make(map[AlertCount]int)
	if all == nil {
		all = make(map[AlertCount]int)
	}
	for rows.Next() {
		var x AlertCount
		var n int
		var upTo int64
		if err := rows.Scan(&x.Rule, &x.Severity, &x.Silenced, &n, &upTo); err != nil {
			return nil, fmt.Errorf("count the alerts: %w", err)
		}
		if last = max(last, upTo); x.Silenced {
			x.Silenced = false
			silenced[x] = n
		} else {
			all[x] += n
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count the alerts: %w", err)
	}
	c.last, c.n = last, all
	for _, x := range slices.SortedFunc(maps.Keys(all), func(a, b AlertCount) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Severity, b.Severity))
	}) {
		if n := all[x] - silenced[x]; n > 0 {
			list = append(list, AlertCount{x.Rule, x.Severity, false, n})
		}
		if n := silenced[x]; n > 0 {
			list = append(list, AlertCount{x.Rule, x.Severity, true, n})
		}
	}
	return list, nil
}

// CountUntaken counts the alerts that are not silenced and that a sink has not taken.
func (m *Monitor) CountUntaken(ctx context.Context, sink string) (n int, err error) {
	err = m.state.db.Read.QueryRowContext(ctx, `SELECT count(*) FROM alert WHERE silenced = ''
		AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.alert = alert.id AND sink = ?)`, sink).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count what %s has not taken: %w", sink, err)
	}
	return n, nil
}

// Alert returns the alert with an ID, or nil if there is none.
func (m *Monitor) Alert(ctx context.Context, id string) (*Alert, error) {
	for a, err := range m.Alerts(ctx, AlertFilter{ID: id}) {
		return a, err
	}
	return nil, nil
}
