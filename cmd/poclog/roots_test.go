package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// hasRoots is the program that says whether it trusts any certificate of an authority.
const hasRoots = "poclog-has-roots"

func hasRootsMain() {
	pool, err := x509.SystemCertPool()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print(!pool.Equal(x509.NewCertPool()))
}

// Where the system has no certificates of authorities, as in the container image, the binary has
// some.
func TestBinaryHasRootsWhereTheSystemHasNone(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "none")
	cmd := exec.Command(hasRoots)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+empty, "SSL_CERT_DIR="+empty)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != "true" {
		t.Errorf("%s: want certificates of authorities", out)
	}
}
