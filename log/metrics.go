package log

import (
	"context"
	"time"

	"github.com/poclog/poclog/internal/httpd"
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
	s.http.Metrics().MustRegister(m.submissions, m.appraisals, healthMetrics(s))
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
func healthMetrics(s *Service) *httpd.Gauges {
	return &httpd.Gauges{
		Descs: []*prometheus.Desc{descSize, descAge, descHealthy, descLost, descExpires, descFailures},
		Look: func(_ context.Context, set func(*prometheus.Desc, float64, ...string)) error {
			h := s.health()
			healthy := 0.0
			if h.Status != "failing" {
				healthy = 1
			}
			set(descSize, float64(h.Size))
			set(descAge, h.CheckpointAge)
			set(descHealthy, healthy)
			set(descLost, float64(h.Lost))
			for _, c := range h.Collateral {
				if !c.NextUpdate.IsZero() {
					set(descExpires, float64(int64(time.Until(c.NextUpdate).Seconds())), string(c.Kind), c.For)
				}
				set(descFailures, float64(c.Failures), string(c.Kind), c.For)
			}
			return nil
		},
	}
}
