package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
)

// Limits of the HTTP service.
const (
	defaultListed = 100 // statements or alerts in one answer
	maxListed     = 1000
	maxScans      = 2 // records are read through by so many requests at once
	maxJudging    = 4 // quotes are judged by so many
	maxFile       = 16 << 20
)

// Folder is what the service reads: a [monitor.Monitor].
type Folder interface {
	Logs(ctx context.Context) ([]monitor.LogInfo, error)
	Records(ctx context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error]
	Alerts(ctx context.Context, f monitor.AlertFilter) iter.Seq2[*monitor.Alert, error]
	Alert(ctx context.Context, id string) (*monitor.Alert, error)
	CountAlerts(ctx context.Context) ([]monitor.AlertCount, error)
	CountUntaken(ctx context.Context, sink string) (int, error)
}

// Receipts makes the receipt of an entry.
type Receipts func(ctx context.Context, origin string, index uint64) ([]byte, error)

// A Config says how the service answers. Dir and Policies are required.
type Config struct {
	Dir      string           // the monitor's folder: evidence of alerts lies in it
	Policies []*poclog.Policy // whose roots say which quotes are genuine, of one realm each
	Receipts Receipts         // nil: answers carry none
	Private  []string         // rules whose alerts are nobody else's business, such as those of the watch list
	Stalled  time.Duration    // a log that was not seen for so long is trouble; 0 is monitor.DefaultStalled
	Sink     string           // the sink whose backlog is measured; "" is none

	Clock  func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil is slog.DiscardHandler
}

// A Server answers over HTTP what a monitor knows. It changes nothing, and may run beside the process that follows the logs.
type Server struct {
	folder  Folder
	cfg     Config
	scans   chan struct{}
	judging chan struct{}
}

// NewServer returns one for a folder.
func NewServer(folder Folder, cfg Config) *Server {
	if cfg.Stalled == 0 {
		cfg.Stalled = monitor.DefaultStalled
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{folder: folder, cfg: cfg, scans: make(chan struct{}, maxScans), judging: make(chan struct{}, maxJudging)}
}

// Handler serves, as docs/format.md says under "A monitor's answers":
//
//	GET  /v1/identities/<identity>   what entries say of it, newest last, and alerts about it
//	POST /v1/check_quote             whether a quote's chip is proven, and where; also at /check_quote
//	GET  /v1/alerts                  alerts in the order in which they came
//	GET  /v1/alerts/<id>             one of them
//	GET  /v1/alerts/<id>/file        its evidence
//	GET  /health, /metrics           whether the logs are being followed; Prometheus
//
// Errors are RFC 9457 problem documents.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/identities/{id}":  s.serveIdentity,
		"POST /v1/check_quote":     s.serveCheckQuote,
		"POST /check_quote":        s.serveCheckQuote,
		"GET /v1/alerts":           s.serveAlerts,
		"GET /v1/alerts/{id}":      s.serveAlert,
		"GET /v1/alerts/{id}/file": s.serveFile,
		"GET /health":              s.serveHealth,
		"GET /metrics":             s.serveMetrics,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Content-Type-Options", "nosniff")
			if err := h(w, r); err != nil {
				s.writeProblem(w, r, err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.writeProblem(w, r, refuse(kindNotFound, "no %s %.100q here", r.Method, r.URL.Path))
	})
	return mux
}

// acquire takes one of a few places, or refuses.
func acquire(places chan struct{}) (release func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, refuse(kindBusy, "others are being answered")
	}
}

// An IdentityAnswer is the answer to GET /v1/identities/<identity>. Its JSON is a stable schema, version V.
type IdentityAnswer struct {
	V          int              `json:"v"`
	Identity   poclog.Identity  `json:"identity"`
	Total      int              `json:"total"`      // entries that name it
	Statements []Statement      `json:"statements"` // the newest of them, in the order of their appraisal
	Alerts     []*monitor.Alert `json:"alerts"`     // about it, or that concern it
	Logs       []LogState       `json:"logs"`       // how far each log was read: what is not there, nobody claimed by then
}

// A LogState says how far a log was read.
type LogState struct {
	Origin string    `json:"origin"`
	Next   uint64    `json:"next"` // every entry below it was read
	Size   uint64    `json:"size"`
	Looked time.Time `json:"looked,omitzero"`
}

func statesOf(logs []monitor.LogInfo) []LogState {
	out := make([]LogState, 0, len(logs))
	for _, l := range logs {
		if !l.Removed {
			out = append(out, LogState{l.Origin, l.Next, l.Size, l.Looked})
		}
	}
	return out
}

// limit reads the parameter limit.
func limit(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultListed, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxListed {
		return 0, refuse(kindMalformed, "limit %.40q: want 1 to %d", text, maxListed)
	}
	return n, nil
}

