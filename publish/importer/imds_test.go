package importer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/publish/importer"
)

func base64URL(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// chipCertificates are VCEK, and ASK with ARK, of a chip of the laboratory's, in PEM.
func chipCertificates() [][]byte {
	certs := amd.Certificates(attack.NewWorldOf(poclog.AzureSNPvTPM).Honest().Get(poclog.ItemSNPCerts))
	return [][]byte{pemOf(certs[0]), pemOf(certs[1:]...)}
}

// azureService replays a capture: it makes the captured quote of the captured report, and of no
// other.
func azureService(t *testing.T, quote, report []byte) *httptest.Server {
	chip := chipCertificates()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /acc/tdquote", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Report string }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "want JSON", http.StatusBadRequest)
			return
		}
		if b, err := base64.RawURLEncoding.DecodeString(q.Report); err != nil || !bytes.Equal(b, report) {
			http.Error(w, "want a TDREPORT of this machine", http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"quote": base64.RawURLEncoding.EncodeToString(quote)}) // the client sees what is missing
	})
	mux.HandleFunc("GET /metadata/THIM/amd/certification", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata") != "true" {
			http.Error(w, "want the header Metadata", http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"vcekCert": string(chip[0]), "tcbm": "00", "certificateChain": string(chip[1])}) // as above
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestInstanceMetadataServiceMakesTheQuote(t *testing.T) {
	quote, hcl, _ := azureCapture(t)
	const header, size = 32, 1024
	m := &importer.IMDS{URL: azureService(t, quote, hcl[header:][:size]).URL}
	got, err := m.TDQuote(t.Context(), hcl[header:]) // with what follows it in the HCL report
	if err != nil || !bytes.Equal(got, quote) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(quote), err)
	}
	if _, err := m.TDQuote(t.Context(), make([]byte, size)); err == nil || !strings.Contains(err.Error(), "status 400") {
		t.Errorf("another report: %v", err)
	}
	if _, err := m.TDQuote(t.Context(), nil); err == nil {
		t.Error("a report of no bytes is asked for")
	}
	if certs, err := m.AMDCertificates(t.Context()); err != nil || len(certs) != 3 || !bytes.Equal(pemOf(certs...), bytes.Join(chipCertificates(), nil)) {
		t.Errorf("%d certificates: %v", len(certs), err)
	}
}

func TestInstanceMetadataServiceIsNotBelieved(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"no JSON":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no members": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) },
		"no base64":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"quote":"%","vcekCert":""}`)) },
		"endless":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), 1<<18)) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"failure": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "throttled", http.StatusTooManyRequests) },
	} {
		s := httptest.NewServer(answer)
		m := &importer.IMDS{URL: s.URL}
		if b, err := m.TDQuote(t.Context(), make([]byte, 1024)); err == nil {
			t.Errorf("%s: quote %x", name, b)
		}
		if certs, err := m.AMDCertificates(t.Context()); err == nil {
			t.Errorf("%s: certificates %x", name, certs)
		}
		s.Close()
	}
}
