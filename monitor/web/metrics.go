package web

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collectTimeout bounds how long the folder is read for the metrics.
const collectTimeout = 10 * time.Second

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("poclog_monitor_"+name, help, labels, nil)
}

var (
	descSize        = desc("log_size", "Entries of the newest checkpoint seen.", "origin")
	descNext        = desc("log_next", "Entries that were read, and proven to be in the log.", "origin")
	descSeen        = desc("seen_timestamp_seconds", "When the log last showed a fresh checkpoint; absent before the first.", "origin")
	descAlerts      = desc("alerts", "Alerts on record, by rule, severity and whether they are silenced.", "rule", "severity", "silenced")
	descUndelivered = desc("undelivered", "Alerts that the webhook has not taken yet.", "sink")
)

// A collector reads the folder for the metrics.
type collector struct{ s *Server }

// Describe implements [prometheus.Collector].
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSize, descNext, descSeen, descAlerts, descUndelivered} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	logs, err := c.s.folder.Logs(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descSize, err)
	}
	for _, l := range statesOf(logs) {
		gauge(descSize, float64(l.Size), l.Origin)
		gauge(descNext, float64(l.Next), l.Origin)
		if !l.Looked.IsZero() {
			gauge(descSeen, float64(l.Looked.Unix()), l.Origin)
		}
	}
	counts, err := c.s.folder.CountAlerts(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descAlerts, err)
	}
	for _, n := range counts {
		gauge(descAlerts, float64(n.N), n.Rule, string(n.Severity), strconv.FormatBool(n.Silenced))
	}
	if c.s.cfg.Sink == "" {
		return
	}
	n, err := c.s.folder.CountUntaken(ctx, c.s.cfg.Sink)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descUndelivered, err)
		return
	}
	gauge(descUndelivered, float64(n), c.s.cfg.Sink)
}
