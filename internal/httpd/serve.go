package httpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// Times of a connection. Bodies and answers have a least rate instead.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 32 << 10
	rateGrace     = 5 * time.Second  // before a least rate is demanded
	stopGrace     = 45 * time.Second // in which running requests finish
)

// Serve answers on a listener until the context ends, then lets running requests finish.
func (s *Server) Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	if a, ok := l.Addr().(*net.TCPAddr); ok && a.IP.IsLoopback() && len(s.cfg.TrustedProxies) == 0 {
		s.cfg.Logger.Warn("this address is reached from this machine only: if a proxy stands before it, trust it with --trusted-proxy, or its clients share one address's limits", "address", a.String())
	}
	if most := descriptors(); s.cfg.Connections > most {
		if most < leastConnections {
			return fmt.Errorf("serve %s: the process may open %d files, and needs %d of them for itself: raise the limit (ulimit -n)", l.Addr(), most+ownFiles, ownFiles)
		}
		s.cfg.Logger.Warn("fewer connections than --connections: the process may open too few files (ulimit -n)", "connections", most, "wanted", s.cfg.Connections)
		s.conns.limit(most)
	}
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog:    slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		stopped <- srv.Shutdown(grace)
	})
	if err := srv.Serve(&listener{l, s}); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stop serving %s: %w", l.Addr(), err)
	}
	return nil
}

const (
	ownFiles         = 128 // file descriptors that a service needs beside its connections
	leastConnections = 16
)

// A writer cuts off who reads an answer slower than the least rate.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	least   int64
	cut     func() // is told once that it was cut off
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(rateGrace + time.Duration(int64(len(p))*int64(time.Second)/w.least))); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := w.ResponseWriter.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && w.cut != nil {
		w.cut()
		w.cut = nil
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
