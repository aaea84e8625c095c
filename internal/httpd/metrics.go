package httpd

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what every service counts.
type metrics struct {
	registry *prometheus.Registry
	refusals *prometheus.CounterVec // by kind and check
	limited  *prometheus.CounterVec // by limit
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "poclog_refusals_total", Help: "Requests refused, by kind and check."}, []string{"kind", "check"}),
		limited:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "poclog_limited_total", Help: "Times that a limit was met, by limit."}, []string{"limit"}),
	}
	for _, l := range []string{"connections", "connections-cut", "read", "write", "status", "waiting", "memory", "rate", "slow-body", "slow-reader"} {
		m.limited.WithLabelValues(l)
	}
	s.conns.cut = m.limited.WithLabelValues("connections-cut").Inc
	s.conns.refused = m.limited.WithLabelValues("connections").Inc
	gauge := func(name, help string, labels prometheus.Labels, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, f)
	}
	m.registry.MustRegister(m.refusals, m.limited, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("poclog_connections", "Open connections.", nil, func() float64 { return float64(s.conns.count()) }),
		gauge("poclog_body_memory_bytes", "Memory that bodies take, with the copies made of them.", nil, func() float64 { return float64(s.memory.Used()) }))
	for class, places := range map[string]*Shares{"read": s.reads, "write": s.writes, "waiting": s.waiting, "status": s.status} {
		m.registry.MustRegister(gauge("poclog_requests", "Requests that are being answered.", prometheus.Labels{"class": class}, func() float64 { return float64(places.Used()) }))
	}
	return m
}

// Gauges are numbers that one look at the state of a service gives at once.
type Gauges struct {
	Descs []*prometheus.Desc
	Look  func(ctx context.Context, set func(d *prometheus.Desc, v float64, labels ...string)) error
}

// lookTimeout bounds how long metrics wait for the state.
const lookTimeout = 10 * time.Second

// Describe implements [prometheus.Collector].
func (g *Gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range g.Descs {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (g *Gauges) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	err := g.Look(ctx, func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	})
	if err != nil {
		out <- prometheus.NewInvalidMetric(g.Descs[0], err)
	}
}

// Limited counts that a limit of the service's own was met.
func (s *Server) Limited(limit string) { s.metrics.limited.WithLabelValues(limit).Inc() }

// serveMetrics answers in the text form of Prometheus.
func (s *Server) serveMetrics() http.Handler {
	h := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return s.Status(func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	})
}
