package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/poclog/poclog"
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

// Withheld is an entry that the statement excludes, because the log withheld a part of its evidence by law before it was audited.
type Withheld struct {
	Entry  uint64        `json:"entry"`
	Part   string        `json:"part"` // "bundle", "collateral" or "policy"
	Digest poclog.Digest `json:"digest"`
	Seen   string        `json:"seen"` // RFC 3339
}

// A Report is what an auditor says of a log: GET /audit/<hex SHA-256(origin)>. Its JSON is a stable schema, version V.
type Report struct {
	V         int      `json:"v"`
	Auditor   string   `json:"auditor"`
	VKeys     []string `json:"vkeys"`
	Origin    string   `json:"origin"`
	Statement string   `json:"statement"`

	Audited  uint64 `json:"audited"`           // every entry below was recomputed from its evidence, but those withheld
	Target   uint64 `json:"target"`            // the size up to which the log is being audited
	Cosigned uint64 `json:"cosigned"`          // the size of the latest cosigned checkpoint; 0 before the first
	At       string `json:"at,omitempty"`      // when that was, RFC 3339
	Trouble  string `json:"trouble,omitempty"` // what keeps the audit from going on that is no finding, such as a network

	Refused       []Finding         `json:"refused"`     // by entry; the first unresolved one is where the audit stands
	SplitViews    []json.RawMessage `json:"split_views"` // evidence that the log signed two histories (docs/format.md §10)
	WithheldTotal uint64            `json:"withheld_total"`
	Withheld      []Withheld        `json:"withheld"` // by entry: the first maxListed from the entry that ?from= names
}

// maxListed is how many withheld entries one report lists.
const maxListed = 1000

// Report says what was audited of a log. Withheld entries are listed from a number on.
func (a *Auditor) Report(ctx context.Context, origin string, from uint64) (*Report, error) {
	return a.report(ctx, hashOf(origin), from)
}

func (a *Auditor) report(ctx context.Context, hash string, from uint64) (*Report, error) {
	r, err := a.state.record(ctx, hash)
	if err != nil {
		return nil, err
	}
	out := &Report{V: 1, Auditor: a.Name(), VKeys: a.VKeys(), Origin: r.origin, Audited: r.audited}
	out.Statement = fmt.Sprintf("every entry of %s below %d was re-verified from its evidence, but those withheld", r.origin, r.audited)
	if r.target != nil {
		out.Target = r.target.Size
	}
	if head, err := a.head(ctx, r.origin); err == nil && head.Started {
		out.Cosigned, out.At = head.Size, head.Cosigned.Format(time.RFC3339)
	} else if err != nil && !errors.Is(err, errNoLog) {
		return nil, err
	}
	a.mu.Lock()
	out.Trouble = a.trouble[r.origin]
	a.mu.Unlock()
	return out, a.state.lists(ctx, r.origin, from, out)
}

// Handler serves what a witness serves, and GET /audit/<hex SHA-256(origin)>: a [Report].
func (a *Auditor) Handler() http.Handler {
	w := a.witness.Handler()
	mux := http.NewServeMux()
	mux.Handle("/", w)
	mux.HandleFunc("GET /audit/{hash}", a.serveReport)
	mux.HandleFunc("GET /metrics", func(rw http.ResponseWriter, req *http.Request) {
		w.ServeHTTP(rw, req)
		a.writeMetrics(req.Context(), rw)
	})
	return mux
}

// Serve answers on a listener and follows the logs until the context ends.
func (a *Auditor) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		a.Follow(ctx)
	}()
	err := witness.Serve(ctx, l, a.Handler())
	cancel()
	<-followed
	return err
}

func (a *Auditor) serveReport(rw http.ResponseWriter, req *http.Request) {
	from := uint64(0)
	if s := req.URL.Query().Get("from"); s != "" {
		var err error
		if from, err = strconv.ParseUint(s, 10, 63); err != nil {
			http.Error(rw, "from: want the number of an entry", http.StatusBadRequest)
			return
		}
	}
	r, err := a.report(req.Context(), req.PathValue("hash"), from)
	switch {
	case errors.Is(err, errNoLog):
		http.Error(rw, "no such log is audited", http.StatusNotFound)
		return
	case err != nil:
		a.cfg.Logger.Error("the report cannot be made", "error", err)
		http.Error(rw, "the auditor has failed", http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-cache")
	enc := json.NewEncoder(rw)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(r) // the client may be gone
}

func (a *Auditor) writeMetrics(ctx context.Context, rw http.ResponseWriter) {
	logs, err := a.state.logs(ctx)
	if err != nil {
		a.cfg.Logger.Error("metrics cannot be read", "error", err)
		return
	}
	for _, m := range []struct {
		name, help string
		value      func(*record) uint64
	}{
		{"poclog_audit_size", "Entries that were verified.", func(r *record) uint64 { return r.audited }},
		{"poclog_audit_target_size", "Entries that are to be.", func(r *record) uint64 {
			if r.target == nil {
				return 0
			}
			return r.target.Size
		}},
	} {
		fmt.Fprintf(rw, "# HELP %s %s\n# TYPE %s gauge\n", m.name, m.help, m.name)
		for _, r := range logs {
			fmt.Fprintf(rw, "%s{origin=%q} %d\n", m.name, r.origin, m.value(r))
		}
	}
	fmt.Fprint(rw, "# HELP poclog_audit_refused Entries that are refused, and split views. Anything but 0 implicates the log.\n# TYPE poclog_audit_refused gauge\n")
	for _, r := range logs {
		n, err := a.state.faults(ctx, r.origin)
		if err != nil {
			a.cfg.Logger.Error("metrics cannot be read", "error", err)
			return
		}
		fmt.Fprintf(rw, "poclog_audit_refused{origin=%q} %d\n", r.origin, n)
	}
}
