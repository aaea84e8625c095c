// Package testlog is a log and witnesses in memory, for tests and vectors: keys are derived from
// names, times are given, and so are lies. It vouches for nothing; package log is the real one.
package testlog

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"filippo.io/mldsa"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/must"
)

// Types of keys and signatures.
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04
	typeMLDSA       = 0x06
)

func seed(name string) []byte {
	sum := sha256.Sum256([]byte("poclog test key\n" + name))
	return sum[:]
}

func keyID(name string, typed []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write(typed)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// A Signer is a log's or a witness's key.
type Signer struct {
	Name string
	VKey string
	id   uint32
	sign func(text string, c checkpoint, at time.Time) []byte
	raw  func(message []byte) []byte
}

// Sign signs a note of exceptions.
func (s *Signer) Sign(message []byte) poclog.NoteSignature {
	out := poclog.NoteSignature{Sig: s.raw(message)}
	binary.BigEndian.PutUint32(out.ID[:], s.id)
	return out
}

type checkpoint struct {
	origin string
	size   uint64
	root   tlog.Hash
}

func vkey(name string, typed []byte) (string, uint32) {
	id := keyID(name, typed)
	return fmt.Sprintf("%s+%08x+%s", name, id, base64.StdEncoding.EncodeToString(typed)), id
}

// LogKey derives the Ed25519 key of a log.
func LogKey(origin string) *Signer {
	k := ed25519.NewKeyFromSeed(seed("log " + origin))
	s := &Signer{Name: origin}
	s.VKey, s.id = vkey(origin, append([]byte{typeEd25519}, k.Public().(ed25519.PublicKey)...))
	s.sign = func(text string, _ checkpoint, _ time.Time) []byte { return ed25519.Sign(k, []byte(text)) }
	return s
}

// WitnessKey derives the Ed25519 key of a witness.
func WitnessKey(name string) *Signer {
	k := ed25519.NewKeyFromSeed(seed("witness " + name))
	s := &Signer{Name: name}
	s.VKey, s.id = vkey(name, append([]byte{typeCosignature}, k.Public().(ed25519.PublicKey)...))
	s.raw = func(message []byte) []byte { return ed25519.Sign(k, message) }
	s.sign = func(text string, _ checkpoint, at time.Time) []byte {
		t := binary.BigEndian.AppendUint64(nil, uint64(at.Unix()))
		return append(t, ed25519.Sign(k, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at.Unix(), text))...)
	}
	return s
}

// MLDSAKey derives an ML-DSA-44 key, of a log or a witness. Its signatures are randomised.
func MLDSAKey(name string) *Signer {
	k := must.Get(mldsa.NewPrivateKey(mldsa.MLDSA44(), seed("mldsa "+name)))
	s := &Signer{Name: name}
	s.VKey, s.id = vkey(name, append([]byte{typeMLDSA}, k.PublicKey().Bytes()...))
	skey := fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, s.id, base64.StdEncoding.EncodeToString(append([]byte{typeMLDSA}, k.Bytes()...)))
	s.raw = func(message []byte) []byte {
		return must.Get(k.Sign(nil, message, crypto.Hash(0)))
	}
	signer := must.Get(fnote.NewMLDSASigner(skey))
	s.sign = func(_ string, c checkpoint, at time.Time) []byte {
		return must.Get(signer.SignSubtree(uint64(at.Unix()), c.origin, 0, c.size, c.root[:]))
	}
	return s
}

// A Cosigner signs at a time.
type Cosigner struct {
	*Signer
	At time.Time
}

// A Log is a tree of leaves in memory. The zero value with an origin is empty.
type Log struct {
	Origin string
	Leaves [][]byte

	hashes tlog.HashReader // of the first hashed leaves
	hashed int
}

// Root returns the root of the first n leaves.
func (l *Log) Root(n uint64) tlog.Hash {
	if n == 0 {
		return tlog.Hash(sha256.Sum256(nil))
	}
	return must.Get(tlog.TreeHash(int64(n), l.reader(n)))
}

// reader serves the stored hashes of the first n leaves.
func (l *Log) reader(n uint64) tlog.HashReaderFunc {
	var stored []tlog.Hash
	read := func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	}
	for i := range n {
		hashes := must.Get(tlog.StoredHashes(int64(i), l.Leaves[i], tlog.HashReaderFunc(read)))
		stored = append(stored, hashes...)
	}
	return read
}

// Checkpoint returns the signed checkpoint of the first n leaves.
func (l *Log) Checkpoint(n uint64, by ...Cosigner) []byte {
	return SignRoot(l.Origin, n, l.Root(n), by...)
}

// SignRoot signs any checkpoint, true or not.
func SignRoot(origin string, n uint64, root tlog.Hash, by ...Cosigner) []byte {
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, n, base64.StdEncoding.EncodeToString(root[:]))
	return signNote(text, checkpoint{origin, n, root}, by)
}

// SignText signs any text as that of a checkpoint, with Ed25519 keys alone: ML-DSA-44 ones sign no
// text.
func SignText(text string, by ...Cosigner) []byte { return signNote(text, checkpoint{}, by) }

func signNote(text string, c checkpoint, by []Cosigner) []byte {
	var b strings.Builder
	b.WriteString(text + "\n")
	for _, s := range by {
		sig := binary.BigEndian.AppendUint32(nil, s.id)
		sig = append(sig, s.sign(text, c, s.At)...)
		fmt.Fprintf(&b, "— %s %s\n", s.Name, base64.StdEncoding.EncodeToString(sig))
	}
	return []byte(b.String())
}

// Inclusion proves leaf i in the tree of a checkpoint of n leaves.
func (l *Log) Inclusion(i, n uint64, signed []byte) poclog.Inclusion {
	p := must.Get(tlog.ProveRecord(int64(n), int64(i), l.reader(n)))
	in := poclog.Inclusion{Checkpoint: signed}
	for _, h := range p {
		in.Hashes = append(in.Hashes, h)
	}
	return in
}
