// Package web answers over HTTP what a monitor knows (docs/monitor-api.md). It
// changes nothing, and may run beside the process that follows the logs. The answers themselves are
// of package query.
//
// What strangers can take is bounded as package httpd says. Beyond that, reading through the
// records, judging quotes and asking logs for receipts have places of their own, which are given
// back before an answer is written: nobody keeps them by reading slowly. Evidence is streamed.
//
// Alerts of rules that are private, such as those of the watch list, are in no answer, no entity
// tag and no count but that of /metrics.
//
// TestSlowReadersKeepNoPlaces, TestALogThatDoesNotAnswerHoldsUpNobody and
// TestEntityTagsTellNothingPrivate are the evidence.
package web

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/openapi"
	shared "github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// Places are what so many requests have at once. As everywhere, one address gets at most half.
const (
	scanPlaces    = 4        // that read through the records or the alerts
	judgePlaces   = 8        // that judge a quote
	receiptPlaces = 64       // that wait for receipts
	answerMemory  = 64 << 20 // bytes of answers that are being written
)

// Folder is what the service reads: a [monitor.Monitor].
type Folder interface {
	query.Ledger
	Index(ctx context.Context) error // makes records of an identity quick to find
	Logs(ctx context.Context) ([]monitor.LogInfo, error)
	Alert(ctx context.Context, id string) (*monitor.Alert, error)
	CountAlerts(ctx context.Context) ([]monitor.AlertCount, error)
	CountUntaken(ctx context.Context, sink string) (int, error)
	Statements(ctx context.Context, f monitor.StatedFilter) iter.Seq2[*monitor.Stated, error]
	Registrars(ctx context.Context) ([]monitor.Stating, error)
}

// Receipts makes the receipt of an entry.
type Receipts func(ctx context.Context, origin string, index uint64) ([]byte, error)

// Dossiers makes a log's dossier of an identity.
type Dossiers func(ctx context.Context, origin string, id poclog.Identity) ([]byte, error)

// A Config says how the service answers. Dir and Policies are required.
type Config struct {
	Dir      string               // the monitor's folder: evidence of alerts lies in it
	Policies []*poclog.Policy     // whose roots say which quotes are genuine, of one realm each
	Receipts Receipts             // nil: answers carry none
	Dossiers Dossiers             // nil: pages offer none
	Pins     *registry.Registrars // whom the monitor's operator believes about machines; nil: nobody's statements count
	Private  []string             // rules whose alerts are nobody else's business, such as those of the watch list
	Stalled  time.Duration        // a log that was not seen for so long is trouble; 0 is monitor.DefaultStalled
	Go       *shared.GoVerifier   // with which browsers check again; nil: the page says that there is none
	Sink     string               // the sink whose backlog is measured; "" is none

	Limits httpd.Config // what strangers can take; the service sets its Document, Now and Logger

	Clock  func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil is slog.DiscardHandler
}

// A Server answers over HTTP what a monitor knows.
type Server struct {
	folder Folder
	cfg    Config
	http   *httpd.Server
	quotes query.Quotes
	files  *answers
	lists  *snapshots

	recheck *shared.GoAssets // nil: there is no Go verifier

	scans, judging *httpd.Turns
	answers        *httpd.Shares
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
	cfg.Limits.Document, cfg.Limits.Now, cfg.Limits.Logger = document, cfg.Clock, cfg.Logger
	s := &Server{
		folder: folder, cfg: cfg, http: httpd.New(cfg.Limits), quotes: query.Quotes{Ledger: folder, Policies: cfg.Policies},
		scans: httpd.NewTurns(scanPlaces, scanPlaces/2), judging: httpd.NewTurns(judgePlaces, judgePlaces/2), answers: httpd.NewShares(answerMemory),
	}
	s.files, s.lists = newAnswers(s), &snapshots{s: s, life: context.Background()}
	s.recheck = cfg.Go.Assets()
	s.http.Metrics().MustRegister(&collector{s})
	return s
}

// Handler serves:
//
//	GET  /v1/identities/<identity>   what entries say of it, newest last, and alerts about it
//	POST /v1/check_quote             whether a quote's chip is proven, and where; also at /check_quote
//	GET  /v1/alerts                  alerts in the order in which they came
//	GET  /v1/alerts/<id>             one of them
//	GET  /v1/alerts/<id>/file        its evidence
//	GET  /health, /metrics           whether the logs are being followed; Prometheus
//	GET  /                           the explorer: pages for people
//
// Errors are RFC 9457 problem documents.
func (s *Server) Handler() http.Handler {
	mux := s.http.Mux(s.serveHealth)
	mux.Handle("GET /v1/identities/{id}", s.http.Read(s.serveIdentity))
	mux.Handle("GET /openapi.json", s.http.Read(openapi.Serve(openapi.Monitor)))
	mux.Handle("POST /v1/check_quote", s.http.Write(s.serveCheckQuote))
	mux.Handle("POST /check_quote", s.http.Write(s.serveCheckQuote))
	mux.Handle("GET /v1/alerts", s.http.Read(s.serveAlerts))
	mux.Handle("GET /v1/alerts/{id}", s.http.Read(s.serveAlert))
	mux.Handle("GET /v1/alerts/{id}/file", s.http.Read(s.serveFile))
	s.explore(mux)
	return mux
}

// Serve answers on a listener until the context ends, then lets running requests finish.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.lists.begin(ctx)()
	return s.http.Serve(ctx, l, s.Handler())
}

// within does something on one of a few places, for which addresses take turns.
func (s *Server) within(ctx context.Context, places *httpd.Turns, limit string, do func() error) error {
	waiting, cancel := context.WithTimeout(ctx, turnPatience)
	defer cancel()
	give, err := places.Take(waiting, httpd.ClientOf(ctx))
	if err != nil {
		s.http.Limited(limit)
		return httpd.Refuse(httpd.KindBusy, "others are being answered")
	}
	defer give()
	return do()
}

// turnPatience is how long a request waits for its turn.
const turnPatience = 5 * time.Second

// smallAnswer is how many bytes an answer may have that takes none of the memory for answers.
const smallAnswer = 16 << 10

// writeJSON writes an answer for programs.
func (s *Server) writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return s.writeAnswer(w, r, status, b.Bytes())
}

// writeAnswer writes an answer. While a large one is being written it takes memory, of which a
// client has its share.
func (s *Server) writeAnswer(w http.ResponseWriter, r *http.Request, status int, body []byte) error {
	who, size := httpd.ClientOf(r.Context()), int64(len(body))
	if size <= smallAnswer {
		size = 0
	}
	if !s.answers.Take(who, size) {
		s.http.Limited("answers")
		return httpd.Refuse(httpd.KindBusy, "too many answers are being read")
	}
	defer s.answers.Give(who, size)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
	return nil
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
