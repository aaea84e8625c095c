package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
)

// stranger makes a certificate with names that steer a terminal.
func stranger(t *testing.T) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "\x1b[2J\u202egood"}, DNSNames: []string{"\x1b[2Jgood.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// What others named, answered or wrote reaches the terminal with its control characters as escapes:
// in errors, consent, and what is inspected.
func TestTextFromOutsideDoesNotSteerTheTerminal(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert := stranger(t)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	defer server.Close()
	problem := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"detail":"\u001b[2J\u202e go away"}`)) // the command says what it got
	}))
	defer problem.Close()
	var b poclog.Bundle
	b.Set(poclog.ItemTPMAKChain, cert.Certificate[0])
	bundle, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	policy := file("policy.txt", []byte("log "+testlog.LogKey("lab.log.test").VKey+"\nquorum none\n"))
	checkpoint := file("checkpoint", []byte("lab.log.test\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— \u202egood\u200b\u0085 AAAAAAAA\n"))
	key := filepath.Join(dir, "k")
	if out, err := exec.Command(program(t, "poclog"), "key", "new", "-o", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, c := range map[string]struct {
		args  []string
		shown string
	}{
		"a server's certificate": {[]string{"challenge", "--log", strings.Replace(server.URL, "127.0.0.1", "localhost", 1), "--policy", policy, "--profile", "tdx", "-o", "-"}, `\u001b[2Jgood.exampl`},
		"a server's problem":     {[]string{"challenge", "--log", problem.URL, "--policy", policy, "--profile", "tdx", "-o", "-"}, `\u001b[2J\u202e go away`},
		"a key's certificate":    {[]string{"sign", file("b.json", bundle), "--key", key, "-o", filepath.Join(dir, "signed")}, `\x1b[2J\u202egood`},
		"a signature's name":     {[]string{"inspect", checkpoint, "--json"}, `\u202egood\u200b\u0085`},
		"a file's name":          {[]string{"inspect", dir + "/\x1b[2J\u202enone"}, `\u001b[2J\u202enone`},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			cmd := exec.Command(program(t, "poclog"), c.args...)
			cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+dir, "XDG_CONFIG_HOME="+dir)
			cmd.Stdout, cmd.Stderr = &out, &errs
			_ = cmd.Run() // most of these fail
			text := out.String() + errs.String()
			if !strings.Contains(text, c.shown) {
				t.Errorf("%q is not shown: %q", c.shown, text)
			}
			if i := strings.IndexFunc(text, func(r rune) bool {
				return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r))
			}); i >= 0 {
				t.Errorf("%q reaches the terminal in %q", text[i:i+1], text)
			}
		})
	}
}

// A file's bytes are not text: they are written as they are where no terminal shows them.
func TestFilesAreNotText(t *testing.T) {
	value := []byte("\x1b[2J\u202e\xff\x00")
	var b poclog.Bundle
	b.Set(poclog.ItemTCGLog, value)
	bundle, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "b.json")
	if err := os.WriteFile(path, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program(t, "poclog"), "inspect", path, "--item", string(poclog.ItemTCGLog)).Output()
	if err != nil || !bytes.Equal(out, value) {
		t.Errorf("%q: %v", out, err)
	}
}
