package log

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// metrics are counters in Prometheus' text form.
type metrics struct {
	mu         sync.Mutex // guards what follows
	admitted   uint64
	duplicates uint64
	refusals   map[[2]string]uint64 // by kind and check
	appraisals uint64
	seconds    float64
}

func newMetrics() *metrics { return &metrics{refusals: make(map[[2]string]uint64)} }

func (m *metrics) answered(isNew bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if isNew {
		m.admitted++
	} else {
		m.duplicates++
	}
}

func (m *metrics) refused(kind, check string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusals[[2]string{kind, check}]++
}

func (m *metrics) appraised(begun time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appraisals++
	m.seconds += time.Since(begun).Seconds()
}

// write prints the counters, and gauges of the log.
func (m *metrics) write(w io.Writer, h health) {
	m.mu.Lock()
	defer m.mu.Unlock()
	series := func(name, kind, help string) { fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	series("poclog_submissions_total", "counter", "Submissions answered with a receipt.")
	fmt.Fprintf(w, "poclog_submissions_total{result=\"new\"} %d\npoclog_submissions_total{result=\"duplicate\"} %d\n", m.admitted, m.duplicates)
	series("poclog_refusals_total", "counter", "Requests refused, by kind and check.")
	keys := make([][2]string, 0, len(m.refusals))
	for k := range m.refusals {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for _, k := range keys {
		fmt.Fprintf(w, "poclog_refusals_total{kind=%q,check=%q} %d\n", k[0], k[1], m.refusals[k])
	}
	series("poclog_appraisal_seconds", "summary", "Time spent in appraisals.")
	fmt.Fprintf(w, "poclog_appraisal_seconds_sum %g\npoclog_appraisal_seconds_count %d\n", m.seconds, m.appraisals)
	series("poclog_tree_size", "gauge", "Leaves of the published tree.")
	fmt.Fprintf(w, "poclog_tree_size %d\n", h.Size)
	series("poclog_checkpoint_age_seconds", "gauge", "Age of the published checkpoint.")
	fmt.Fprintf(w, "poclog_checkpoint_age_seconds %g\n", h.CheckpointAge)
	series("poclog_collateral_expires_seconds", "gauge", "Seconds until collateral expires; negative after.")
	for _, c := range h.Collateral {
		if !c.NextUpdate.IsZero() {
			fmt.Fprintf(w, "poclog_collateral_expires_seconds{kind=%q,for=%q} %.0f\n", c.Kind, c.For, time.Until(c.NextUpdate).Seconds())
		}
	}
	series("poclog_collateral_failures", "gauge", "Failures in a row to refresh collateral.")
	for _, c := range h.Collateral {
		fmt.Fprintf(w, "poclog_collateral_failures{kind=%q,for=%q} %d\n", c.Kind, c.For, c.Failures)
	}
	series("poclog_healthy", "gauge", "1 if the log publishes.")
	healthy := 0
	if h.Status == "ok" {
		healthy = 1
	}
	fmt.Fprintf(w, "poclog_healthy %d\n", healthy)
}
