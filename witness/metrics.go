package witness

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/poclog/poclog/internal/httpd"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts answers by log and status. Only logs that the witness knows have labels of their
// own: what a stranger sends cannot add any.
type metrics struct {
	count *prometheus.CounterVec // by origin, empty for a request that named no log of ours, and status
	busy  *prometheus.CounterVec // by origin
}

func newMetrics(w *Witness) *metrics {
	m := &metrics{
		count: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "poclog_witness_add_checkpoint_total", Help: "Requests to cosign a checkpoint, by log and HTTP status."},
			[]string{"origin", "status"}),
		busy: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "poclog_witness_add_checkpoint_seconds_total", Help: "Time spent on these requests."}, []string{"origin"}),
	}
	w.http.Metrics().MustRegister(m.count, m.busy, logMetrics(w))
	return m
}

func (m *metrics) observe(origin string, err error, took time.Duration) {
	status := http.StatusOK
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		status = refusal.Status
	} else if err != nil {
		status = http.StatusInternalServerError
	}
	m.count.WithLabelValues(origin, strconv.Itoa(status)).Inc()
	m.busy.WithLabelValues(origin).Add(max(0, took.Seconds()))
}

var (
	descLogs      = prometheus.NewDesc("poclog_witness_logs", "Logs that are witnessed.", nil, nil)
	descSize      = prometheus.NewDesc("poclog_witness_log_size", "Size of the latest cosigned checkpoint.", []string{"origin"}, nil)
	descCosigned  = prometheus.NewDesc("poclog_witness_cosigned_timestamp_seconds", "When that was; absent before the first.", []string{"origin"}, nil)
	descConflicts = prometheus.NewDesc("poclog_witness_conflicts", "Signed checkpoints on record that contradict a cosigned one. Anything but 0 is a split view.", []string{"origin"}, nil)
)

// logMetrics are what is on record of each log.
func logMetrics(w *Witness) *httpd.Gauges {
	return &httpd.Gauges{
		Descs: []*prometheus.Desc{descLogs, descSize, descCosigned, descConflicts},
		Look: func(ctx context.Context, set func(*prometheus.Desc, float64, ...string)) error {
			logs, err := w.state.logs(ctx)
			if err != nil {
				return err
			}
			set(descLogs, float64(len(logs)))
			for _, l := range logs {
				set(descSize, float64(l.Size), l.Origin)
				set(descConflicts, float64(l.Conflicts), l.Origin)
				if l.Started {
					set(descCosigned, float64(l.Cosigned.Unix()), l.Origin)
				}
			}
			return nil
		},
	}
}