func (s *Server) serveIdentity(w http.ResponseWriter, r *http.Request) error {
	id, err := poclog.ParseIdentity(r.PathValue("id"))
	if err != nil {
		return refuse(kindMalformed, "%w", err)
	}
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
	release, err := acquire(s.scans)
	if err != nil {
		return err
	}
	defer release()
	a := IdentityAnswer{V: 1, Identity: id, Logs: statesOf(logs)}
	if a.Statements, a.Total, err = Statements(s.folder.Records(r.Context(), monitor.Filter{Identity: id, Kind: monitor.KindProof}), id, n); err != nil {
		return err
	}
	if a.Statements == nil {
		a.Statements = []Statement{}
	}
	if a.Alerts, err = s.alertsAbout(r.Context(), id); err != nil {
		return err
	}
	return writeJSON(w, a)
}

// unchanged sets an entity tag for the state of logs and alerts, and answers 304 to who has seen it.
func (s *Server) unchanged(w http.ResponseWriter, r *http.Request, logs []monitor.LogInfo) (bool, error) {
	counts, err := s.folder.CountAlerts(r.Context())
	if err != nil {
		return false, err
	}
	h := fnv.New64a()
	for _, l := range logs {
		fmt.Fprintln(h, l.Origin, l.Next, l.Size, l.Looked.Unix())
	}
	fmt.Fprintln(h, counts, r.URL.RequestURI())
	tag := fmt.Sprintf(`"%x"`, h.Sum64())
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache") // may be kept, and must be asked for again
	if slices.Contains(strings.Split(strings.ReplaceAll(r.Header.Get("If-None-Match"), " ", ""), ","), tag) {
		w.WriteHeader(http.StatusNotModified)
		return true, nil
	}
	return false, nil
}

// public reports whether an alert is shown to everybody, and returns it as it is shown: why it is silenced is the operator's business.
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

// Concerns reports whether an alert is about one of the identities, or concerns it.
func Concerns(a *monitor.Alert, ids ...poclog.Identity) bool {
	return slices.ContainsFunc(ids, func(id poclog.Identity) bool {
		return id != "" && (a.Subject == string(id) || slices.Contains(a.Affected, id) || slices.Contains(a.Implicated, string(id)))
	})
}

// alertsAbout lists the public alerts about identities: at most maxListed, the newest.
func (s *Server) alertsAbout(ctx context.Context, ids ...poclog.Identity) ([]*monitor.Alert, error) {
	list := []*monitor.Alert{}
	for _, severity := range []string{"contradiction", "alert"} {
		for a, err := range s.folder.Alerts(ctx, monitor.AlertFilter{Severity: severity}) {
			if err != nil {
				return nil, err
			}
			if shown, ok := s.public(a); ok && Concerns(a, ids...) {
				list = append(list, shown)
			}
		}
	}
	return list[max(0, len(list)-maxListed):], nil
}

// An AlertsAnswer is the answer to GET /v1/alerts.
type AlertsAnswer struct {
	V      int              `json:"v"`
	Alerts []*monitor.Alert `json:"alerts"` // the newest that were asked for, in the order in which they came
	More   bool             `json:"more"`   // there are older ones
}

func (s *Server) serveAlerts(w http.ResponseWriter, r *http.Request) error {
	n, err := limit(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := monitor.AlertFilter{Rule: q.Get("rule"), Severity: q.Get("severity"), Subject: q.Get("subject")}
	for name, at := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if text := q.Get(name); text != "" {
			if *at, err = time.Parse(time.RFC3339, text); err != nil {
				return refuse(kindMalformed, "%s %.40q: want a time as in RFC 3339", name, text)
			}
		}
	}
	a := AlertsAnswer{V: 1, Alerts: []*monitor.Alert{}}
	for alert, err := range s.folder.Alerts(r.Context(), f) {
		if err != nil {
			return err
		}
		shown, ok := s.public(alert)
		if !ok {
			continue
		}
		if a.Alerts = append(a.Alerts, shown); len(a.Alerts) > 2*n {
			a.Alerts, a.More = slices.Clone(a.Alerts[len(a.Alerts)-n:]), true
		}
	}
	if extra := len(a.Alerts) - n; extra > 0 {
		a.Alerts, a.More = a.Alerts[extra:], true
	}
	w.Header().Set("Cache-Control", "no-cache")
	return writeJSON(w, a)
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
	return nil, refuse(kindNotFound, "no alert %.40q", r.PathValue("id"))
}

func (s *Server) serveAlert(w http.ResponseWriter, r *http.Request) error {
	a, err := s.alert(r)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-cache")
	return writeJSON(w, struct {
		V     int            `json:"v"`
		Alert *monitor.Alert `json:"alert"`
	}{1, a})
}

// serveFile serves an alert's evidence, from within the folder.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) error {
	a, err := s.alert(r)
	if err != nil {
		return err
	}
	if a.File == "" {
		return refuse(kindNotFound, "alert %s has no evidence in a file", a.ID)
	}
	b, err := s.readEvidence(a.File)
	if errors.Is(err, os.ErrNotExist) {
		return refuse(kindNotFound, "the evidence of alert %s is no longer here", a.ID)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache") // a contradiction may be completed later
	_, _ = w.Write(b)                           // the client may be gone
	return nil
}

func (s *Server) readEvidence(name string) ([]byte, error) {
	root, err := os.OpenRoot(s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("evidence %s: over %d bytes", name, maxFile)
	}
	return b, err
}

func writeJSON(w http.ResponseWriter, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b.Bytes()) // the client may be gone
	return nil
}
