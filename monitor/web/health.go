package web

import (
	"fmt"
	"net/http"
)

// A Health says whether the logs are being followed.
type Health struct {
	V      int        `json:"v"`
	OK     bool       `json:"ok"`
	Reason []string   `json:"reasons,omitempty"`
	Logs   []LogState `json:"logs"`
	// Warnings are what the operator should change, though the monitor works.
	Warnings []string `json:"warnings,omitempty"`
}

// serveHealth answers 200 while every log is seen and read to its end, and 503 with reasons if not.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) error {
	logs, err := s.folder.Logs(r.Context())
	if err != nil {
		return err
	}
	h := Health{V: 1, Logs: statesOf(logs), Warnings: s.http.Warnings()}
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
	status := http.StatusOK
	if !h.OK {
		status = http.StatusServiceUnavailable
	}
	return s.writeJSON(w, r, status, h)
}
