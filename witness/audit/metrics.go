package audit

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descSize    = prometheus.NewDesc("poclog_audit_size", "Entries that were verified.", []string{"origin"}, nil)
	descTarget  = prometheus.NewDesc("poclog_audit_target_size", "Entries that are to be.", []string{"origin"}, nil)
	descExcept  = prometheus.NewDesc("poclog_audit_exceptions", "Entries whose evidence was withheld by law before it was seen.", []string{"origin"}, nil)
	descRefused = prometheus.NewDesc("poclog_audit_refused", "Entries that are refused, and split views. Anything but 0 implicates the log.", []string{"origin"}, nil)
)

// auditMetrics are what is on record of each log.
type auditMetrics struct{ a *Auditor }

func (*auditMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSize, descTarget, descExcept, descRefused} {
		out <- d
	}
}

// metricsTimeout bounds how long metrics wait for the state.
const metricsTimeout = 10 * time.Second

func (c *auditMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), metricsTimeout)
	defer cancel()
	logs, err := c.a.state.logs(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descSize, err)
		return
	}
	for _, r := range logs {
		target := uint64(0)
		if r.target != nil {
			target = r.target.Size
		}
		out <- prometheus.MustNewConstMetric(descSize, prometheus.GaugeValue, float64(r.audited), r.origin)
		out <- prometheus.MustNewConstMetric(descTarget, prometheus.GaugeValue, float64(target), r.origin)
		unseen, err := c.a.state.unseen(ctx, r.origin, r.audited)
		if err != nil {
			out <- prometheus.NewInvalidMetric(descExcept, err)
			return
		}
		out <- prometheus.MustNewConstMetric(descExcept, prometheus.GaugeValue, float64(unseen), r.origin)
		n, err := c.a.state.faults(ctx, r.origin)
		if err != nil {
			out <- prometheus.NewInvalidMetric(descRefused, err)
			return
		}
		out <- prometheus.MustNewConstMetric(descRefused, prometheus.GaugeValue, float64(n), r.origin)
	}
}
