package poclog

import (
	"fmt"
	"strings"

	"github.com/poclog/poclog/internal/canon"
)

// Limits of a note of exceptions.
const (
	MaxExceptions       = 1 << 17 // the file, in bytes
	MaxExcepted         = 1 << 12 // numbers in one note
	MaxNotes            = 4       // in one receipt
	maxNoteSignatures   = 4
	maxNoteSignature    = 4096 // bytes: an ML-DSA-44 signature has 2,420
	maxCosignerName     = 255  // bytes of a key's or log's name, as tlog-cosignature limits it
	exceptionsSignature = "poclog/exceptions/v1\n"
)

// ExceptSuffix ends the name of the key with which an auditor signs trees that have entries whose
// evidence it did not see.
const ExceptSuffix = "/except"

// Exceptions is an auditor's signed note on a tree (`*.exceptions.json`, docs/format.md §9): it
// verified every entry but these, whose evidence the log withheld by law before the auditor saw it.
//
//	{"v":1,"auditor":"auditor.example/except","origin":"log.example/2026","size":"42","root":"…","except":["7","9"],"signatures":[{"id":"0badcafe","sig":"…"}]}
type Exceptions struct {
	Auditor string // the name of the keys that sign: the auditor's and ExceptSuffix
	Origin  string // of the log
	Size    uint64 // of the tree
	Root    Digest
	Except  []uint64 // the numbers of the entries, ascending, below Size: 1 to MaxExcepted

	Signatures []NoteSignature // ascending by key id, 1 to 4
}

// A NoteSignature is a signature over [Exceptions.Message] by an Ed25519 or ML-DSA-44 key.
type NoteSignature struct {
	ID  [4]byte // the key's id, as its verifier key has it
	Sig []byte
}

// Marshal returns the file.
func (e *Exceptions) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxExceptions, e.code)
	if err != nil {
		return nil, fmt.Errorf("encode note of exceptions: %w", err)
	}
	return file, nil
}

// Message returns what is signed: a line that says what it is, and all of the file that stands
// before the signatures.
func (e *Exceptions) Message() ([]byte, error) {
	b, err := canon.Write(MaxExceptions, e.codeStatement)
	if err != nil {
		return nil, fmt.Errorf("encode note of exceptions: %w", err)
	}
	return append([]byte(exceptionsSignature), b...), nil
}

func (e *Exceptions) code(c *canon.Codec) {
	e.codeStatement(c)
	canon.List(c.Member("signatures"), "signatures", &e.Signatures, maxNoteSignatures, func(s *NoteSignature) {
		c.Object(func() {
			c.Member("id").Hex(s.ID[:])
			c.Member("sig").Base64(&s.Sig, maxNoteSignature)
		})
	})
	c.Check(len(e.Signatures) > 0, "signatures: none")
	canon.Ascending(c, "signatures", e.Signatures, func(a, b NoteSignature) bool { return string(a.ID[:]) < string(b.ID[:]) })
	c.Lit("}")
}

// codeStatement is the file up to its signatures.
func (e *Exceptions) codeStatement(c *canon.Codec) {
	c.Lit(`{"v":1`)
	canon.Str(c.Member("auditor"), &e.Auditor, maxCosignerName)
	name, ok := strings.CutSuffix(e.Auditor, ExceptSuffix)
	c.Check(ok && name != "" && !strings.ContainsAny(name, " +"), "auditor %.80q: want a key's name that ends in %s", e.Auditor, ExceptSuffix)
	canon.Word(c.Member("origin"), "origin", &e.Origin, maxCosignerName)
	c.Member("size").Uint64(&e.Size)
	c.Member("root").Hex(e.Root[:])
	canon.List(c.Member("except"), "except", &e.Except, MaxExcepted, c.Uint64)
	c.Check(len(e.Except) > 0, "except: none: then the auditor's own key signs")
	canon.Ascending(c, "except", e.Except, func(a, b uint64) bool { return a < b })
	c.Check(len(e.Except) == 0 || e.Except[len(e.Except)-1] < e.Size, "except: an entry beyond size %d", e.Size)
}

// ParseExceptions parses a note's file. It verifies no signature.
func ParseExceptions(file []byte) (*Exceptions, error) {
	if len(file) > MaxExceptions {
		return nil, fmt.Errorf("note of exceptions of %d bytes: want at most %d", len(file), MaxExceptions)
	}
	e := new(Exceptions)
	if err := canon.Read(file, e.code); err != nil {
		return nil, fmt.Errorf("parse note of exceptions: %w", err)
	}
	return e, nil
}

// String names the key.
func (s NoteSignature) String() string { return fmt.Sprintf("key %x", s.ID) }
