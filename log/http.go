package log

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/transparency-dev/tessera/api/layout"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/openapi"
	"github.com/poclog/poclog/verify"
)

// Handler serves the log, docs/http.md.
func (s *Service) Handler() http.Handler {
	mux := s.http.Mux(s.getHealth)
	mux.Handle("GET /checkpoint", s.http.Read(s.getCheckpoint))
	mux.Handle("GET /tile/", s.http.Read(s.getTile))
	mux.Handle("POST /v1/proofs", s.http.Write(s.postProof))
	mux.Handle("POST /v1/statements", s.http.Write(s.postStatement))
	mux.Handle("GET /v1/evidence/sha256/{digest}", s.http.Read(s.getEvidence))
	mux.Handle("GET /v1/index", s.http.Read(s.getIndex))
	mux.Handle("GET /v1/dossiers", s.http.Read(s.getDossier))
	mux.Handle("GET /v1/policy", s.http.Read(s.getPolicy))
	mux.Handle("GET /policy.txt", s.http.Read(s.getClientPolicy))
	mux.Handle("GET /v1/exceptions", s.http.Read(s.getExceptions))
	mux.Handle("GET /openapi.json", s.http.Read(openapi.Serve(openapi.Log)))
	s.servePages(mux)
	return mux
}

// Serve serves the log on a listener until the context ends, and lets running requests finish. A
// front end first serves on for Config.Drain, and is not ready meanwhile. The log stays open.
func (s *Service) Serve(ctx context.Context, l net.Listener) error {
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() {
		defer end()
		if s.stopping.Store(true); s.store.Shared {
			select {
			case <-serving.Done():
			case <-time.After(s.cfg.Drain):
			}
		}
	})
	defer stop()
	return s.http.Serve(serving, l, s.Handler())
}

// getCheckpoint answers from memory, so that the tiles of what it shows are served too.
func (s *Service) getCheckpoint(w http.ResponseWriter, _ *http.Request) error {
	checkpoint := s.published.latest()
	if checkpoint == nil {
		return refuse(kindUnavailable, "no checkpoint was published yet%s", s.roster.waiting())
	}
	return httpd.Send(w, httpd.Text, "no-cache", checkpoint)
}

// tilePath is what clients may read of the tiles' folder: it also holds Tessera's own state.
var tilePath = regexp.MustCompile(`^/tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[0-9]{1,3})?)$`)

// parseTilePath returns the level, index and width of a tile or entry bundle, whose path it accepts
// in the one form that is written.
func parseTilePath(path string) (level, index, width uint64, err error) {
	m := tilePath.FindStringSubmatch(path)
	if m == nil {
		return 0, 0, 0, errors.New("no path of a tile")
	}
	entries := m[1] == "entries"
	if entries {
		m[1] = "0"
	}
	level, index, partial, err := layout.ParseTileLevelIndexPartial(m[1], m[2])
	if err != nil {
		return 0, 0, 0, err
	}
	again := layout.TilePath(level, index, partial)
	if entries {
		again = layout.EntriesPath(index, partial)
	}
	if path != "/"+again {
		return 0, 0, 0, fmt.Errorf("want /%s", again)
	}
	return level, index, cmp.Or(uint64(partial), layout.TileWidth), nil
}

// inTree reports whether a tile is wholly in a tree. Tiles beyond the published tree can still
// change: a cache must not keep one.
func inTree(level, index, width, size uint64) bool {
	return index < 1<<55 && index*layout.TileWidth+width <= size>>(8*level)
}

func (s *Service) getTile(w http.ResponseWriter, r *http.Request) error {
	path := r.URL.Path
	level, index, width, err := parseTilePath(path)
	size, _, _ := s.published.state()
	if err == nil && s.store.Shared && !inTree(level, index, width, size) {
		// The reader may have a newer checkpoint, of another front end.
		s.published.refresh(r.Context(), s.tree.ReadCheckpoint)
		size, _, _ = s.published.state()
	}
	if err != nil || !inTree(level, index, width, size) {
		return refuse(httpd.KindNotFound, "no tile %.200q in the tree of size %d", path, size)
	}
	f, length, err := s.tree.Open(r.Context(), path[1:])
	if err != nil {
		return notFound(err, "no tile %q", path)
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", httpd.Immutable)
	w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	_, _ = io.Copy(w, f) // the client may be gone
	return nil
}

func notFound(err error, format string, args ...any) error {
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(httpd.KindNotFound, format, args...)
	}
	return err
}

func (s *Service) postProof(w http.ResponseWriter, r *http.Request) error {
	sub, err := s.readSubmission(w, r)
	if err != nil {
		return err
	}
	a, err := s.admit(r.Context(), sub)
	return s.answer(w, a, err)
}

// answer sends the receipt of an admission, if there is one. A client that is gone can ask again.
func (s *Service) answer(w http.ResponseWriter, a *admission, err error) error {
	if err != nil {
		return err
	}
	s.metrics.answered(a.isNew)
	w.Header().Set("Content-Type", poclog.ReceiptType)
	w.Header().Set("Cache-Control", "no-store")
	if a.isNew {
		w.WriteHeader(http.StatusCreated)
	}
	_, _ = w.Write(a.receipt)
	return nil
}

// readSubmission reads a body of one of the media types, no further than its limit.
func (s *Service) readSubmission(w http.ResponseWriter, r *http.Request) (*poclog.Submission, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	limit, ok := map[string]int64{poclog.BundleType: poclog.MaxBundle, poclog.SubmissionType: poclog.MaxSubmission, poclog.EnvelopeType: poclog.MaxEnvelope}[kind]
	if err != nil || !ok {
		return nil, refuse(kindMediaType, "media type %.100q: want %s, %s or %s", r.Header.Get("Content-Type"), poclog.BundleType, poclog.SubmissionType, poclog.EnvelopeType)
	}
	body, err := s.http.ReadBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	return parseSubmission(kind, body)
}

