package monitor

import (
	"context"
	"fmt"

	"github.com/poclog/poclog/verify/rule"
)

// An AlertCount is how many alerts there are of one rule.
type AlertCount struct {
	Rule     string
	Severity rule.Severity
	Silenced bool
	N        int
}

// CountAlerts counts the alerts by rule, severity and whether they are silenced, in that order.
func (m *Monitor) CountAlerts(ctx context.Context) (list []AlertCount, err error) {
	rows, err := m.state.db.QueryContext(ctx, "SELECT rule, severity, silenced != '', count(*) FROM alert GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")
	if err != nil {
		return nil, fmt.Errorf("count the alerts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c AlertCount
		if err := rows.Scan(&c.Rule, &c.Severity, &c.Silenced, &c.N); err != nil {
			return nil, fmt.Errorf("count the alerts: %w", err)
		}
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count the alerts: %w", err)
	}
	return list, nil
}

// CountUntaken counts the alerts that are not silenced and that a sink has not taken.
func (m *Monitor) CountUntaken(ctx context.Context, sink string) (n int, err error) {
	err = m.state.db.QueryRowContext(ctx, `SELECT count(*) FROM alert WHERE silenced = ''
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
