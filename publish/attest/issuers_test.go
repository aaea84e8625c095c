package attest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog/publish/attest"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/tpm"
)

// A ca is a certificate with its key.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a CA's certificate, or an end entity's for a key, which points to its issuer.
func issue(t *testing.T, name string, parent *ca, aia string, leaf any) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &ca{key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: leaf == nil, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if aia != "" {
		template.IssuingCertificateURL = []string{aia}
	}
	var public any = key.Public()
	if leaf != nil {
		public = leaf
	}
	signer := parent
	if parent == nil {
		signer = &ca{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, public, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	if c.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

// An authority serves the certificates of a root, two CAs below it, and what a hostile one would,
// at a maker's address.
type authority struct {
	url    string
	server string
	asked  atomic.Int32
	serve  map[string]http.HandlerFunc
}

// maker is an address at which a maker of TPMs publishes.
const maker = "http://pki.infineon.com"

// RoundTrip brings what is asked of the maker to the server.
func (a *authority) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != strings.TrimPrefix(maker, "http://") {
		return nil, fmt.Errorf("asked %s", r.URL)
	}
	r = r.Clone(r.Context())
	r.URL.Host = strings.TrimPrefix(a.server, "http://")
	return http.DefaultTransport.RoundTrip(r)
}

// issuers are those of which the authority is asked.
func (a *authority) issuers(cache string) *attest.Issuers {
	return &attest.Issuers{Cache: cache, Transport: a}
}

func bytesHandler(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{serve: make(map[string]http.HandlerFunc)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		if h := a.serve[r.URL.Path]; h != nil {
			h(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(srv.Close)
	a.url, a.server = maker, srv.URL
	return a
}

// certified is a VM whose AK's certificate is of another CA, which points to its issuers.
func certified(t *testing.T, parent *ca, aia string) *stage {
	t.Helper()
	s := managed(t, false)
	leaf := issue(t, "AK", parent, aia, s.g.Certificates(s.g.Chain)[0].PublicKey)
	s.redefine(importer.NVGCEAKCertECC, leaf.cert.Raw)
	s.o.AKCerts = nil
	return s
}

func TestIssuersAreFetchedAndKept(t *testing.T) {
	a := newAuthority(t)
	root := issue(t, "Root", nil, "", nil)
	upper := issue(t, "Upper", root, a.url+"/root.crt", nil)
	lower := issue(t, "Lower", upper, a.url+"/upper.crt", nil)
	a.serve["/root.crt"] = bytesHandler(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw}))
	a.serve["/upper.crt"], a.serve["/lower.crt"] = bytesHandler(upper.cert.Raw), bytesHandler(lower.cert.Raw)
	s := certified(t, lower, a.url+"/lower.crt")
	cache := filepath.Join(t.TempDir(), "issuers")
	s.m.Issuers = a.issuers(cache)
	for round, want := range []int32{3, 3} {
		im, err := s.take(t)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := tpm.ParseChain(im.Bundle.Get("tpm-ak-chain"))
		if err != nil || len(chain) != 4 || !chain[3].Equal(root.cert) {
			t.Errorf("chain of %d: %v", len(chain), err)
		}
		if n := a.asked.Load(); n != want {
			t.Errorf("round %d: asked %d times, want %d", round, n, want)
		}
	}
	// What the cache holds is believed no more than what the network says.
	files, err := filepath.Glob(filepath.Join(cache, "*.der"))
	if err != nil || len(files) != 3 {
		t.Fatalf("cache %v: %v", files, err)
	}
	stranger := issue(t, "Root", nil, "", nil)
	for _, f := range files {
		if err := os.WriteFile(f, stranger.cert.Raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.take(t); err != nil || a.asked.Load() != 6 {
		t.Errorf("with another's certificates in the cache: asked %d times: %v", a.asked.Load(), err)
	}
}

func TestHostileIssuersAreRefused(t *testing.T) {
	root := issue(t, "Root", nil, "", nil)
	for name, c := range map[string]struct {
		aia   string // "" is the server's
		serve http.HandlerFunc
		why   string
	}{
		"not found":        {serve: http.NotFound, why: "status 404"},
		"redirect":         {serve: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, why: "status 302"},
		"another's":        {serve: bytesHandler(issue(t, "Other", nil, "", nil).cert.Raw), why: `the certificate of "CN=Other"`},
		"same name":        {serve: bytesHandler(issue(t, "Root", nil, "", nil).cert.Raw), why: "verification failure"},
		"no CA's":          {serve: bytesHandler(issue(t, "Root", root, "", root.key.Public()).cert.Raw), why: "parent certificate cannot sign"},
		"garbage":          {serve: bytesHandler([]byte("garbage")), why: "x509"},
		"endless":          {serve: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }, why: "over 65536 bytes"},
		"a file":           {aia: "file:///etc/passwd", why: "not an address of http"},
		"another protocol": {aia: "ldap://ca.test/", why: "not an address of http"},
		"a stranger's":     {aia: "http://ca.test/ca.crt", why: "no maker of TPMs and no cloud"},
		"a query":          {aia: maker + "/ca.crt?shutdown=1", why: "a user or a query"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			a.serve["/ca.crt"] = c.serve
			if c.aia == "" {
				c.aia = a.url + "/ca.crt"
			}
			s := certified(t, root, c.aia)
			s.m.Issuers = a.issuers("")
			wantMissing(t, s, attest.PieceAKChain, c.why)
		})
	}
}

// A chain without end is not followed.
func TestEndlessChainsAreCut(t *testing.T) {
	a := newAuthority(t)
	parent := issue(t, "CA 0", nil, "", nil)
	for n := range 9 {
		a.serve[fmt.Sprintf("/%d", n)] = bytesHandler(parent.cert.Raw)
		parent = issue(t, fmt.Sprint("CA ", n+1), parent, fmt.Sprintf("%s/%d", a.url, n), nil)
	}
	a.serve["/9"] = bytesHandler(parent.cert.Raw)
	s := certified(t, parent, a.url+"/9")
	s.m.Issuers = a.issuers("")
	_, err := s.take(t)
	var m *attest.MissingError
	if !errors.As(err, &m) || m.Piece != attest.PieceAKChain || a.asked.Load() > 6 {
		t.Errorf("asked %d times: %v", a.asked.Load(), err)
	}
}

func TestFetchingEndsWithItsContext(t *testing.T) {
	a := newAuthority(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	a.serve["/ca.crt"] = func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}
	s := certified(t, issue(t, "Root", nil, "", nil), a.url+"/ca.crt")
	s.m.Issuers = a.issuers("")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := s.m.Attest(ctx, s.o, nil)
	if err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("%v", err)
	}
}

// A certificate that nobody has verified has the machine ask no address inside of its network: not
// by an address, not by a name that resolves to one, not on another port; neither when evidence is
// taken nor when it is only looked for.
func TestUnverifiedCertificatesReachNoInternalAddress(t *testing.T) {
	var asked atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(inside.Close)
	root := issue(t, "Root", nil, "", nil)
	for _, aia := range []string{
		inside.URL + "/ca.crt", inside.URL + "/admin/shutdown?now=1", strings.Replace(inside.URL, "127.0.0.1", "localhost", 1) + "/ca.crt",
		"http://169.254.169.254/latest/api/token", "http://[::1]:80/", "http://user@pki.infineon.com/ca.crt", "http://pki.infineon.com:8080/ca.crt",
		"http://pki.infineon.com.evil.test/ca.crt", "http://metadata.google.internal/computeMetadata/v1/",
		"http://evil-bucket.storage.googleapis.com/ca.crt", "http://privateca-content-62d71773-0000-21da-852e-f4f5e80d7778.storage.googleapis.com:8080/ca.crt",
	} {
		s := certified(t, root, aia)
		s.m.Issuers = new(attest.Issuers)
		var m *attest.MissingError
		if _, err := s.take(t); !errors.As(err, &m) || m.Piece != attest.PieceAKChain || !strings.Contains(err.Error(), "not fetched") && !strings.Contains(err.Error(), "a user or a query") {
			t.Errorf("%s: %v", aia, err)
		}
		for _, r := range s.m.Check(t.Context(), s.o, nil).Requirements {
			if r.Name == attest.PieceAKChain && r.OK {
				t.Errorf("%s: %+v", aia, r)
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("a server inside was asked %d times", n)
	}
}
