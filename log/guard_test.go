package log

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/folder"
)

// A memoryTree is the level 0 of a tree, and its entries: enough for fewer than 256 leaves. The
// entries can be others than the leaves.
type memoryTree struct {
	leaves  [][]byte
	entries [][]byte // nil: the leaves
}

func (m *memoryTree) ReadTile(_ context.Context, level, index uint64, p uint8) ([]byte, error) {
	if level != 0 || index != 0 || int(p) > len(m.leaves) {
		return nil, os.ErrNotExist
	}
	var b []byte
	for _, l := range m.leaves[:p] {
		b = append(b, rfc6962.DefaultHasher.HashLeaf(l)...)
	}
	return b, nil
}

func (m *memoryTree) ReadEntryBundle(_ context.Context, index uint64, p uint8) ([]byte, error) {
	entries := m.entries
	if entries == nil {
		entries = m.leaves
	}
	if index != 0 || int(p) > len(entries) {
		return nil, os.ErrNotExist
	}
	var b []byte
	for _, e := range entries[:p] {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(e))), e...)
	}
	return b, nil
}

func leavesOf(names string) [][]byte {
	var out [][]byte
	for _, c := range names {
		out = append(out, []byte{byte(c)})
	}
	return out
}

func newTestGuard(t *testing.T, tree *memoryTree) *guard {
	t.Helper()
	skey, _, err := note.GenerateKey(rand.Reader, "guard.test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	register := &folder.Register{Path: filepath.Join(t.TempDir(), "guard")}
	if err := register.Create(t.Context(), []byte(checkpointText("guard.test", 0, emptyRoot[:]))); err != nil {
		t.Fatal(err)
	}
	g, err := openGuard(t.Context(), &store.Store{Guard: register}, s, tree)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *guard) file() *folder.Register { return g.register.(*folder.Register) }

func (g *guard) signSize(t *testing.T, n uint64) error {
	t.Helper()
	root, err := rootOf(t.Context(), n, g.tree)
	if err != nil {
		return err
	}
	_, err = g.Sign([]byte(checkpointText("guard.test", n, root)))
	return err
}

func TestGuardSignsOnlyWhatExtendsTheLastSignature(t *testing.T) {
	tree := &memoryTree{leaves: leavesOf("abcde")}
	g := newTestGuard(t, tree)
	for _, n := range []uint64{0, 1, 3, 3, 5} {
		if err := g.signSize(t, n); err != nil {
			t.Fatalf("size %d: %v", n, err)
		}
	}
	if err := g.signSize(t, 4); err == nil {
		t.Error("a smaller tree was signed")
	}
	// Another history that has grown past what was signed: its size alone says nothing.
	tree.leaves = leavesOf("abcxyzw")
	if err := g.signSize(t, 7); err == nil || !strings.Contains(err.Error(), "does not extend") {
		t.Errorf("a fork: %v", err)
	}
	if _, _, err := g.state(); err == nil {
		t.Error("a refusal is not in the state")
	}
	tree.leaves = leavesOf("abcdefgh")
	if _, err := g.Sign([]byte(checkpointText("guard.test", 8, make([]byte, 32)))); err == nil || !strings.Contains(err.Error(), "the tiles have") {
		t.Errorf("a root that the tiles do not have: %v", err)
	}
	tree.entries = leavesOf("abcdefgx")
	if err := g.signSize(t, 8); err == nil || !strings.Contains(err.Error(), "the entries have") {
		t.Errorf("tiles that are not of the entries: %v", err)
	}
	tree.entries = leavesOf("abcdefg")
	if err := g.signSize(t, 8); err == nil {
		t.Error("signed, though an entry is missing")
	}
	tree.entries = nil
	if err := g.signSize(t, 8); err != nil {
		t.Errorf("after refusals: %v", err)
	}
	if _, _, err := g.state(); err != nil {
		t.Errorf("the state after a signature: %v", err)
	}
}

// slowSigner signs once it may.
type slowSigner struct {
	note.Signer
	asked, may chan struct{}
}

func (s slowSigner) Sign(msg []byte) ([]byte, error) {
	close(s.asked)
	<-s.may
	return s.Signer.Sign(msg)
}

// A slow key management system keeps nobody from asking how the log is.
func TestStateIsToldWhileASignatureIsMade(t *testing.T) {
	g := newTestGuard(t, &memoryTree{leaves: leavesOf("abc")})
	slow := slowSigner{g.Signer, make(chan struct{}), make(chan struct{})}
	g.Signer = slow
	done := make(chan error, 1)
	go func() { done <- g.signSize(t, 3) }()
	<-slow.asked
	if _, _, err := g.state(); err != nil {
		t.Error(err)
	}
	close(slow.may)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if at, size, err := g.state(); at.IsZero() || size != 3 || err != nil {
		t.Errorf("signed size %d at %s, %v", size, at, err)
	}
}

func TestGuardKeepsItsFileBeforeTheSignature(t *testing.T) {
	tree := &memoryTree{leaves: leavesOf("abc")}
	g := newTestGuard(t, tree)
	g.Signer = failingSigner{g.Signer}
	if err := g.signSize(t, 3); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	b, err := os.ReadFile(g.file().Path)
	if err != nil || !strings.Contains(string(b), "\n3\n") {
		t.Errorf("guard file %q: %v: want size 3, though no signature was made", b, err)
	}
	g.file().Path = filepath.Join(t.TempDir(), "missing", "guard")
	tree.leaves = leavesOf("abcd")
	if err := g.signSize(t, 4); err == nil || errors.Is(err, errBroken) {
		t.Errorf("signed, though the guard file cannot be kept: %v", err)
	}
}

func TestGuardFileThatAnotherProcessChangedStopsSigning(t *testing.T) {
	tree := &memoryTree{leaves: leavesOf("abcd")}
	g := newTestGuard(t, tree)
	if err := g.signSize(t, 2); err != nil {
		t.Fatal(err)
	}
	mine, err := os.ReadFile(g.file().Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{checkpointText("guard.test", 3, make([]byte, 32)), checkpointText("guard.test", 0, emptyRoot[:]), "", "?"} {
		if err := os.WriteFile(g.file().Path, []byte(other), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := g.signSize(t, 4); err == nil || !strings.Contains(err.Error(), "another signs") {
			t.Errorf("guard file %q: %v", other, err)
		}
	}
	if err := os.WriteFile(g.file().Path, mine, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := g.signSize(t, 4); err != nil {
		t.Error(err)
	}
}

var errBroken = errors.New("broken signer")

type failingSigner struct{ note.Signer }

func (failingSigner) Sign([]byte) ([]byte, error) { return nil, errBroken }

// One failed system call under the guard's file is tried again, whatever of it reached the disk.
func TestGuardTriesAgainWhatTheDiskFailedOnce(t *testing.T) {
	for _, op := range []durable.Op{durable.OpCreate, durable.OpWrite, durable.OpChmod, durable.OpSync, durable.OpRename, durable.OpClose, durable.OpSyncDir} {
		for _, made := range []bool{false, true} {
			g := newTestGuard(t, &memoryTree{leaves: leavesOf("abcdefgh")})
			if err := g.signSize(t, 2); err != nil {
				t.Fatal(err)
			}
			g.file().Files.Fault = func(c durable.Call, done bool) error {
				if c.Op == op && done == made {
					return errBroken
				}
				return nil
			}
			for _, n := range []uint64{3, 3, 4} {
				if err := g.signSize(t, n); !errors.Is(err, errBroken) {
					t.Fatalf("%s, made %v: size %d: %v", op, made, n, err)
				}
			}
			g.file().Files.Fault = nil
			if err := g.signSize(t, 4); err != nil {
				t.Errorf("%s, made %v: the same again, after the fault: %v", op, made, err)
			}
			if b, err := os.ReadFile(g.file().Path); err != nil || !strings.Contains(string(b), "\n4\n") {
				t.Errorf("%s, made %v: guard file %q, %v", op, made, b, err)
			}
			if err := g.signSize(t, 8); err != nil {
				t.Errorf("%s, made %v: the next: %v", op, made, err)
			}
			// What contradicts still waits for the operator.
			if err := os.WriteFile(g.file().Path, []byte(checkpointText("guard.test", 4, make([]byte, 32))), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := g.signSize(t, 8); err == nil || !strings.Contains(err.Error(), "another signs") {
				t.Errorf("%s, made %v: a foreign guard file: %v", op, made, err)
			}
		}
	}
}
