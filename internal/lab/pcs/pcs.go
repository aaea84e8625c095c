// Package pcs is a server of the laboratory that speaks Intel's Provisioning Certification Service,
// version 4, as a PCCS does, and the bucket of Google's launch endorsements: paths, queries and
// headers. It serves what it is given, recorded or minted, and misbehaves as it is told.
package pcs

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/front"
)

// A Server answers with collateral. It is safe for concurrent use.
type Server struct {
	front.Front

	mu         sync.Mutex // guards what follows
	col, early *poclog.Collateral
}

// New serves a collateral file's items.
func New(c *poclog.Collateral) *Server { return &Server{col: c} }

// Publish replaces what is served.
func (s *Server) Publish(c *poclog.Collateral) { s.mu.Lock(); defer s.mu.Unlock(); s.col = c }

// PublishEarly sets what is served to who asks for update=early.
func (s *Server) PublishEarly(c *poclog.Collateral) { s.mu.Lock(); defer s.mu.Unlock(); s.early = c }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.Pass(s.answer, w, r) }

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	col := s.col
	if r.URL.Query().Get("update") == "early" && s.early != nil {
		col = s.early
	}
	s.mu.Unlock()
	Serve(col, w, r)
}

// Serve answers one request with collateral.
func Serve(col *poclog.Collateral, w http.ResponseWriter, r *http.Request) {
	kind, header := poclog.CollateralKind(""), ""
	switch p := r.URL.Path; {
	case p == "/tdx/certification/v4/tcb":
		kind, header = poclog.TDXTCBInfo, "TCB-Info-Issuer-Chain"
	case p == "/tdx/certification/v4/qe/identity":
		kind, header = poclog.TDXQEIdentity, "SGX-Enclave-Identity-Issuer-Chain"
	case p == "/sgx/certification/v4/pckcrl":
		kind, header = poclog.IntelPCKCRL, "SGX-PCK-CRL-Issuer-Chain"
	case p == "/sgx/certification/v4/rootcacrl":
		kind = poclog.IntelRootCRL
	case strings.HasPrefix(p, "/ovmf_x64_csm/tdx/"):
		kind = poclog.LaunchEndorsement
	}
	it := col.Get(kind)
	if it == nil {
		http.NotFound(w, r)
		return
	}
	if header != "" {
		w.Header().Set(header, url.PathEscape(string(it.Chain)))
	}
	body := it.Body
	if kind == poclog.IntelRootCRL {
		body = []byte(hex.EncodeToString(body)) // as a PCCS does
	}
	_, _ = w.Write(body) // the client may be gone
}
