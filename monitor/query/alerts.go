package query

import (
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
)

// Concerns reports whether an alert is about one of the identities, or concerns it.
func Concerns(a *monitor.Alert, ids ...poclog.Identity) bool {
	return slices.ContainsFunc(ids, func(id poclog.Identity) bool {
		return id != "" && (a.Subject == id || slices.Contains(a.Affected, id) || slices.Contains(a.Implicated, string(id)))
	})
}