// parseSubmission parses a body by its media type.
func parseSubmission(kind string, body []byte) (*poclog.Submission, error) {
	var sub *poclog.Submission
	var err error
	switch kind {
	case poclog.BundleType:
		sub = &poclog.Submission{Bundle: body}
	case poclog.EnvelopeType:
		sub, err = openEnvelope(body)
	default:
		sub, err = poclog.ParseSubmission(body)
	}
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	return sub, nil
}

func openEnvelope(file []byte) (*poclog.Submission, error) {
	v, err := poclog.ParseEnvelope(file)
	if err != nil {
		return nil, err
	}
	sub, err := v.Submission()
	if err != nil {
		return nil, err
	}
	sub.Envelope = file
	return sub, nil
}

func (s *Service) getEvidence(w http.ResponseWriter, r *http.Request) error {
	d, err := poclog.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return refuse(httpd.KindNotFound, "%w", err)
	}
	list, err := s.withheld()
	if err != nil {
		return err
	}
	if list[d] {
		return refuse(kindWithheld, "evidence %s: its entry stays, and can no longer be audited", d)
	}
	f, size, err := s.store.Evidence.Open(r.Context(), d)
	if err != nil {
		if _, named, _ := s.duplicates.findBundle(r.Context(), d); named || !errors.Is(err, fs.ErrNotExist) {
			s.lost.note(d, "file", true)
		}
		return notFound(err, "no evidence %s", d)
	}
	defer f.Close()
	var begin [1]byte
	n, err := io.ReadFull(f, begin[:])
	if err != nil && size > 0 {
		return err
	}
	// Documents are anything, a page with scripts, too: they are downloads, and nothing else.
	kind := "application/octet-stream"
	if begin[0] == '{' {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", "attachment")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Set("Cache-Control", httpd.Immutable)
	_, _ = io.Copy(w, io.MultiReader(bytes.NewReader(begin[:n]), f)) // the client may be gone
	return nil
}

func (s *Service) withheld() (map[poclog.Digest]bool, error) {
	return withheld(filepath.Join(s.dir, fileWithheld))
}

func (s *Service) getPolicy(w http.ResponseWriter, _ *http.Request) error {
	return httpd.Send(w, httpd.JSON, "no-cache", s.rules.file)
}

// servedPolicy goes before the tlog-policy that a log serves.
const servedPolicy = "# As the log itself serves it, for convenience. Trust comes from elsewhere: compare the\n" +
	"# fingerprints with what the operators of log, witnesses and auditors told you otherwise.\n"

// getClientPolicy answers the tlog-policy for clients, as it was when the log started.
func (s *Service) getClientPolicy(w http.ResponseWriter, _ *http.Request) error {
	return httpd.Send(w, httpd.Text, "no-cache", append([]byte(servedPolicy), s.rules.ownText...))
}

// health says whether the log publishes; its JSON is a stable schema.
type health struct {
	V             int      `json:"v"`
	Status        string   `json:"status"` // "ok", "degraded" (it publishes, and something is missing) or "failing"
	Origin        string   `json:"origin"`
	Size          uint64   `json:"size"`
	CheckpointAge float64  `json:"checkpoint_age_seconds"`
	Reasons       []string `json:"reasons,omitempty"`

	Warnings   []string                 `json:"warnings,omitempty"`   // of what does not keep the log from publishing
	IndexLag   uint64                   `json:"index_lag"`            // published entries that the newest index entry does not cover
	Lost       int                      `json:"lost_files,omitempty"` // that entries name, and the log has not
	LostSome   []string                 `json:"lost,omitempty"`       // the first of them
	Collateral []poclog.CollateralState `json:"collateral,omitempty"` // what expires first in front, at most maxStates
}

func (s *Service) health() health {
	size, seen, _ := s.published.state()
	h := health{V: 1, Status: "ok", Origin: s.origin, Size: size, CheckpointAge: time.Since(seen).Seconds()}
	h.Collateral, h.Warnings = s.collateralState()
	h.Warnings = append(h.Warnings, s.roster.warnings()...)
	h.Warnings = append(h.Warnings, s.registry.warnings()...)
	h.Warnings = append(h.Warnings, s.http.Warnings()...)
	h.Warnings = append(h.Warnings, s.duplicates.warnings()...)
	h.Warnings, h.IndexLag = append(h.Warnings, s.indexer.warnings()...), s.indexer.lag()
	if h.Lost, h.LostSome = s.lost.list(); h.Lost > 0 {
		h.Status = "degraded"
		h.Warnings = append(h.Warnings, fmt.Sprintf("%d files of evidence are missing or damaged: the same bundle, submitted again, restores it", h.Lost))
	}
	for _, err := range s.troubles() {
		h.Reasons = append(h.Reasons, err.Error())
	}
	if s.stopping.Load() {
		h.Reasons = append(h.Reasons, "this process is being stopped")
	}
	if _, err := s.withheld(); err != nil {
		h.Reasons = append(h.Reasons, err.Error())
	}
	if len(h.Reasons) > 0 {
		h.Status = "failing"
	}
	return h
}

func (s *Service) getHealth(w http.ResponseWriter, _ *http.Request) error {
	h := s.health()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if h.Status == "failing" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(h) // the client may be gone
	return nil
}
