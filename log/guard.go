package log

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog/verify/tlogpolicy"
)

var emptyRoot = sha256.Sum256(nil)

func checkpointText(origin string, size uint64, root []byte) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root))
}

// A guard is the log's first signer. It signs only what extends the last checkpoint that it signed, and keeps that in a file outside the log's
// directory before the signature exists.
type guard struct {
	note.Signer
	path  string
	tiles client.TileFetcherFunc

	mu   sync.Mutex // held while signing: there is one order of signatures
	last tlogpolicy.Checkpoint
	at   time.Time // of the last signature
	err  error     // why the last signature was refused; nil if it was not
}

// openGuard reads the guard's file, which must exist, and compares it with the tiles: they must hold the tree that was signed.
func openGuard(ctx context.Context, path string, s note.Signer, tiles client.TileFetcherFunc) (*guard, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("guard file %s is missing: without it nobody knows what this log signed last, and it must not sign again", path)
	}
	if err != nil {
		return nil, err
	}
	g := &guard{Signer: s, path: path, tiles: tiles}
	if g.last, err = tlogpolicy.ParseCheckpoint(b); err != nil {
		return nil, fmt.Errorf("guard file %s: %w", path, err)
	}
	if g.last.Origin != s.Name() {
		return nil, fmt.Errorf("guard file %s is of log %q, not %q", path, g.last.Origin, s.Name())
	}
	root, err := rootOf(ctx, g.last.Size, tiles)
	if err != nil {
		return nil, fmt.Errorf("the log signed size %d, and its tiles do not reach that far: it was restored from an older copy, or lost writes: %w", g.last.Size, err)
	}
	if !bytes.Equal(root, g.last.Root[:]) {
		return nil, fmt.Errorf("the log signed size %d with root %x, and its tiles have %x: it is another history", g.last.Size, g.last.Root, root)
	}
	return g, nil
}

// rootOf computes the root of the first n leaves from the tiles.
func rootOf(ctx context.Context, n uint64, tiles client.TileFetcherFunc) ([]byte, error) {
	if n == 0 {
		return emptyRoot[:], nil
	}
	nodes, err := client.FetchRangeNodes(ctx, n, tiles)
	if err != nil {
		return nil, err
	}
	r, err := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewRange(0, n, nodes)
	if err != nil {
		return nil, err
	}
	return r.GetRootHash(nil)
}

// Sign signs a checkpoint's text, if its tree is what the tiles hold and extends the last tree that was signed.
func (g *guard) Sign(msg []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sig, err := g.sign(msg)
	if g.err = err; err != nil {
		return nil, fmt.Errorf("refuse to sign: %w", err)
	}
	g.at = time.Now()
	return sig, nil
}

func (g *guard) sign(msg []byte) ([]byte, error) {
	next, err := tlogpolicy.ParseCheckpoint(msg)
	if err != nil {
		return nil, err
	}
	if err := g.extends(context.Background(), next); err != nil {
		return nil, err
	}
	if next != g.last {
		if err := replaceFile(g.path, msg); err != nil {
			return nil, fmt.Errorf("keep the guard file: %w", err)
		}
		g.last = next
	}
	return g.Signer.Sign(msg)
}

// extends proves from the tiles that a tree extends the last one. Sizes alone would let a restored copy fork the log.
func (g *guard) extends(ctx context.Context, next tlogpolicy.Checkpoint) error {
	if next.Origin != g.last.Origin || next.Size < g.last.Size {
		return fmt.Errorf("checkpoint of %q at size %d after %q at size %d", next.Origin, next.Size, g.last.Origin, g.last.Size)
	}
	root, err := rootOf(ctx, next.Size, g.tiles)
	if err != nil {
		return fmt.Errorf("compute the root at size %d: %w", next.Size, err)
	}
	if !bytes.Equal(root, next.Root[:]) {
		return fmt.Errorf("root %x at size %d: the tiles have %x", next.Root, next.Size, root)
	}
	if g.last.Size == next.Size {
		if next.Root != g.last.Root {
			return fmt.Errorf("root %x at size %d, which was signed with %x", next.Root, next.Size, g.last.Root)
		}
		return nil
	}
	if g.last.Size == 0 {
		return nil
	}
	pb, err := client.NewProofBuilder(ctx, next.Size, g.tiles)
	if err != nil {
		return fmt.Errorf("prove consistency: %w", err)
	}
	path, err := pb.ConsistencyProof(ctx, g.last.Size, next.Size)
	if err != nil {
		return fmt.Errorf("prove consistency: %w", err)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, g.last.Size, next.Size, path, g.last.Root[:], next.Root[:]); err != nil {
		return fmt.Errorf("size %d does not extend size %d, which was signed: %w", next.Size, g.last.Size, err)
	}
	return nil
}

// state returns when the guard last signed and why it refuses, if it does.
func (g *guard) state() (at time.Time, size uint64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at, g.last.Size, g.err
}
