package web

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/verify/rule"
)

// How many statements or alerts are in one answer.
const (
	defaultListed = 100
	maxListed     = 1000
)

// An IdentityAnswer is the answer to GET /v1/identities/<identity>. Its JSON is a stable schema,
// version V.
type IdentityAnswer struct {
	V          int               `json:"v"`
	Identity   poclog.Identity   `json:"identity"`
	Total      int               `json:"total"`      // entries that name it
	Statements []query.Statement `json:"statements"` // the newest of them, in the order of their appraisal
	Alerts     []*monitor.Alert  `json:"alerts"`     // about it, or that concern it
	Logs       []LogState        `json:"logs"`       // how far each log was read: what is not there, nobody claimed by then
}

// limit reads the parameter limit.
func limit(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultListed, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxListed {
		return 0, httpd.Refuse(httpd.KindMalformed, "limit %.40q: want 1 to %d", text, maxListed)
	}
	return n, nil
}

func (s *Server) serveIdentity(w http.ResponseWriter, r *http.Request) error {
	n, err := limit(r)
	if err != nil {
		return err
	}
	logs, err := s.folder.Logs(r.Context())
	if err != nil {
		return err
	}
	fresh, err := s.unchanged(w, r, logs)
	if err != nil || fresh {
		return err
	}
	a, err := s.identity(r, n)
	if err != nil {
		return err
	}
	a.Logs = statesOf(logs)
	return s.writeJSON(w, r, http.StatusOK, a)
}

// identity answers what is known of the identity in a request's path, with its newest n statements.
func (s *Server) identity(r *http.Request, n int) (*IdentityAnswer, error) {
	id, err := poclog.ParseIdentity(r.PathValue("id"))
	if err != nil {
		return nil, httpd.Refuse(httpd.KindMalformed, "%w", err)
	}
	a := &IdentityAnswer{V: 1, Identity: id}
	err = s.within(r.Context(), s.scans, "scans", func() (err error) {
		records := s.folder.Records(r.Context(), monitor.Filter{Identity: id, Kind: monitor.KindProof})
		if a.Statements, a.Total, err = query.Statements(records, id, n); err != nil {
			return err
		}
		a.Alerts, err = s.alertsAbout(r.Context(), id)
		return err
	})
	if a.Statements == nil {
		a.Statements = []query.Statement{}
	}
	return a, err
}

// unchanged sets an entity tag for the state of logs and public alerts, and answers 304 to who has
// seen it.
func (s *Server) unchanged(w http.ResponseWriter, r *http.Request, logs []monitor.LogInfo, more ...any) (bool, error) {
	counts, err := s.folder.CountAlerts(r.Context())
	if err != nil {
		return false, err
	}
	h := fnv.New64a()
	for _, l := range logs {
		fmt.Fprintln(h, l.Origin, l.Next, l.Size, l.Looked.Unix(), l.Removed)
	}
	counts = slices.DeleteFunc(counts, func(c monitor.AlertCount) bool { return slices.Contains(s.cfg.Private, c.Rule) })
	fmt.Fprintln(h, counts, r.URL.RequestURI(), more)
	tag := fmt.Sprintf(`"%x"`, h.Sum64())
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache") // may be kept, and must be asked for again
	if slices.Contains(strings.Split(strings.ReplaceAll(r.Header.Get("If-None-Match"), " ", ""), ","), tag) {
		w.WriteHeader(http.StatusNotModified)
		return true, nil
	}
	return false, nil
}

// alertsAbout lists the public alerts about identities: at most maxListed, the newest of each
// severity.
func (s *Server) alertsAbout(ctx context.Context, ids ...poclog.Identity) ([]*monitor.Alert, error) {
	list := []*monitor.Alert{}
	for _, severity := range []rule.Severity{rule.Contradiction, rule.Alert} {
		for a, err := range s.folder.Alerts(ctx, monitor.AlertFilter{Severity: severity}) {
			if err != nil {
				return nil, err
			}
			if shown, ok := s.public(a); ok && query.Concerns(a, ids...) {
				list = append(list, shown)
			}
		}
	}
	return list[max(0, len(list)-maxListed):], nil
}
