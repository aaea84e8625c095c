package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"filippo.io/torchwood"
)

const (
	// MaxBody is the largest add-checkpoint body, in bytes. Sixteen ML-DSA-44 signatures with long
	// key names take some 60 kB, and a checkpoint may carry an Ed25519 signature beside each.
	MaxBody = 128 << 10

	// maxProof is the largest number of consistency proof lines (tlog-witness, add-checkpoint).
	maxProof = 63

	// maxOrigin is the longest origin that an ML-DSA-44 cosignature can commit to, in bytes
	// (tlog-cosignature, log_origin).
	maxOrigin = 255
)

// emptyRoot is the root of a tree without leaves (RFC 6962, section 2.1).
var emptyRoot = sha256.Sum256(nil)

// A Request is the body of add-checkpoint:
//
//	old 20852014
//	PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
//
//	example.com/behind-the-sofa
//	20852163
//	CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//
//	— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
//
// See https://c2sp.org/tlog-witness.
type Request struct {
	Old        uint64               // size of the tree that the proof starts from, at most 2^63 - 1
	Proof      [][]byte             // the consistency proof: at most 63 hashes of 32 bytes
	Note       []byte               // the signed checkpoint, byte for byte as it came; its signatures are not checked yet
	Checkpoint torchwood.Checkpoint // the parsed text of Note; ParseRequest sets it, Marshal does not read it
}

// ParseRequest parses an add-checkpoint body. It accepts only what Marshal writes, so that one
// request has one encoding. It says nothing about the signatures and the proof.
func ParseRequest(body []byte) (*Request, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("body of %d bytes: want at most %d", len(body), MaxBody)
	}
	head, signed, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok {
		return nil, errors.New("no empty line between the proof and the checkpoint")
	}
	lines := strings.Split(string(head), "\n")
	size, ok := strings.CutPrefix(lines[0], "old ")
	if !ok {
		return nil, fmt.Errorf("first line %.40q: want the word old, a space and a size", lines[0])
	}
	r := &Request{Note: signed}
	var err error
	if r.Old, err = parseSize(size); err != nil {
		return nil, fmt.Errorf("old size: %w", err)
	}
	if r.Proof, err = parseProof(lines[1:]); err != nil {
		return nil, err
	}
	text, err := noteText(signed)
	if err != nil {
		return nil, err
	}
	if r.Checkpoint, err = parseCheckpoint(text); err != nil {
		return nil, err
	}
	return r, nil
}

// Marshal returns the body that ParseRequest parses.
func (r *Request) Marshal() []byte {
	b := fmt.Appendf(nil, "old %d\n", r.Old)
	for _, h := range r.Proof {
		b = base64.StdEncoding.AppendEncode(b, h)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(b, r.Note...)
}

// parseSize parses a decimal number below 2^63 without sign and leading zeros.
func parseSize(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > math.MaxInt64 || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%.40q is not a decimal number below 2^63 without sign and leading zeros", s)
	}
	return n, nil
}

func parseProof(lines []string) ([][]byte, error) {
	if len(lines) > maxProof {
		return nil, fmt.Errorf("%d consistency proof lines: want at most %d", len(lines), maxProof)
	}
	proof := make([][]byte, 0, len(lines))
	for i, line := range lines {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		// The decoder skips carriage returns: the length tells.
		if err != nil || len(h) != sha256.Size || len(line) != base64.StdEncoding.EncodedLen(sha256.Size) {
			return nil, fmt.Errorf("consistency proof line %d, %.60q: want 32 bytes in base64", i+1, line)
		}
		proof = append(proof, h)
	}
	return proof, nil
}

// noteText returns the text of a signed note, with its last newline and without its signatures.
func noteText(signed []byte) (string, error) {
	i := bytes.LastIndex(signed, []byte("\n\n"))
	if i < 0 {
		return "", errors.New("checkpoint: no empty line before the signatures")
	}
	return string(signed[:i+1]), nil
}

// parseCheckpoint parses the text of a checkpoint, without signatures
// (https://c2sp.org/tlog-checkpoint). It accepts only the one encoding of a checkpoint: no leading
// zeros, canonical base64, an origin of 1 to 255 bytes, no empty lines. Whether a size of zero
// comes with the root of the empty tree is for the caller to check.
func parseCheckpoint(text string) (torchwood.Checkpoint, error) {
	c, err := torchwood.ParseCheckpoint(text)
	if err != nil {
		return c, fmt.Errorf("checkpoint: want an origin, a size, a root and no empty line: %w", err)
	}
	if c.Origin == "" || len(c.Origin) > maxOrigin {
		return c, fmt.Errorf("checkpoint: origin of %d bytes: want 1 to %d", len(c.Origin), maxOrigin)
	}
	if c.String() != text {
		return c, errors.New("checkpoint: not in its canonical encoding")
	}
	return c, nil
}
