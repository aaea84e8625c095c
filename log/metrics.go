package log

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a log counts beside what every service does.
type metrics struct {
	submissions *prometheus.CounterVec // by result
	appraisals  prometheus.Summary
}

func newMetrics(s *Service) *metrics {
	m := &metrics{
		submissions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "poclog_submissions_total", Help: "Submissions answered with a receipt."}, []string{"result"}),
		appraisals:  prometheus.NewSummary(prometheus.SummaryOpts{Name: "poclog_appraisal_seconds", Help: "Time spent in appraisals."}),
	}
	s.http.Metrics().MustRegister(m.submissions, m.appraisals, &healthMetrics{s})
	return m
}

func (m *metrics) answered(isNew bool) {
	result := "duplicate"
	if isNew {
		result = "new"
	}
	m.submissions.WithLabelValues(result).Inc()
}

func (m *metrics) appraised(begun time.Time) { m.appraisals.Observe(time.Since(begun).Seconds()) }

var (
	descSize     = prometheus.NewDesc("poclog_tree_size", "Leaves of the published tree.", nil, nil)
	descAge      = prometheus.NewDesc("poclog_checkpoint_age_seconds", "Age of the published checkpoint.", nil, nil)
	descHealthy  = prometheus.NewDesc("poclog_healthy", "1 if the log publishes.", nil, nil)
	descLost     = prometheus.NewDesc("poclog_lost_files", "Files that entries name and the log has not, or damaged.", nil, nil)
	descExpires  = prometheus.NewDesc("poclog_collateral_expires_seconds", "Seconds until collateral expires; negative after.", []string{"kind", "for"}, nil)
	descFailures = prometheus.NewDesc("poclog_collateral_failures", "Failures in a row to refresh collateral.", []string{"kind", "for"}, nil)
)

// healthMetrics are what /health says, as numbers.
type healthMetrics struct{ s *Service }

func (*healthMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSize, descAge, descHealthy, descLost, descExpires, descFailures} {
		out <- d
	}
}

func (c *healthMetrics) Collect(out chan<- prometheus.Metric) {
	h := c.s.health()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	healthy := 0.0
	if h.Status != "failing" {
		healthy = 1
	}
	gauge(descSize, float64(h.Size))
	gauge(descAge, h.CheckpointAge)
	gauge(descHealthy, healthy)
	gauge(descLost, float64(h.Lost))
	for _, c := range h.Collateral {
		if !c.NextUpdate.IsZero() {
			gauge(descExpires, float64(int64(time.Until(c.NextUpdate).Seconds())), string(c.Kind), c.For)
		}
		gauge(descFailures, float64(c.Failures), string(c.Kind), c.For)
	}
}
