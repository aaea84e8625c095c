// Package httpd is what the HTTP services of this module have in common: how they listen and stop,
// what a stranger can take of them, how they refuse, and what they count.
//
// Each stranger is an address: an IPv4 address or an IPv6 /64, as the connection says or, behind a
// trusted proxy, as that proxy says. Connections, requests at a time, memory and budgets are
// divided by one rule: an address may hold at most as much as it finds free. One address alone gets
// half, and a newcomer always finds something. Requests that read, that write and that ask for the
// service's state have places of their own, so that a flood of one kind does not stop another.
//
// Every refusal is an RFC 9457 problem document and a line in the metrics. What one stranger costs
// others is measured by the program in internal/strangers.
//
// It does not protect against more strangers than there are places, nor against a flood below HTTP.
package httpd

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of [Config].
const (
	DefaultConnections = 1024
	DefaultReads       = 256
	DefaultWrites      = 256
	DefaultWaiting     = 512
	DefaultMemory      = 512 << 20
	DefaultRate        = 20.0
	DefaultLeastRate   = 16 << 10
	statusPlaces       = 32
)

// A Config says what strangers can take. The zero value is safe.
type Config struct {
	TrustedProxies []netip.Prefix // whose word on a client's address counts

	Connections int     // open at a time; 0 is DefaultConnections
	Reads       int     // reading requests answered at a time; 0 is DefaultReads
	Writes      int     // writing requests answered at a time; 0 is DefaultWrites
	Waiting     int     // writing requests that wait for others after their work is done; 0 is DefaultWaiting
	Memory      int64   // bytes that the process should stay within; bodies, with the copies made of them, get half. 0 is DefaultMemory
	Copies      int64   // bytes of memory that a byte of a body takes at worst; 0 is 1
	Rate        float64 // writing requests a second from one address; 0 is DefaultRate
	LeastRate   int64   // bytes a second below which a body or an answer is cut off; 0 is DefaultLeastRate

	// UnsafeUnlimited removes rate, places and memory limits: for benchmarks and laboratories.
	UnsafeUnlimited bool

	// Refusal describes a service's own errors; nil, and a nil result, are faults inside, which
	// strangers do not read.
	Refusal func(error) *Refusal
	// Document is what else every problem document of the service says, as Refusal.Document, which
	// goes before it. nil adds nothing.
	Document func(Problem) any

	Now    func() time.Time // of rates; nil is time.Now
	Logger *slog.Logger     // nil is slog.DiscardHandler
}

