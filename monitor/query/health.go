package query

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/poclog/poclog/monitor"
)

// A Health says whether the logs are being followed.
type Health struct {
	V      int        `json:"v"`
	OK     bool       `json:"ok"`
	Reason []string   `json:"reasons,omitempty"`
	Logs   []LogState `json:"logs"`
}

// serveHealth answers 200 while every log is seen and read to its end, and 503 with reasons if not.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) error {
	logs, err := s.folder.Logs(r.Context())
	if err != nil {
		return err
	}
	h := Health{V: 1, Logs: statesOf(logs)}
	for _, l := range h.Logs {
		switch age := s.cfg.Clock().Sub(l.Looked); {
		case l.Looked.IsZero():
			h.Reason = append(h.Reason, l.Origin+" was never seen")
		case age > s.cfg.Stalled:
			h.Reason = append(h.Reason, fmt.Sprintf("%s was last seen %s", l.Origin, l.Looked.Format("2006-01-02T15:04:05Z07:00")))
		case l.Next < l.Size:
			h.Reason = append(h.Reason, fmt.Sprintf("%s: %d of %d entries are still to be read", l.Origin, l.Size-l.Next, l.Size))
		}
	}
	if len(h.Logs) == 0 {
		h.Reason = append(h.Reason, "no log is followed")
	}
	h.OK = len(h.Reason) == 0
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	if !h.OK {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	return writeJSON(w, h)
}

// serveMetrics writes the text exposition format of Prometheus, in a fixed order.
func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) error {
	logs, err := s.folder.Logs(r.Context())
	if err != nil {
		return err
	}
	counts, err := s.folder.CountAlerts(r.Context())
	if err != nil {
		return err
	}
	var b bytes.Buffer
	metricsOfLogs(&b, logs)
	family(&b, "poclog_monitor_alerts", "Alerts on record, by rule, severity and whether they are silenced.")
	for _, c := range counts {
		fmt.Fprintf(&b, "poclog_monitor_alerts{rule=%s,severity=%s,silenced=\"%v\"} %d\n", label(c.Rule), label(c.Severity), c.Silenced, c.N)
	}
	if s.cfg.Sink != "" {
		n, err := s.folder.CountUntaken(r.Context(), s.cfg.Sink)
		if err != nil {
			return err
		}
		family(&b, "poclog_monitor_undelivered", "Alerts that the webhook has not taken yet.")
		fmt.Fprintf(&b, "poclog_monitor_undelivered{sink=%s} %d\n", label(s.cfg.Sink), n)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes()) // the client may be gone
	return nil
}

func metricsOfLogs(b *bytes.Buffer, logs []monitor.LogInfo) {
	for _, m := range []struct {
		name, help string
		value      func(monitor.LogInfo) string
	}{
		{"poclog_monitor_log_size", "Entries of the newest checkpoint seen.", func(l monitor.LogInfo) string { return strconv.FormatUint(l.Size, 10) }},
		{"poclog_monitor_log_next", "Entries that were read, and proven to be in the log.", func(l monitor.LogInfo) string { return strconv.FormatUint(l.Next, 10) }},
		{"poclog_monitor_seen_timestamp_seconds", "When the log last showed a fresh checkpoint; absent before the first.", func(l monitor.LogInfo) string {
			if l.Looked.IsZero() {
				return ""
			}
			return strconv.FormatInt(l.Looked.Unix(), 10)
		}},
	} {
		family(b, m.name, m.help)
		for _, l := range logs {
			if v := m.value(l); !l.Removed && v != "" {
				fmt.Fprintf(b, "%s{origin=%s} %s\n", m.name, label(l.Origin), v)
			}
		}
	}
}

func family(b *bytes.Buffer, name, help string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// label quotes a label value as the text format wants it.
func label(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
