package query

import (
	"context"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/rule"
)

// Concerns reports whether an alert is about one of the identities, or concerns it.
func Concerns(a *monitor.Alert, ids ...poclog.Identity) bool {
	return slices.ContainsFunc(ids, func(id poclog.Identity) bool {
		return id != "" && (a.Subject == id || slices.Contains(a.Affected, id) || slices.Contains(a.Implicated, string(id)))
	})
}

// Clashes counts the contradictions and alerts that are not silenced by the identity that they are
// about: of a chip, that it is claimed twice.
type Clashes map[poclog.Identity]int

// ClashesIn reads a monitor's alerts. counts says which count; nil counts all.
func ClashesIn(ctx context.Context, ledger Ledger, counts func(*monitor.Alert) bool) (Clashes, error) {
	found := make(Clashes)
	for _, severity := range []rule.Severity{rule.Contradiction, rule.Alert} {
		for a, err := range ledger.Alerts(ctx, monitor.AlertFilter{Severity: severity, Unsilenced: true}) {
			if err != nil {
				return nil, err
			}
			if a.Subject != "" && (counts == nil || counts(a)) {
				found[a.Subject]++
			}
		}
	}
	return found, nil
}

// of counts what there is about any of the identities. An alert is about one.
func (c Clashes) of(ids ...poclog.Identity) (n int) {
	for _, id := range ids {
		n += c[id]
	}
	return n
}