func (c *Config) setDefaults() {
	c.Connections = cmp.Or(c.Connections, DefaultConnections)
	c.Reads = cmp.Or(c.Reads, DefaultReads)
	c.Writes = cmp.Or(c.Writes, DefaultWrites)
	c.Waiting = cmp.Or(c.Waiting, DefaultWaiting)
	c.Memory = cmp.Or(c.Memory, DefaultMemory)
	c.Copies = cmp.Or(c.Copies, 1)
	c.Rate = cmp.Or(c.Rate, DefaultRate)
	c.LeastRate = cmp.Or(c.LeastRate, DefaultLeastRate)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.Refusal == nil {
		c.Refusal = func(error) *Refusal { return nil }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// A Server holds strangers to their shares of one service. Its methods may be called concurrently.
type Server struct {
	cfg     Config
	conns   *connections
	reads   *Shares
	writes  *Shares
	waiting *Shares
	status  *Shares
	memory  *Shares
	rate    *Rate
	proxies proxies
	metrics *metrics
}

// New returns a server for a service's handlers.
func New(cfg Config) *Server {
	cfg.setDefaults()
	size := func(n int64) *Shares {
		if cfg.UnsafeUnlimited {
			n = unlimited
		}
		return NewShares(n)
	}
	s := &Server{
		cfg: cfg, conns: newConnections(cfg.Connections),
		reads: size(int64(cfg.Reads)), writes: size(int64(cfg.Writes)), waiting: size(int64(cfg.Waiting)),
		status: size(statusPlaces), memory: size(cfg.Memory / 2),
		rate: NewRate(cfg.Rate), proxies: proxies{trusted: cfg.TrustedProxies},
	}
	s.metrics = newMetrics(s)
	return s
}

// Metrics is the registry behind /metrics, for what the service itself counts.
func (s *Server) Metrics() prometheus.Registerer { return s.metrics.registry }

// A Handler answers a request, or says why not: a [Refusal], what Config.Refusal describes, or a
// fault.
type Handler func(w http.ResponseWriter, r *http.Request) error

// What Send says of a body.
const (
	Text      = "text/plain; charset=utf-8"
	JSON      = "application/json"
	Immutable = "public, max-age=31536000, immutable" // its address leads to these bytes for ever
)

// Send answers with a body, and says what it is and how long others may keep it.
func Send(w http.ResponseWriter, mediaType, cache string, body []byte) error {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", cache)
	_, _ = w.Write(body) // the client may be gone
	return nil
}

// Read serves requests that change nothing.
func (s *Server) Read(h Handler) http.Handler { return s.handler("read", s.reads, h) }

// Status serves requests about the service's own state. They have places of their own, because they
// matter most when all others are taken.
func (s *Server) Status(h Handler) http.Handler { return s.handler("status", s.status, h) }

// Write serves requests that cost work. They are held to a rate, too.
func (s *Server) Write(h Handler) http.Handler {
	return s.handler("write", s.writes, func(w http.ResponseWriter, r *http.Request) error {
		if !s.cfg.UnsafeUnlimited && !s.rate.Take(s.cfg.Now(), ClientOf(r.Context())) {
			s.metrics.limited.WithLabelValues("rate").Inc()
			return Refuse(KindTooMany, "requests from this address: over %g a second", s.cfg.Rate)
		}
		return h(w, r)
	})
}

// Mux begins a service's routes: its health, whether it lives at all, its metrics, and an answer to
// what no other route serves. Who starts processes asks /live; who sends requests asks /health.
func (s *Server) Mux(health Handler) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /health", s.Status(health))
	mux.Handle("GET /live", s.Status(func(w http.ResponseWriter, _ *http.Request) error {
		return Send(w, Text, "no-store", []byte("alive\n"))
	}))
	mux.Handle("GET /metrics", s.serveMetrics())
	mux.Handle("/", s.notFound())
	return mux
}

func (s *Server) notFound() http.Handler {
	return s.Read(func(_ http.ResponseWriter, r *http.Request) error {
		return Refuse(KindNotFound, "no %s %.200q here", r.Method, r.URL.Path)
	})
}

func (s *Server) handler(class string, places *Shares, h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &request{server: s, client: s.client(r), class: class, places: places}
		defer s.conns.busy(r.Context())()
		w = &writer{ResponseWriter: w, control: http.NewResponseController(w), least: s.cfg.LeastRate, cut: s.metrics.limited.WithLabelValues("slow-reader").Inc}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !places.Take(q.client, 1) {
			q.places = nil
			s.metrics.limited.WithLabelValues(class).Inc()
			s.refuse(w, r, Refuse(KindBusy, "too many requests are being answered"))
			return
		}
		defer q.release()
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, q))
		if err := h(w, r); err != nil {
			s.refuse(w, r, err)
		}
	})
}

// A request is what one request holds.
type request struct {
	server *Server
	client string
	class  string
	places *Shares // nil: none
	memory int64
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	q, _ := ctx.Value(requestKey{}).(*request)
	return q
}

// ClientOf returns whose share a request counts to, or "" outside of a handler.
func ClientOf(ctx context.Context) string {
	if q := requestOf(ctx); q != nil {
		return q.client
	}
	return ""
}

// Wait moves a writing request from the places where work is done to those where the rest of its
// time is spent waiting, and gives back the memory of its body: the caller keeps no part of it.
// Outside of a handler it does nothing.
func Wait(ctx context.Context) error {
	q := requestOf(ctx)
	if q == nil || q.class == "waiting" {
		return nil
	}
	q.releaseMemory()
	s := q.server
	if !s.waiting.Take(q.client, 1) {
		s.metrics.limited.WithLabelValues("waiting").Inc()
		return Refuse(KindBusy, "too many requests wait")
	}
	q.places.Give(q.client, 1)
	q.class, q.places = "waiting", s.waiting
	return nil
}

// Hold takes memory for an answer that is built whole, until the handler returns: a slow reader
// holds it so long. Outside of a handler it does nothing.
func Hold(ctx context.Context, n int64) error {
	q := requestOf(ctx)
	if q == nil {
		return nil
	}
	if !q.server.memory.Take(q.client, n) {
		q.server.metrics.limited.WithLabelValues("memory").Inc()
		return Refuse(KindBusy, "too many answers are being read")
	}
	q.memory += n
	return nil
}

func (q *request) release() {
	q.releaseMemory()
	if q.places != nil {
		q.places.Give(q.client, 1)
		q.places = nil
	}
}

func (q *request) releaseMemory() {
	q.server.memory.Give(q.client, q.memory)
	q.memory = 0
}
