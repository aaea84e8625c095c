package witness

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// metrics counts answers by log and status. Only logs that the witness knows have labels of their own: what a stranger sends cannot
// add any.
type metrics struct {
	mu    sync.Mutex // guards the rest
	count map[answer]uint64
	busy  map[string]time.Duration // by origin
}

type answer struct {
	origin string // empty for a request that named no log of ours
	status int
}

func newMetrics() *metrics {
	return &metrics{count: make(map[answer]uint64), busy: make(map[string]time.Duration)}
}

func (m *metrics) observe(origin string, err error, took time.Duration) {
	status := http.StatusOK
	var refusal *Refusal
	if errors.As(err, &refusal) {
		status = refusal.Status
	} else if err != nil {
		status = http.StatusInternalServerError
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count[answer{origin, status}]++
	m.busy[origin] += took
}

// write writes the counters in the text exposition format of Prometheus, in a fixed order.
func (m *metrics) write(w io.Writer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	family(w, "poclog_witness_add_checkpoint_total", "counter", "Requests to cosign a checkpoint, by log and HTTP status.")
	for _, a := range slices.SortedFunc(maps.Keys(m.count), func(a, b answer) int {
		if c := strings.Compare(a.origin, b.origin); c != 0 {
			return c
		}
		return a.status - b.status
	}) {
		fmt.Fprintf(w, "poclog_witness_add_checkpoint_total{origin=%s,status=\"%d\"} %d\n", label(a.origin), a.status, m.count[a])
	}
	family(w, "poclog_witness_add_checkpoint_seconds_total", "counter", "Time spent on these requests.")
	for _, o := range slices.Sorted(maps.Keys(m.busy)) {
		fmt.Fprintf(w, "poclog_witness_add_checkpoint_seconds_total{origin=%s} %g\n", label(o), m.busy[o].Seconds())
	}
}

func (w *Witness) serveMetrics(rw http.ResponseWriter, req *http.Request) {
	logs, err := w.state.logs(req.Context())
	if err != nil {
		w.log.Error("metrics cannot be read", "error", err)
		http.Error(rw, "the witness has failed", http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	family(rw, "poclog_witness_logs", "gauge", "Logs that are witnessed.")
	fmt.Fprintf(rw, "poclog_witness_logs %d\n", len(logs))
	family(rw, "poclog_witness_log_size", "gauge", "Size of the latest cosigned checkpoint.")
	for _, l := range logs {
		fmt.Fprintf(rw, "poclog_witness_log_size{origin=%s} %d\n", label(l.Origin), l.Size)
	}
	family(rw, "poclog_witness_cosigned_timestamp_seconds", "gauge", "When that was; absent before the first.")
	for _, l := range logs {
		if l.Started {
			fmt.Fprintf(rw, "poclog_witness_cosigned_timestamp_seconds{origin=%s} %d\n", label(l.Origin), l.Cosigned.Unix())
		}
	}
	family(rw, "poclog_witness_conflicts", "gauge", "Signed checkpoints on record that contradict a cosigned one. Anything but 0 is a split view.")
	for _, l := range logs {
		fmt.Fprintf(rw, "poclog_witness_conflicts{origin=%s} %d\n", label(l.Origin), l.Conflicts)
	}
	w.metrics.write(rw)
}

func family(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// label quotes a label value as the text format wants it.
func label(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
