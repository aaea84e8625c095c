package importer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/poclog/poclog/internal/octets"
)

// AzureIMDS is where the instance metadata service listens inside every Azure VM.
const AzureIMDS = "http://169.254.169.254"

// An IMDS is a client of Azure's instance metadata service. It takes no proxy and follows no
// redirect, for neither belongs before a link-local address, and reads bounded answers. The zero
// value asks the service of the VM on which it runs.
type IMDS struct {
	URL string // before the paths; AzureIMDS if empty
}

// maxIMDS is the largest answer, in bytes: a quote is under 10 kB in base64, a certificate chain
// too.
const maxIMDS = 1 << 17

// tdReportSize is that of a TDREPORT_STRUCT, with which an HCL report's hardware report begins.
const tdReportSize = 1024

// TDQuote has the host's quoting enclave make a quote of a TDREPORT (POST /acc/tdquote), which is
// 1,024 bytes or more: Azure's HCL report holds it with padding. The quote is returned as it came.
func (m *IMDS) TDQuote(ctx context.Context, report []byte) ([]byte, error) {
	if len(report) < tdReportSize {
		return nil, fmt.Errorf("TDREPORT of %d bytes: want %d", len(report), tdReportSize)
	}
	body, err := json.Marshal(map[string]string{"report": base64.RawURLEncoding.EncodeToString(report[:tdReportSize])})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Quote string `json:"quote"`
	}
	if err := m.ask(ctx, http.MethodPost, "/acc/tdquote", body, &answer); err != nil {
		return nil, err
	}
	if answer.Quote == "" {
		return nil, errors.New("instance metadata service: the answer to /acc/tdquote has no quote")
	}
	quote, err := octets.Text(answer.Quote)
	if err != nil {
		return nil, fmt.Errorf("instance metadata service: quote of /acc/tdquote: %w", err)
	}
	return quote, nil
}

// amdCertification is the service's answer on a chip of AMD's: certificates in PEM.
type amdCertification struct {
	VCEK  string `json:"vcekCert"`
	Chain string `json:"certificateChain"`
}

func (a *amdCertification) certificates() ([][]byte, error) {
	if a.VCEK == "" || a.Chain == "" {
		return nil, errors.New("chip's certificates: vcekCert or certificateChain is missing")
	}
	return Certificates([]byte(a.VCEK + "\n" + a.Chain))
}

// AMDCertificates returns the VCEK of the chip on which an SEV-SNP VM runs, ASK and ARK, in DER
// (GET /metadata/THIM/amd/certification).
func (m *IMDS) AMDCertificates(ctx context.Context) ([][]byte, error) {
	var answer amdCertification
	if err := m.ask(ctx, http.MethodGet, "/metadata/THIM/amd/certification", nil, &answer); err != nil {
		return nil, err
	}
	list, err := answer.certificates()
	if err != nil {
		return nil, fmt.Errorf("instance metadata service: %w", err)
	}
	return list, nil
}

// ask makes one request and decodes the JSON of its answer.
func (m *IMDS) ask(ctx context.Context, method, path string, body []byte, into any) error {
	address, err := url.JoinPath(cmp.Or(m.URL, AzureIMDS), path)
	if err != nil {
		return fmt.Errorf("instance metadata service: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("instance metadata service: %w", err)
	}
	req.Header.Set("Metadata", "true")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{
		Timeout:       15 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("instance metadata service: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxIMDS+1))
	switch {
	case err != nil:
		return fmt.Errorf("instance metadata service: %s: %w", path, err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("instance metadata service: %s: status %d: %.100q", path, resp.StatusCode, answer)
	case len(answer) > maxIMDS:
		return fmt.Errorf("instance metadata service: %s: over %d bytes", path, maxIMDS)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("instance metadata service: %s: %w", path, err)
	}
	return nil
}
