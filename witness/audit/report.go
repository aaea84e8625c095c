package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/witness"
)

// A Finding is an entry that was refused.
type Finding struct {
	Entry    uint64 `json:"entry"`
	Check    string `json:"check"` // one of the audit's, or the appraisal's that refused
	Detail   string `json:"detail"`
	Seen     string `json:"seen"`               // when it was first refused, RFC 3339
	Resolved string `json:"resolved,omitempty"` // when it passed after all; absent while it is refused
}

// Withheld is an exception: an entry of which the log withheld a part of the evidence by law before
// the auditor saw it.
type Withheld struct {
	Entry  uint64        `json:"entry"`
	Part   string        `json:"part"` // "bundle", "envelope" or "collateral": the first that is withheld
	Digest poclog.Digest `json:"digest"`
	Seen   string        `json:"seen"` // when it was found withheld, RFC 3339

	judgedBy poclog.Blob // the policy in force for the entry
}

// A Report is what an auditor says of a log: GET /audit/<hex SHA-256(origin)>. Its JSON is a stable
// schema, version V.
type Report struct {
	V         int      `json:"v"`
	Auditor   string   `json:"auditor"`
	VKeys     []string `json:"vkeys"`
	Except    []string `json:"except_vkeys"` // of the keys that sign trees with exceptions
	Origin    string   `json:"origin"`
	Statement string   `json:"statement"`

	Audited  uint64 `json:"audited"`      // every entry below was recomputed from its evidence, but those withheld
	Target   uint64 `json:"target"`       // the size up to which the log is being audited
	Cosigned uint64 `json:"cosigned"`     // the size of the latest checkpoint that the auditor's own keys cosigned; 0 before the first
	At       string `json:"at,omitempty"` // when that was, RFC 3339
	Excepted uint64 `json:"excepted"`     // the size of the latest checkpoint that the keys for exceptions cosigned; 0 before the first
	ExceptAt string `json:"except_at,omitempty"`
	Trouble  string `json:"trouble,omitempty"` // what keeps the audit from going on that is no finding, such as a network

	Refused       []Finding         `json:"refused"`     // by entry; the first unresolved one is where the audit stands
	SplitViews    []json.RawMessage `json:"split_views"` // evidence that the log signed two histories (docs/format.md §14)
	WithheldTotal uint64            `json:"withheld_total"`
	Withheld      []Withheld        `json:"withheld"` // by entry: the first maxListed from the entry that ?from= names
}

// maxListed is how many withheld entries one report lists.
const maxListed = 1000

// Report says what was audited of a log. Withheld entries are listed from a number on.
func (a *Auditor) Report(ctx context.Context, origin string, from uint64) (*Report, error) {
	return a.report(ctx, witness.HashOf(origin), from)
}

func (a *Auditor) report(ctx context.Context, hash string, from uint64) (*Report, error) {
	r, err := a.state.record(ctx, hash)
	if err != nil {
		return nil, err
	}
	out := &Report{V: 1, Auditor: a.witness.Name(), VKeys: a.VKeys(), Except: a.ExceptVKeys(), Origin: r.origin, Audited: r.audited}
	if r.target != nil {
		out.Target = r.target.Size
	}
	if out.Cosigned, out.At, err = cosignedBy(ctx, a.witness, r.origin); err != nil {
		return nil, err
	}
	if out.Excepted, out.ExceptAt, err = cosignedBy(ctx, a.except, r.origin); err != nil {
		return nil, err
	}
	a.mu.Lock()
	out.Trouble = a.trouble[r.origin]
	a.mu.Unlock()
	if err := a.state.lists(ctx, r.origin, from, out); err != nil {
		return nil, err
	}
	out.Statement = fmt.Sprintf("every entry of %s below %d was re-verified from its evidence", r.origin, r.audited)
	if out.WithheldTotal > 0 {
		out.Statement += fmt.Sprintf(", but %d whose evidence was withheld before it was seen", out.WithheldTotal)
	}
	return out, nil
}

// cosignedBy says what a witness cosigned of a log, and when.
func cosignedBy(ctx context.Context, w *witness.Witness, origin string) (size uint64, at string, err error) {
	head, err := head(ctx, w, origin)
	if err != nil && !errors.Is(err, errNoLog) {
		return 0, "", err
	}
	if err != nil || !head.Started {
		return 0, "", nil
	}
	return head.Size, head.Cosigned.Format(time.RFC3339), nil
}

// Handler serves what a witness serves, with the keys for exceptions as one of its own, and beside
// it
//
//	GET /keys                                      its own verifier keys, and those for exceptions
//	GET /audit/<hex SHA-256(origin)>               a [Report]
//	GET /audit/<hex SHA-256(origin)>/exceptions    the note of exceptions on the tree that the keys for exceptions cosigned last; 404 if there is none
//	GET /except/<hex SHA-256(origin)>/checkpoint   that tree's checkpoint
func (a *Auditor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", a.witness.HandlerFor(a.addCheckpoint))
	mux.Handle("GET /keys", a.witness.HTTP().Read(func(rw http.ResponseWriter, _ *http.Request) error {
		return witness.ServeKeys(rw, slices.Concat(a.VKeys(), a.ExceptVKeys()))
	}))
	mux.Handle("GET /audit/{hash}", a.witness.HTTP().Read(a.serveReport))
	mux.Handle("GET /audit/{hash}/exceptions", a.witness.HTTP().Read(a.serveExceptions))
	mux.Handle("GET /except/{hash}/checkpoint", a.witness.HTTP().Read(a.serveExcepted))
	return mux
}

// Serve answers on a listener and follows the logs until the context ends.
func (a *Auditor) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		a.followLogs(ctx)
	}()
	err := a.witness.HTTP().Serve(ctx, l, a.Handler())
	cancel()
	<-followed
	return err
}

func (a *Auditor) serveReport(rw http.ResponseWriter, req *http.Request) error {
	from := uint64(0)
	if s := req.URL.Query().Get("from"); s != "" {
		var err error
		if from, err = strconv.ParseUint(s, 10, 63); err != nil {
			return httpd.Refuse(httpd.KindMalformed, "from %.40q: want the number of an entry", s)
		}
	}
	r, err := a.report(req.Context(), req.PathValue("hash"), from)
	if errors.Is(err, errNoLog) {
		return httpd.Refuse(httpd.KindNotFound, "no such log is audited")
	}
	if err != nil {
		return fmt.Errorf("make the report: %w", err)
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-cache")
	enc := json.NewEncoder(rw)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(r) // the client may be gone
	return nil
}
