package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/rule"
)

// maxFile is the size of the largest evidence that is served.
const maxFile = 16 << 20

// An AlertsAnswer is the answer to GET /v1/alerts.
type AlertsAnswer struct {
	V      int              `json:"v"`
	Alerts []*monitor.Alert `json:"alerts"` // the newest that were asked for, in the order in which they came
	More   bool             `json:"more"`   // there are older ones
}

// An AlertAnswer is the answer to GET /v1/alerts/<id>.
type AlertAnswer struct {
	V     int            `json:"v"`
	Alert *monitor.Alert `json:"alert"`
}

// public reports whether an alert is shown to everybody, and returns it as it is shown: why it is
// silenced is the operator's business.
func (s *Server) public(a *monitor.Alert) (*monitor.Alert, bool) {
	if slices.Contains(s.cfg.Private, a.Rule) {
		return nil, false
	}
	if a.Silenced != "" {
		c := *a
		c.Silenced = "silenced by the monitor's operator"
		a = &c
	}
	return a, true
}

func (s *Server) serveAlerts(w http.ResponseWriter, r *http.Request) error {
	n, err := limit(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := monitor.AlertFilter{Rule: q.Get("rule"), Severity: rule.Severity(q.Get("severity")), Subject: poclog.Identity(q.Get("subject"))}
	for name, at := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if text := q.Get(name); text != "" {
			if *at, err = time.Parse(time.RFC3339, text); err != nil {
				return httpd.Refuse(httpd.KindMalformed, "%s %.40q: want a time as in RFC 3339", name, text)
			}
		}
	}
	a := AlertsAnswer{V: 1, Alerts: []*monitor.Alert{}}
	if err := s.within(r.Context(), s.scans, "scans", func() error { return s.newest(r.Context(), f, n, &a) }); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-cache")
	return s.writeJSON(w, r, http.StatusOK, a)
}

// newest finds the last n public alerts of a filter, in the order in which they came.
func (s *Server) newest(ctx context.Context, f monitor.AlertFilter, n int, a *AlertsAnswer) error {
	f.Newest = true
	for alert, err := range s.folder.Alerts(ctx, f) {
		if err != nil {
			return err
		}
		shown, ok := s.public(alert)
		if !ok {
			continue
		}
		if a.More = len(a.Alerts) == n; a.More {
			break
		}
		a.Alerts = append(a.Alerts, shown)
	}
	slices.Reverse(a.Alerts)
	return nil
}

// alert finds the alert that a request names.
func (s *Server) alert(r *http.Request) (*monitor.Alert, error) {
	a, err := s.folder.Alert(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if a != nil {
		if shown, ok := s.public(a); ok {
			return shown, nil
		}
	}
	return nil, httpd.Refuse(httpd.KindNotFound, "no alert %.40q", r.PathValue("id"))
}

func (s *Server) serveAlert(w http.ResponseWriter, r *http.Request) error {
	a, err := s.alert(r)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-cache")
	return s.writeJSON(w, r, http.StatusOK, AlertAnswer{1, a})
}

// serveFile streams an alert's evidence, from within the folder.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) error {
	a, err := s.alert(r)
	if err != nil {
		return err
	}
	if a.File == "" {
		return httpd.Refuse(httpd.KindNotFound, "alert %s has no evidence in a file", a.ID)
	}
	f, info, err := openWithin(s.cfg.Dir, a.File)
	if errors.Is(err, os.ErrNotExist) {
		return httpd.Refuse(httpd.KindNotFound, "the evidence of alert %s is no longer here", a.ID)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache") // a contradiction may be completed later
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

// openWithin opens a file of a folder, and follows no link out of it.
func openWithin(dir, name string) (*os.File, os.FileInfo, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		err = fmt.Errorf("evidence %s: %s of %d bytes: want a file of at most %d", name, info.Mode(), info.Size(), maxFile)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}
