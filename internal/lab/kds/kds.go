// Package kds is a server of the laboratory that speaks AMD's Key Distribution Service: paths,
// queries and encodings (AMD document 57230). It serves the certificates of the chips that it
// knows, and lists of revoked CAs, and misbehaves as it is told.
package kds

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/front"
	"github.com/poclog/poclog/internal/must"
)

// A Server answers for the makers of some products. It is safe for concurrent use.
type Server struct {
	front.Front

	mu     sync.Mutex // guards what follows
	makers map[string]*amd.Maker
	chips  map[string]*amd.Chip // by product and identifier in hexadecimal
	lists  map[string][]byte    // by path
}

// New serves for makers, with lists issued at a time in which nothing is revoked.
func New(at time.Time, makers ...*amd.Maker) *Server {
	s := &Server{makers: make(map[string]*amd.Maker), chips: make(map[string]*amd.Chip), lists: make(map[string][]byte)}
	for _, m := range makers {
		s.makers[m.Product] = m
		for _, kind := range []string{"vcek", "vlek"} {
			s.Publish(m.CRL(amd.CRLOptions{At: at, Kind: kind}))
		}
	}
	return s
}

// Publish replaces lists, each at the path of its address.
func (s *Server) Publish(items ...poclog.CollateralItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range items {
		u := must.Get(url.Parse(it.URL))
		s.lists[u.Path] = it.Body
	}
}

// List makes chips known, whose certificates are served.
func (s *Server) List(product string, chips ...*amd.Chip) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range chips {
		s.chips[product+"/"+identifier(product, c)] = c
	}
}

// identifier is a chip's in a path: of Turin 8 octets, else 64.
func identifier(product string, c *amd.Chip) string {
	if product == "Turin" {
		return hex.EncodeToString(c.ID[:8])
	}
	return hex.EncodeToString(c.ID[:])
}

// Throttle answers as the service does to whom it finds too busy.
func Throttle(seconds int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		http.Error(w, "Too Many Requests", http.StatusTooManyRequests)
	}
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.Pass(s.Answer, w, r) }

// Answer is what an honest service answers.
func (s *Server) Answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	part := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/") // kind, v1, product, what
	if len(part) != 4 || part[1] != "v1" || (part[0] != "vcek" && part[0] != "vlek") || s.makers[part[2]] == nil {
		http.NotFound(w, r)
		return
	}
	body, kind := s.lists[r.URL.Path], "application/pkix-crl"
	switch {
	case part[3] == "cert_chain":
		body, kind = s.makers[part[2]].CertChain(part[0]), "application/x-pem-file"
	case part[3] != "crl" && part[0] == "vcek":
		body, kind = s.certificate(part[2], part[3], r.URL.Query()), "application/pkix-cert"
	}
	if body == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body) // the client may be gone
}

// certificate is the VCEK of a chip for a TCB version, or nil. Numbers that are left out are zero.
func (s *Server) certificate(product, id string, query url.Values) []byte {
	chip := s.chips[product+"/"+id]
	if chip == nil {
		return nil
	}
	octets := map[string]int{"blSPL": 0, "teeSPL": 1, "snpSPL": 6, "ucodeSPL": 7}
	if product == "Turin" {
		octets = map[string]int{"fmcSPL": 0, "blSPL": 1, "teeSPL": 2, "snpSPL": 3, "ucodeSPL": 7}
	}
	var tcb [8]byte
	for name := range query {
		at, known := octets[name]
		n, err := strconv.ParseUint(query.Get(name), 10, 8)
		if !known || err != nil {
			return nil
		}
		tcb[at] = byte(n)
	}
	if tcb == [8]byte{} {
		return nil
	}
	return amd.Certificates(s.makers[product].NewChip(chip.Name, tcb).Certs())[0]
}
