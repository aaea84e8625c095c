package audit

import (
	"context"

	"github.com/poclog/poclog/internal/httpd"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	descSize    = prometheus.NewDesc("poclog_audit_size", "Entries that were verified.", []string{"origin"}, nil)
	descTarget  = prometheus.NewDesc("poclog_audit_target_size", "Entries that are to be.", []string{"origin"}, nil)
	descExcept  = prometheus.NewDesc("poclog_audit_exceptions", "Entries whose evidence was withheld by law before it was seen.", []string{"origin"}, nil)
	descRefused = prometheus.NewDesc("poclog_audit_refused", "Entries that are refused, and split views. Anything but 0 implicates the log.", []string{"origin"}, nil)
)

// auditMetrics are what is on record of each log.
func auditMetrics(a *Auditor) *httpd.Gauges {
	return &httpd.Gauges{
		Descs: []*prometheus.Desc{descSize, descTarget, descExcept, descRefused},
		Look: func(ctx context.Context, set func(*prometheus.Desc, float64, ...string)) error {
			logs, err := a.state.logs(ctx)
			if err != nil {
				return err
			}
			for _, r := range logs {
				target := uint64(0)
				if r.target != nil {
					target = r.target.Size
				}
				set(descSize, float64(r.audited), r.origin)
				set(descTarget, float64(target), r.origin)
				unseen, err := a.state.unseen(ctx, r.origin, r.audited)
				if err != nil {
					return err
				}
				set(descExcept, float64(unseen), r.origin)
				n, err := a.state.faults(ctx, r.origin)
				if err != nil {
					return err
				}
				set(descRefused, float64(n), r.origin)
			}
			return nil
		},
	}
}
