// Package index specifies the index of a log, docs/format.md §16: a map from each name that an
// entry states to the numbers of all entries that state it. The map is a Merkle Patricia tree; its
// root is in the log's index entries, so that absence can be proven as well as presence.
//
// The package is pure. It says which names a leaf states ([Names]), chains numbers into a value
// ([Value.Next]), and checks proofs of the map ([Lookup]). Nothing here builds the tree: package
// indexmap does, for logs, auditors and monitors. Proofs are those of torchwood's mpt; they are
// checked here because mpt.Verify panics on a zero hash and takes a proof without its header.
// TestProofsAgreeWithMPT and FuzzLookup are the evidence.
//
// A proof shows what an index says, and nothing of whether the index is right: auditors recompute
// it.
package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Algorithm is the version of this specification. Index entries name it.
const Algorithm = 1

// Prefixes of names that are no identities.
const (
	Unproven  = "unproven:"  // an identity in an entry of level 0
	Publisher = "publisher:" // the digest of a key that signed a submission
	Config    = "config"     // every config entry

	Statements = "statements:" // an identity that a statement is about
	Registrar  = "registrar:"  // the digest of the name of a registrar, in every statement of its
)

// MaxName is the greatest length of a name, in bytes: an identity of 160 with its prefix.
const MaxName = 176

// Contexts of the hashes, so that no hash here is one of another kind.
const (
	nameContext   = "poclog/index/name/v1\n"
	numberContext = "poclog/index/number/v1\n"
)

// A Key is a name's place in the map: SHA-256("poclog/index/name/v1\n" ‖ name).
type Key [sha256.Size]byte

// KeyOf returns the place of a name.
func KeyOf(name string) Key {
	return sha256.Sum256(append([]byte(nameContext), name...))
}

// A Value is the hash chain of all numbers of a name, in ascending order. The zero value is that of
// no numbers.
type Value [sha256.Size]byte

// Next returns SHA-256("poclog/index/number/v1\n" ‖ v ‖ number), the value with one more number, in
// 64 bits big-endian.
func (v Value) Next(number uint64) Value {
	var b [len(numberContext) + sha256.Size + 8]byte
	n := copy(b[:], numberContext)
	n += copy(b[n:], v[:])
	binary.BigEndian.PutUint64(b[n:], number)
	return sha256.Sum256(b[:])
}

// Chain returns the value after the numbers.
func (v Value) Chain(numbers []uint64) Value {
	for _, n := range numbers {
		v = v.Next(n)
	}
	return v
}

// Names returns the names that a leaf states, in the order in which it states them, each once.
// Index entries and unknown kinds state none. The error is that of a malformed leaf.
func Names(leaf []byte) ([]string, error) {
	l, err := poclog.ParseLeaf(leaf)
	if err != nil {
		return nil, err
	}
	return NamesOf(l), nil
}

// NamesAbout returns the names under which an index may have an identity, in order: as it is
// proven, as it is claimed without proof, and what registrars stated of it. A quote has none.
func NamesAbout(id poclog.Identity) []string {
	if id.Kind() == poclog.QuoteKind {
		return nil
	}
	names := []string{string(id), Unproven + string(id), Statements + string(id)}
	slices.Sort(names)
	return names
}

// NamesOf returns the names that a parsed leaf states.
func NamesOf(l poclog.Leaf) []string {
	switch {
	case l.Proof != nil:
		return namesOfProof(l.Proof)
	case l.Config != nil:
		return []string{Config}
	case l.Statement != nil:
		return namesOfStatement(&l.Statement.Envelope.Statement)
	}
	return nil
}

// namesOfProof: quotes, measurements and user data are no names. A quote is one entry's. A firmware
// is a whole cloud's. User data is free text, with which strangers could fill a victim's list.
func namesOfProof(e *poclog.Entry) []string {
	prefix := ""
	if e.Level < poclog.LevelBound {
		prefix = Unproven
	}
	names := make([]string, 0, len(e.Chassis)+len(e.Keys)+1+len(e.Publishers))
	for _, list := range [][]poclog.Identity{e.Chassis, e.Keys} {
		for _, id := range list {
			names = append(names, prefix+string(id))
		}
	}
	if e.Instance != "" {
		names = append(names, prefix+string(e.Instance))
	}
	for _, p := range e.Publishers {
		names = append(names, Publisher+p.String())
	}
	return unique(names)
}

// namesOfStatement: a commitment has no subject.
func namesOfStatement(s *poclog.Statement) []string {
	if s.Subject == "" {
		return []string{RegistrarName(s.Registrar)}
	}
	return []string{Statements + string(s.Subject), RegistrarName(s.Registrar)}
}

// RegistrarName returns the name that every statement of a registrar states.
func RegistrarName(registrar string) string {
	return Registrar + poclog.Sum([]byte(registrar)).String()
}

// FromTheFirst reports whether the entries that state a name are always listed from the first on:
// of statements and policies the old ones count as much as the new.
func FromTheFirst(name string) bool {
	return name == Config || strings.HasPrefix(name, Statements) || strings.HasPrefix(name, Registrar)
}

func unique(names []string) []string {
	out := names[:0]
	for i, n := range names {
		if !slices.Contains(names[:i], n) {
			out = append(out, n)
		}
	}
	return out
}

