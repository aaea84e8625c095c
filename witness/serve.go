package witness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Handler serves, below one prefix, what tlog-witness calls the submission prefix and the monitoring prefix:
//
//	POST /add-checkpoint                         cosignature lines, or the status of the refusal
//	GET  /<hex SHA-256(origin)>/checkpoint       the latest cosigned checkpoint of a log; 404 before the first
//	GET  /health                                 200 if the witness can work
//	GET  /metrics                                per log, in the text format of Prometheus
func (w *Witness) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", w.serveAddCheckpoint)
	mux.HandleFunc("GET /{hash}/checkpoint", w.serveCheckpoint)
	mux.HandleFunc("GET /health", w.serveHealth)
	mux.HandleFunc("GET /metrics", w.serveMetrics)
	return mux
}

// Serve answers on a listener until the context ends, then lets running requests finish.
func (w *Witness) Serve(ctx context.Context, l net.Listener) error { return Serve(ctx, l, w.Handler()) }

// Serve answers on a listener with a handler, such as a witness's with more beside it, until the context ends, then lets running requests
// finish.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		stopped <- srv.Shutdown(grace)
	})
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve the witness: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stop the witness: %w", err)
	}
	return nil
}

func (w *Witness) serveAddCheckpoint(rw http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, req.Body, MaxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(rw, fmt.Sprintf("body of more than %d bytes", MaxBody), http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(rw, "the body cannot be read", http.StatusBadRequest)
		return
	}
	// A client that hangs up does not undo a decision.
	cosignatures, err := w.AddCheckpoint(context.WithoutCancel(req.Context()), body)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		writeRefusal(rw, refusal)
	case err != nil:
		w.log.Error("add-checkpoint failed", "error", err)
		http.Error(rw, "the witness has failed", http.StatusInternalServerError)
	default:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		rw.Write(cosignatures) // whether it arrives changes nothing here
	}
}

func writeRefusal(rw http.ResponseWriter, r *Refusal) {
	switch r.Status {
	case http.StatusConflict:
		// Not http.Error, which would set another type.
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(r.Status)
		fmt.Fprintf(rw, "%d\n", r.Size)
		return
	case http.StatusTooManyRequests:
		rw.Header().Set("Retry-After", "1")
	case http.StatusServiceUnavailable:
		if r.RetryAfter > 0 {
			rw.Header().Set("Retry-After", strconv.Itoa(int(r.RetryAfter.Seconds())))
		}
	}
	http.Error(rw, r.Detail, r.Status)
}

func (w *Witness) serveCheckpoint(rw http.ResponseWriter, req *http.Request) {
	cp, err := w.state.published(req.Context(), req.PathValue("hash"))
	switch {
	case errors.Is(err, errNoLog):
		http.Error(rw, "no checkpoint of such a log was cosigned", http.StatusNotFound)
	case err != nil:
		w.log.Error("checkpoint cannot be read", "error", err)
		http.Error(rw, "the witness has failed", http.StatusInternalServerError)
	default:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		rw.Header().Set("Cache-Control", "no-cache")
		rw.Write(cp)
	}
}

func (w *Witness) serveHealth(rw http.ResponseWriter, req *http.Request) {
	if err := w.Check(req.Context()); err != nil {
		http.Error(rw, oneLine(err), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(rw, "ok")
}
