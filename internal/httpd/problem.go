package httpd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A Kind of problem is one row of the table that maps a service's refusals to HTTP.
type Kind struct {
	Name   string // the last part of the problem's type, and the metrics' label
	Title  string
	Status int
	Retry  time.Duration // Retry-After; 0: none
}

// What every service refuses.
var (
	KindMalformed = Kind{"malformed", "The request is malformed", http.StatusBadRequest, 0}
	KindTooLarge  = Kind{"too-large", "The request is too large", http.StatusRequestEntityTooLarge, 0}
	KindSlow      = Kind{"too-slow", "The request came too slowly", http.StatusRequestTimeout, 0}
	KindTooMany   = Kind{"too-many", "Too many requests", http.StatusTooManyRequests, 10 * time.Second}
	KindBusy      = Kind{"busy", "Too many requests at once", http.StatusServiceUnavailable, time.Second}
	KindNotFound  = Kind{"not-found", "There is nothing here", http.StatusNotFound, 0}
	KindInternal  = Kind{"internal", "The service failed", http.StatusInternalServerError, 0}
)

// A Refusal is why a request is not answered.
type Refusal struct {
	Kind   Kind
	Err    error   // a RetryAfter method of it or its causes goes before the kind's time
	Detail string  // what the stranger reads; "" is Err
	Check  string  // the check that refused, if one did
	Cost   float64 // how many requests this counts as beside itself, at the rate of its address

	// Document is what else the problem document says: it embeds its argument. nil adds nothing.
	Document func(Problem) any
}

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

// Refuse returns a refusal.
func Refuse(k Kind, format string, args ...any) error {
	return &Refusal{Kind: k, Err: fmt.Errorf(format, args...)}
}

// A Problem is an RFC 9457 problem document.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Check  string `json:"check,omitempty"` // the check that refused
}

// retryAfter is how long an error says to wait, in whole seconds, or else the kind's time.
func retryAfter(err error, otherwise time.Duration) time.Duration {
	var e interface{ RetryAfter() time.Duration }
	if errors.As(err, &e) && e.RetryAfter() > 0 {
		return (e.RetryAfter() + time.Second - 1).Truncate(time.Second)
	}
	return otherwise
}

// describe returns the refusal that an error is, or a fault inside.
func (s *Server) describe(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	if r := s.cfg.Refusal(err); r != nil {
		return r
	}
	return &Refusal{Kind: KindInternal, Err: err, Detail: "the operator finds the reason in the service's messages"}
}

// Refuse answers with a problem document, counts it, and charges its cost to the client. What went
// wrong inside is logged, not told.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	ref := s.describe(err)
	s.metrics.refusals.WithLabelValues(ref.Kind.Name, ref.Check).Inc()
	if ref.Cost > 0 {
		s.rate.Charge(s.cfg.Now(), s.client(r), ref.Cost)
	}
	if ref.Kind.Status >= http.StatusInternalServerError {
		s.cfg.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "kind", ref.Kind.Name, "error", err)
	}
	k := ref.Kind
	p := Problem{Type: "tag:poclog.dev,2026:problem:" + k.Name, Title: k.Title, Status: k.Status, Detail: ref.Detail, Check: ref.Check}
	if p.Detail == "" {
		p.Detail = ref.Err.Error()
	}
	var document any = p
	if f := ref.Document; f != nil {
		document = f(p)
	} else if s.cfg.Document != nil {
		document = s.cfg.Document(p)
	}
	h := w.Header()
	h.Del("ETag")
	if k.Retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(retryAfter(err, k.Retry)/time.Second)))
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(k.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(document) // the client may be gone
}
