// Package testkms is a key management system for tests: a real plugin of sigstore's protocol, in a
// process of its own.
package testkms

import (
	"crypto"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// A System is a key management system with one key.
type System struct {
	Ref  string // the key's reference
	path string
}

// New builds the plugin, puts it on the PATH, and gives it a key. The test cannot run in parallel
// with others.
func New(t testing.TB, key crypto.PrivateKey) *System {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(dir, "sigstore-kms-test"), "github.com/poclog/poclog/internal/testkms/plugin")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	s := &System{path: filepath.Join(dir, "key")}
	s.Ref = "test://" + s.path
	s.SetKey(t, key)
	return s
}

// SetKey replaces the key.
func (s *System) SetKey(t testing.TB, key crypto.PrivateKey) {
	t.Helper()
	s.write(t, s.path, key)
}

func (s *System) write(t testing.TB, path string, key crypto.PrivateKey) {
	t.Helper()
	file, err := cryptoutils.MarshalPrivateKeyToPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Other gives it another key, which it signs with in mode "other-key".
func (s *System) Other(t testing.TB, key crypto.PrivateKey) {
	t.Helper()
	s.write(t, s.path+".other", key)
}

// Modes of behaviour; the empty one is good.
const (
	Good         = ""
	Down         = "down"          // it answers with an error
	Hang         = "hang"          // it does not answer
	Garbage      = "garbage"       // its answer is no JSON
	Empty        = "empty"         // its answer lacks what was asked for
	OtherKey     = "other-key"     // it signs with another key
	OtherMessage = "other-message" // it signs another message
)

// Behave sets a mode.
func (s *System) Behave(t testing.TB, mode string) {
	t.Helper()
	// Written whole: a plugin may be starting.
	tmp := s.path + ".new"
	if err := os.WriteFile(tmp, []byte(mode), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, s.path+".mode"); err != nil {
		t.Fatal(err)
	}
}
