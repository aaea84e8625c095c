package log

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"
)

// treeOf serves level 0 of a tree of leaves: enough for trees of under 256 of them.
func treeOf(leaves *[][]byte) func(context.Context, uint64, uint64, uint8) ([]byte, error) {
	return func(_ context.Context, level, index uint64, p uint8) ([]byte, error) {
		if level != 0 || index != 0 || int(p) > len(*leaves) {
			return nil, os.ErrNotExist
		}
		var b []byte
		for _, l := range (*leaves)[:p] {
			b = append(b, rfc6962.DefaultHasher.HashLeaf(l)...)
		}
		return b, nil
	}
}

func leavesOf(names string) [][]byte {
	var out [][]byte
	for _, c := range names {
		out = append(out, []byte{byte(c)})
	}
	return out
}

func newTestGuard(t *testing.T, leaves *[][]byte) *guard {
	t.Helper()
	skey, _, err := note.GenerateKey(rand.Reader, "guard.test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "guard")
	if err := os.WriteFile(path, []byte(checkpointText("guard.test", 0, emptyRoot[:])), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := openGuard(t.Context(), path, s, treeOf(leaves))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *guard) signSize(t *testing.T, n uint64) error {
	t.Helper()
	root, err := rootOf(t.Context(), n, g.tiles)
	if err != nil {
		return err
	}
	_, err = g.Sign([]byte(checkpointText("guard.test", n, root)))
	return err
}

func TestGuardSignsOnlyWhatExtendsTheLastSignature(t *testing.T) {
	leaves := leavesOf("abcde")
	g := newTestGuard(t, &leaves)
	for _, n := range []uint64{0, 1, 3, 3, 5} {
		if err := g.signSize(t, n); err != nil {
			t.Fatalf("size %d: %v", n, err)
		}
	}
	if err := g.signSize(t, 4); err == nil {
		t.Error("a smaller tree was signed")
	}
	// Another history that has grown past what was signed: its size alone says nothing.
	leaves = leavesOf("abcxyzw")
	if err := g.signSize(t, 7); err == nil || !strings.Contains(err.Error(), "does not extend") {
		t.Errorf("a fork: %v", err)
	}
	if _, _, err := g.state(); err == nil {
		t.Error("a refusal is not in the state")
	}
	leaves = leavesOf("abcdefgh")
	if _, err := g.Sign([]byte(checkpointText("guard.test", 8, make([]byte, 32)))); err == nil || !strings.Contains(err.Error(), "the tiles have") {
		t.Errorf("a root that the tiles do not have: %v", err)
	}
	if err := g.signSize(t, 8); err != nil {
		t.Errorf("after refusals: %v", err)
	}
}

func TestGuardKeepsItsFileBeforeTheSignature(t *testing.T) {
	leaves := leavesOf("abc")
	g := newTestGuard(t, &leaves)
	g.Signer = failingSigner{g.Signer}
	if err := g.signSize(t, 3); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	b, err := os.ReadFile(g.path)
	if err != nil || !strings.Contains(string(b), "\n3\n") {
		t.Errorf("guard file %q: %v: want size 3, though no signature was made", b, err)
	}
	g.path = filepath.Join(t.TempDir(), "missing", "guard")
	leaves = leavesOf("abcd")
	if err := g.signSize(t, 4); err == nil || errors.Is(err, errBroken) {
		t.Errorf("signed, though the guard file cannot be kept: %v", err)
	}
}

var errBroken = errors.New("broken signer")

type failingSigner struct{ note.Signer }

func (failingSigner) Sign([]byte) ([]byte, error) { return nil, errBroken }

func TestServedPathsAreThoseOfTheTree(t *testing.T) {
	for _, n := range []uint64{0, 255, 256, 70000, 1 << 40} {
		for _, path := range []string{layout.TilePath(0, n/256, uint8(n%256)), layout.TilePath(63, n/256, 0), layout.EntriesPath(n/256, uint8(n%256))} {
			if !tilePath.MatchString("/" + path) {
				t.Errorf("%s is not served", path)
			}
		}
	}
}