// ParseName refuses what no leaf could state.
func ParseName(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("name of %d bytes: want at most %d", len(name), MaxName)
	}
	if name == Config {
		return nil
	}
	for _, prefix := range []string{Publisher, Registrar} {
		if digest, ok := strings.CutPrefix(name, prefix); ok {
			_, err := poclog.ParseDigest(digest)
			return err
		}
	}
	identity, stated := strings.CutPrefix(name, Statements)
	if !stated {
		identity = strings.TrimPrefix(name, Unproven)
	}
	id, err := poclog.ParseIdentity(identity)
	if err == nil && id.Kind() == poclog.QuoteKind {
		return fmt.Errorf("name %q: quotes are not in the index", name)
	}
	return err
}

// The form of a proof: header, kind, the key and value that the path begins at, and the path from
// there to the root: of each node the bit at which its two children part, and the hash of the child
// that is not on the path.
//
//	"mptproof" 0                              the map is empty
//	"mptproof" 1 value (bit hash)*            the name has this value
//	"mptproof" 2 key value (bit hash)*        another key stands where the name would
const (
	proofHeader = "mptproof"
	proofEmpty  = 0
	proofFound  = 1
	proofAbsent = 2

	stepSize = 1 + sha256.Size
	// MaxProof is the greatest length of a proof, in bytes: a path of all 256 bits.
	MaxProof = len(proofHeader) + 1 + 2*sha256.Size + 256*stepSize
)

// Map is the id of the step that refuses a proof.
const Map verify.Check = "map"

// Lookup checks a proof of what a map with this root says of a name. It returns the name's value,
// or false where the map does not have the name. A proof that shows neither is a [*verify.Error].
func Lookup(root [sha256.Size]byte, name string, proof []byte) (Value, bool, error) {
	kind, rest, err := proofKind(proof)
	if err != nil {
		return Value{}, false, err
	}
	key := KeyOf(name)
	at := key
	switch kind {
	case proofEmpty:
		if len(rest) > 0 || root != sha256.Sum256(nil) {
			return Value{}, false, verify.Failf(Map, "the map is not empty")
		}
		return Value{}, false, nil
	case proofAbsent:
		if len(rest) < sha256.Size {
			return Value{}, false, verify.Failf(Map, "it ends within a key")
		}
		at, rest = Key(rest[:sha256.Size]), rest[sha256.Size:]
		if at == key {
			return Value{}, false, verify.Failf(Map, "of absence, by the key itself")
		}
	}
	if len(rest) < sha256.Size {
		return Value{}, false, verify.Failf(Map, "it ends within a value")
	}
	value, rest := Value(rest[:sha256.Size]), rest[sha256.Size:]
	got, err := climb(key, at, value, rest)
	if err != nil {
		return Value{}, false, err
	}
	if got != root {
		return Value{}, false, verify.Failf(Map, "it leads to another root")
	}
	return value, kind == proofFound, nil
}

func proofKind(proof []byte) (kind byte, rest []byte, err error) {
	rest, ok := bytes.CutPrefix(proof, []byte(proofHeader))
	if !ok || len(rest) == 0 || rest[0] > proofAbsent || len(proof) > MaxProof {
		return 0, nil, verify.Failf(Map, "proof of %d bytes: want at most %d that begin with %q and a kind from 0 to 2", len(proof), MaxProof, proofHeader)
	}
	return rest[0], rest[1:], nil
}

// climb returns the root that a path leads to. The key must take the same turn as the path at every
// node: so the path is the only one on which the key could be.
func climb(key, at Key, value Value, path []byte) ([sha256.Size]byte, error) {
	if len(path)%stepSize != 0 {
		return [sha256.Size]byte{}, verify.Failf(Map, "it ends within a step")
	}
	hash := sha256.Sum256(append(append([]byte(nil), at[:]...), value[:]...))
	last := 256
	for ; len(path) > 0; path = path[stepSize:] {
		bit, sibling := int(path[0]), path[1:stepSize]
		switch {
		case bit >= last:
			return hash, verify.Failf(Map, "bit %d after bit %d: want falling ones", bit, last)
		case bytes.Equal(sibling, make([]byte, sha256.Size)):
			return hash, verify.Failf(Map, "a hash of zeros at bit %d", bit)
		case key.bit(bit) != at.bit(bit):
			return hash, verify.Failf(Map, "the name parts from the path at bit %d", bit)
		}
		last = bit
		hash = node(hash, sibling, byte(bit), at.bit(bit))
	}
	return hash, nil
}

// node returns SHA-256(left ‖ right ‖ bit). A turn of 1 means that hash is the right child.
func node(hash [sha256.Size]byte, sibling []byte, bit, turn byte) [sha256.Size]byte {
	var b [2*sha256.Size + 1]byte
	left, right := hash[:], sibling
	if turn == 1 {
		left, right = right, left
	}
	copy(b[:], left)
	copy(b[sha256.Size:], right)
	b[2*sha256.Size] = bit
	return sha256.Sum256(b[:])
}

// bit returns the nth bit, from the most significant one.
func (k Key) bit(n int) byte { return k[n/8] >> (7 - n%8) & 1 }
