package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// A kind of refusal is one row of the table that maps it to HTTP.
type kind struct {
	name   string // the last part of the problem's type
	title  string
	status int
	retry  int // Retry-After in seconds; 0: none
}

var (
	kindMalformed = kind{"malformed", "The request is malformed", http.StatusBadRequest, 0}
	kindTooLarge  = kind{"too-large", "The request is too large", http.StatusRequestEntityTooLarge, 0}
	kindRefused   = kind{"refused", "The quote was refused", http.StatusUnprocessableEntity, 0}
	kindUnknown   = kind{"unproven", "No log has a proof of this chip", http.StatusForbidden, 0}
	kindDisputed  = kind{"disputed", "There is a contradiction about this chip", http.StatusConflict, 0}
	kindNotFound  = kind{"not-found", "There is nothing here", http.StatusNotFound, 0}
	kindBusy      = kind{"busy", "Too many requests at once", http.StatusServiceUnavailable, 1}
	kindInternal  = kind{"internal", "The monitor failed", http.StatusInternalServerError, 0}
)

// A refusal is an error with its kind, and what else the problem document says.
type refusal struct {
	kind   kind
	err    error
	check  string   // the verify.Check that refused
	alerts []string // ids
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(k kind, format string, args ...any) error {
	return &refusal{kind: k, err: fmt.Errorf(format, args...)}
}

// A problem is an RFC 9457 problem document. Error repeats the detail under the name that the alliance's servers give it.
type problem struct {
	Type   string   `json:"type"`
	Title  string   `json:"title"`
	Status int      `json:"status"`
	Detail string   `json:"detail"`
	Error  string   `json:"error"`
	Check  string   `json:"check,omitempty"`
	Alerts []string `json:"alerts,omitempty"`
}

// writeProblem answers with a refusal. What went wrong inside is logged, not told.
func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	ref := &refusal{kind: kindInternal, err: err}
	if !errors.As(err, &ref) {
		s.cfg.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		ref = &refusal{kind: kindInternal, err: errors.New("the monitor's operator finds the reason in its messages")}
	}
	k := ref.kind
	h := w.Header()
	h.Del("ETag")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if k.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(k.retry))
	}
	w.WriteHeader(k.status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(problem{ // the client may be gone
		Type: "tag:poclog.dev,2026:problem:" + k.name, Title: k.title, Status: k.status, Detail: ref.Error(), Error: ref.Error(), Check: ref.check, Alerts: ref.alerts,
	})
}
