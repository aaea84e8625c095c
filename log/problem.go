package log

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/poclog/poclog/verify"
)

// A kind of refusal is one row of the table that maps it to HTTP.
type kind struct {
	name   string // the last part of the problem's type, and the metric's label
	title  string
	status int
	retry  time.Duration // Retry-After; 0: none
}

var (
	kindMalformed   = kind{"malformed", "The submission is malformed", http.StatusBadRequest, 0}
	kindMediaType   = kind{"media-type", "The submission has another media type", http.StatusUnsupportedMediaType, 0}
	kindTooLarge    = kind{"too-large", "The submission is too large", http.StatusRequestEntityTooLarge, 0}
	kindRefused     = kind{"refused", "The evidence was refused", http.StatusUnprocessableEntity, 0}
	kindTooMany     = kind{"too-many", "Too many submissions", http.StatusTooManyRequests, 10 * time.Second}
	kindUnavailable = kind{"unavailable", "The log cannot publish now", http.StatusServiceUnavailable, 5 * time.Second}
	kindCollateral  = kind{"collateral", "The manufacturer's collateral is not to be had now", http.StatusServiceUnavailable, 30 * time.Second}
	kindNotFound    = kind{"not-found", "There is nothing here", http.StatusNotFound, 0}
	kindWithheld    = kind{"withheld", "This evidence is withheld by law", http.StatusUnavailableForLegalReasons, 0}
	kindInternal    = kind{"internal", "The log failed", http.StatusInternalServerError, 0}
)

// A refusal is an error with its kind.
type refusal struct {
	kind kind
	err  error // a RetryAfter method of it or its causes goes before the kind's time
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(k kind, format string, args ...any) error {
	return &refusal{k, fmt.Errorf(format, args...)}
}

func tooMany(format string, args ...any) error { return refuse(kindTooMany, format, args...) }

// kindOf maps every error of this package, in one place.
func kindOf(err error) kind {
	var r *refusal
	if errors.As(err, &r) {
		return r.kind
	}
	switch check, ok := verify.CheckOf(err); {
	case ok && check == verify.Format:
		return kindMalformed
	case ok:
		return kindRefused
	}
	return kindInternal
}

// A problem is an RFC 9457 problem document.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Check  string `json:"check,omitempty"` // the verify.Check that refused
}

// retryAfter is how long an error says to wait, in whole seconds, or else the kind's time.
func retryAfter(err error, otherwise time.Duration) time.Duration {
	var e interface{ RetryAfter() time.Duration }
	if errors.As(err, &e) && e.RetryAfter() > 0 {
		return (e.RetryAfter() + time.Second - 1).Truncate(time.Second)
	}
	return otherwise
}

// writeProblem answers with a refusal. What went wrong inside the log is logged, not told.
func (s *Service) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	k := kindOf(err)
	p := problem{Type: "tag:poclog.dev,2026:problem:" + k.name, Title: k.title, Status: k.status, Detail: err.Error()}
	if check, ok := verify.CheckOf(err); ok {
		p.Check = string(check)
		var e *verify.Error
		errors.As(err, &e)
		p.Detail = e.Detail
	}
	s.metrics.refused(k.name, p.Check)
	if k.status >= http.StatusInternalServerError {
		s.cfg.Logger.Error("request failed", "path", r.URL.Path, "kind", k.name, "error", err)
	}
	if k == kindInternal {
		p.Detail = "the log's operator finds the reason in its messages"
	}
	if k.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter(err, k.retry)/time.Second)))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(k.status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // the client may be gone
}
