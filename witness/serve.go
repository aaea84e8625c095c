package witness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/openapi"
)

// Handler serves, below one prefix, what tlog-witness calls the submission prefix and the
// monitoring prefix:
//
//	POST /add-checkpoint                         cosignature lines, or the status of the refusal
//	GET  /<hex SHA-256(origin)>/checkpoint       the latest cosigned checkpoint of a log; 404 before the first
//	GET  /keys                                   its verifier keys, a line each, for who trusts the connection or compares fingerprints
//	GET  /health                                 200 if the witness can work
//	GET  /metrics                                per log, in the text format of Prometheus
//
// Refusals but 409 are RFC 9457 problem documents.
func (w *Witness) Handler() http.Handler { return w.HandlerFor(w.AddCheckpoint) }

// HandlerFor is Handler with another answer to the body of an add-checkpoint request.
func (w *Witness) HandlerFor(add func(ctx context.Context, body []byte) (cosignatures []byte, err error)) http.Handler {
	mux := w.http.Mux(w.serveHealth)
	mux.Handle("POST /add-checkpoint", w.http.Write(func(rw http.ResponseWriter, req *http.Request) error {
		return w.serveAddCheckpoint(rw, req, add)
	}))
	mux.Handle("GET /openapi.json", w.http.Read(openapi.Serve(openapi.Witness)))
	mux.Handle("GET /keys", w.http.Read(w.serveKeys))
	mux.Handle("GET /{hash}/checkpoint", w.http.Read(w.serveCheckpoint))
	return mux
}

func (w *Witness) serveKeys(rw http.ResponseWriter, _ *http.Request) error {
	return ServeKeys(rw, w.VKeys())
}

// ServeKeys answers verifier keys, a line each.
func ServeKeys(rw http.ResponseWriter, vkeys []string) error {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintln(rw, strings.Join(vkeys, "\n")) // the client may be gone
	return nil
}

// HTTP is what holds strangers to their shares, for handlers that are served beside the witness's.
func (w *Witness) HTTP() *httpd.Server { return w.http }

// Serve answers on a listener until the context ends, then lets running requests finish.
func (w *Witness) Serve(ctx context.Context, l net.Listener) error {
	return w.http.Serve(ctx, l, w.Handler())
}

func (w *Witness) serveAddCheckpoint(rw http.ResponseWriter, req *http.Request, add func(context.Context, []byte) ([]byte, error)) error {
	body, err := w.http.ReadBody(rw, req, MaxBody)
	if err != nil {
		return err
	}
	// A client that hangs up does not undo a decision.
	cosignatures, err := add(context.WithoutCancel(req.Context()), body)
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) && refusal.Status == http.StatusConflict {
		rw.Header().Set("Content-Type", "text/x.tlog.size") // tlog-witness, add-checkpoint
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintf(rw, "%d\n", refusal.Size)
		return nil
	}
	if err != nil {
		return err
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rw.Write(cosignatures) // whether it arrives changes nothing here
	return nil
}

// kinds are the refusals of tlog-witness, by status.
var kinds = map[int]httpd.Kind{
	http.StatusBadRequest:          httpd.KindMalformed,
	http.StatusForbidden:           {Name: "not-signed", Title: "No signature of a trusted key", Status: http.StatusForbidden},
	http.StatusNotFound:            httpd.KindNotFound,
	http.StatusUnprocessableEntity: {Name: "inconsistent", Title: "The checkpoint does not extend the latest cosigned one", Status: http.StatusUnprocessableEntity},
	http.StatusTooManyRequests:     {Name: httpd.KindTooMany.Name, Title: httpd.KindTooMany.Title, Status: http.StatusTooManyRequests, Retry: time.Second},
	http.StatusServiceUnavailable:  {Name: "unavailable", Title: "The witness cannot cosign now", Status: http.StatusServiceUnavailable},
}

// costRefused is what a checkpoint without a good signature costs its address, in requests.
const costRefused = 4

// describe is the problem that a refusal is.
func describe(err error) *httpd.Refusal {
	var r *Refusal
	if !errors.As(err, &r) {
		return nil
	}
	k, ok := kinds[r.Status]
	if !ok {
		return nil
	}
	if r.RetryAfter > 0 {
		k.Retry = r.RetryAfter
	}
	out := &httpd.Refusal{Kind: k, Err: err, Detail: r.Detail}
	if r.Status == http.StatusForbidden {
		out.Cost = costRefused
	}
	return out
}

func (w *Witness) serveCheckpoint(rw http.ResponseWriter, req *http.Request) error {
	cp, err := w.state.published(req.Context(), req.PathValue("hash"))
	if errors.Is(err, errNoLog) {
		return httpd.Refuse(httpd.KindNotFound, "no checkpoint of such a log was cosigned")
	}
	if err != nil {
		return err
	}
	return httpd.Send(rw, httpd.Text, "no-cache", cp)
}

func (w *Witness) serveHealth(rw http.ResponseWriter, req *http.Request) error {
	rw.Header().Set("Cache-Control", "no-store")
	if err := w.Check(req.Context()); err != nil {
		return httpd.Refuse(kinds[http.StatusServiceUnavailable], "%s", oneLine(err))
	}
	fmt.Fprintln(rw, "ok")
	for _, warning := range w.http.Warnings() {
		fmt.Fprintln(rw, "warning:", warning)
	}
	return nil
}
