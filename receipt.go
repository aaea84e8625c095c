package poclog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/poclog/poclog/internal/canon"
)

// Limits of a receipt, in bytes and hashes. A tree of 2^63 leaves has proofs of 63 hashes.
const (
	MaxReceipt       = 1 << 20
	maxProofHashes   = 63
	receiptHeader    = "c2sp.org/tlog-proof@v1\n"
	maxCheckpointLen = MaxChallenge
)

// A Receipt is a C2SP tlog-proof of one entry. Its extra data carries the entry and the signed
// challenge checkpoint, so that one file gives claim, proof and interval (docs/format.md §9):
//
//	c2sp.org/tlog-proof@v1
//	extra <base64 of {"v":1,"entry":…,"challenge":…,"first":…,"exceptions":[…]}>
//	index 42
//	<base64 of a hash, from the leaf up>
//
//	<signed checkpoint>
type Receipt struct {
	Entry     []byte     // the leaf
	Index     uint64     // its number in the log, from 0
	Inclusion Inclusion  // its place under the receipt's checkpoint
	Challenge []byte     // the signed challenge checkpoint as the challenge has it; empty for historical evidence
	First     *Inclusion // the first covering checkpoint, in a receipt that was moved to a later one; nil otherwise

	// Exceptions are files of auditors' notes on the tree of the receipt's checkpoint: at most
	// MaxNotes.
	Exceptions [][]byte
}

// An Inclusion is the proof that a leaf is in the tree of a checkpoint.
type Inclusion struct {
	Hashes     [][sha256.Size]byte // RFC 6962 §2.1.1, from the leaf up
	Checkpoint []byte              // the signed checkpoint
}

// Marshal returns the receipt's file.
func (r *Receipt) Marshal() ([]byte, error) {
	extra, err := r.marshalExtra()
	if err != nil {
		return nil, err
	}
	out := []byte(receiptHeader + "extra ")
	out = base64.StdEncoding.AppendEncode(out, extra)
	out = append(out, "\nindex "...)
	out = strconv.AppendUint(out, r.Index, 10)
	out = append(out, '\n')
	for _, h := range r.Inclusion.Hashes {
		out = base64.StdEncoding.AppendEncode(out, h[:])
		out = append(out, '\n')
	}
	out = append(out, '\n')
	out = append(out, r.Inclusion.Checkpoint...)
	if len(out) > MaxReceipt {
		return nil, fmt.Errorf("receipt of %d bytes: want at most %d", len(out), MaxReceipt)
	}
	return out, nil
}

func (r *Receipt) marshalExtra() ([]byte, error) {
	if err := r.Inclusion.check(); err != nil {
		return nil, err
	}
	return canon.Write(MaxReceipt, r.codeExtra)
}

// codeExtra is the extra data.
func (r *Receipt) codeExtra(c *canon.Codec) {
	c.Lit(`{"v":1`)
	c.Member("entry").Base64(&r.Entry, MaxEntry)
	c.OptionalBase64("challenge", &r.Challenge, maxCheckpointLen)
	canon.OptionalOf(c, "first", &r.First, func(i *Inclusion) {
		c.Object(func() {
			canon.List(c.Member("hashes"), "hashes", &i.Hashes, maxProofHashes, func(h *[sha256.Size]byte) { c.Hex(h[:]) })
			c.Member("checkpoint").Base64(&i.Checkpoint, maxCheckpointLen)
		})
	})
	canon.OptionalList(c, "exceptions", &r.Exceptions, MaxNotes, func(f *[]byte) { c.Base64(f, MaxExceptions) })
	c.Lit("}")
}

func (i *Inclusion) check() error {
	if len(i.Hashes) > maxProofHashes || len(i.Checkpoint) == 0 || len(i.Checkpoint) > maxCheckpointLen {
		return fmt.Errorf("receipt: %d hashes and a checkpoint of %d bytes: want at most %d, and 1 to %d",
			len(i.Hashes), len(i.Checkpoint), maxProofHashes, maxCheckpointLen)
	}
	return nil
}

// ParseReceipt parses a receipt's file. It looks neither into the entry nor into the checkpoints.
func ParseReceipt(file []byte) (*Receipt, error) {
	if len(file) > MaxReceipt {
		return nil, fmt.Errorf("receipt of %d bytes: want at most %d", len(file), MaxReceipt)
	}
	r, err := parseReceipt(file)
	if err != nil {
		return nil, fmt.Errorf("parse receipt: %w", err)
	}
	return r, nil
}

func parseReceipt(file []byte) (*Receipt, error) {
	rest, ok := bytes.CutPrefix(file, []byte(receiptHeader))
	if !ok {
		return nil, fmt.Errorf("line 1 is not %q", receiptHeader[:len(receiptHeader)-1])
	}
	line, rest, _ := bytes.Cut(rest, []byte("\n"))
	encoded, ok := bytes.CutPrefix(line, []byte("extra "))
	if !ok {
		return nil, fmt.Errorf("line 2: want extra data: a receipt carries its entry")
	}
	extra, err := base64.StdEncoding.Strict().AppendDecode(nil, encoded)
	if err != nil {
		return nil, fmt.Errorf("line 2: %w", err)
	}
	if base64.StdEncoding.EncodedLen(len(extra)) != len(encoded) { // the decoder skips carriage returns
		return nil, fmt.Errorf("line 2: not in canonical form")
	}
	r := new(Receipt)
	if err := canon.Read(extra, r.codeExtra); err != nil {
		return nil, fmt.Errorf("extra data: %w", err)
	}
	line, rest, _ = bytes.Cut(rest, []byte("\n"))
	index, ok := bytes.CutPrefix(line, []byte("index "))
	if !ok {
		return nil, fmt.Errorf("line 3: want index")
	}
	if r.Index, err = strconv.ParseUint(string(index), 10, 63); err != nil {
		return nil, fmt.Errorf("line 3: %w", err)
	}
	if strconv.FormatUint(r.Index, 10) != string(index) {
		return nil, fmt.Errorf("line 3: index %.30q: want a number without leading zeros", index)
	}
	if err := r.parseProof(rest); err != nil {
		return nil, err
	}
	return r, r.Inclusion.check()
}

// parseProof reads the hashes, the blank line and the checkpoint.
func (r *Receipt) parseProof(rest []byte) error {
	for {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return fmt.Errorf("no blank line before a checkpoint")
		}
		rest = after
		if len(line) == 0 {
			r.Inclusion.Checkpoint = rest
			return nil
		}
		if len(r.Inclusion.Hashes) == maxProofHashes {
			return fmt.Errorf("more than %d hashes", maxProofHashes)
		}
		h, err := base64.StdEncoding.Strict().DecodeString(string(line))
		if err != nil || len(h) != sha256.Size || len(line) != base64.StdEncoding.EncodedLen(sha256.Size) {
			return fmt.Errorf("hash %d %.50q: want %d bytes in base64", len(r.Inclusion.Hashes), line, sha256.Size)
		}
		r.Inclusion.Hashes = append(r.Inclusion.Hashes, [sha256.Size]byte(h))
	}
}
