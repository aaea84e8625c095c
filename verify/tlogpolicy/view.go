package tlogpolicy

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// MaxCheckpoint is the size of the largest signed checkpoint, in bytes: 16 ML-DSA-44 signature
// lines fit.
const MaxCheckpoint = 1 << 17

// A Checkpoint is the text of a checkpoint (https://c2sp.org/tlog-checkpoint) without extension
// lines, which ML-DSA cosignatures do not cover and we do not write.
type Checkpoint struct {
	Origin string
	Size   uint64            // leaves
	Root   [sha256.Size]byte // SHA-256 of nothing for size 0
}

// ParseCheckpoint parses the text of a checkpoint, or of a signed one up to its signatures. Nothing
// is authenticated.
func ParseCheckpoint(signed []byte) (Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, fmt.Errorf("checkpoint of %d bytes: want at most %d", len(signed), MaxCheckpoint)
	}
	text, rest, isSigned := splitNote(signed)
	for more := isSigned; more; more = len(rest) > 0 {
		var line []byte
		if line, rest, _ = bytes.Cut(rest, []byte("\n")); !bytes.HasPrefix(line, signaturePrefix) {
			return Checkpoint{}, fmt.Errorf("checkpoint: line %.60q after the last empty one: want a signature", line)
		}
	}
	return parseText(string(text))
}

var signaturePrefix = []byte("— ") // signed-note: em dash, space

// splitNote splits a signed note at its last empty line into text and signature lines. What has no
// empty line is all text.
func splitNote(signed []byte) (text, signatures []byte, isSigned bool) {
	end := -1
	for {
		next := bytes.Index(signed[end+1:], []byte("\n\n"))
		if next < 0 {
			break
		}
		end += 1 + next
	}
	if end < 0 {
		return signed, nil, false
	}
	return signed[:end+1], signed[end+2:], true
}

// parseText parses the text of a checkpoint: nothing else has the same meaning.
func parseText(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return c, fmt.Errorf("checkpoint of %d lines: want origin, size and root, and a final line feed", strings.Count(text, "\n"))
	}
	c.Origin = lines[0]
	if c.Origin == "" || len(c.Origin) > maxSignedName {
		return c, fmt.Errorf("checkpoint: origin of %d bytes: want 1 to %d", len(c.Origin), maxSignedName)
	}
	if !utf8.ValidString(c.Origin) || strings.ContainsFunc(c.Origin, func(r rune) bool { return r < ' ' }) {
		return c, fmt.Errorf("checkpoint: origin %q: want UTF-8 without control characters", c.Origin)
	}
	n, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != lines[1] {
		return c, fmt.Errorf("checkpoint: size %.30q: want a decimal number without leading zeros", lines[1])
	}
	c.Size = n
	root, err := decodeStrictly(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return c, fmt.Errorf("checkpoint: root %.60q: want %d bytes in base64", lines[2], len(c.Root))
	}
	copy(c.Root[:], root)
	if c.Size == 0 && c.Root != sha256.Sum256(nil) {
		return c, fmt.Errorf("checkpoint: size 0 with root %x: want that of the empty tree", c.Root)
	}
	return c, nil
}

// A Cosignature is a witness's statement that it saw the checkpoint's log consistent, and when. A
// checkpoint may carry several by one witness.
type Cosignature struct {
	Name    string    // of the witness, in the policy
	KeyName string    // in its key
	Time    time.Time // of the last one; whole seconds, UTC
	First   time.Time // of the first one
}

// A View is a checkpoint whose signatures were verified under a policy.
type View struct {
	Checkpoint
	Cosignatures []Cosignature // of the policy's witnesses, in the policy's order

	// Signed is when the log itself says that it signed, in its ML-DSA signature; zero if it has
	// none. It is worth what the log's word is worth, and no quorum counts it.
	Signed time.Time

	policy *Policy
}

// Open verifies a signed checkpoint: it has the signature of a listed log whose origin it names, no
// signature of a known key is wrong, and the cosignatures meet the quorum.
func (p *Policy) Open(checkpoint []byte) (*View, error) {
	v, err := p.OpenLogged(checkpoint)
	if err != nil {
		return nil, err
	}
	if !v.Satisfies(p.quorum) {
		return nil, fmt.Errorf("checkpoint of %q at size %d: cosigned by %s: not the policy's quorum %q", v.Origin, v.Size, v.signers(), p.quorum)
	}
	return v, nil
}

func (v *View) signers() string {
	if len(v.Cosignatures) == 0 {
		return "no witness of the policy"
	}
	names := make([]string, len(v.Cosignatures))
	for i, c := range v.Cosignatures {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// OpenLogged is Open without the quorum: the log signed it, and perhaps some witnesses did.
func (p *Policy) OpenLogged(checkpoint []byte) (*View, error) {
	if len(checkpoint) > MaxCheckpoint {
		return nil, fmt.Errorf("checkpoint of %d bytes: want at most %d", len(checkpoint), MaxCheckpoint)
	}
	text, lines, isSigned := splitNote(checkpoint)
	if !isSigned {
		return nil, errors.New("checkpoint without an empty line and signatures")
	}
	c, err := parseText(string(text))
	if err != nil {
		return nil, err
	}
	signatures, err := p.openNote(text, lines)
	if err != nil {
		return nil, err
	}
	v := &View{Checkpoint: c, policy: p}
	if err := v.readLog(signatures); err != nil {
		return nil, fmt.Errorf("checkpoint of %q: %w", v.Origin, err)
	}
	if err := v.readWitnesses(signatures); err != nil {
		return nil, fmt.Errorf("checkpoint of %q: %w", v.Origin, err)
	}
	return v, nil
}

// maxSignatures is how many signature lines a note has at most, strangers' included.
const maxSignatures = 100

// A signature is one by a key of the policy, and verified. Those of other keys are ignored.
type signature struct {
	by  note.Verifier
	sig []byte
}

// openNote verifies a signed note (https://c2sp.org/signed-note): each line must be a signature,
// and each of a known key right, also where a key signed more than once. So whoever holds the note
// changes nothing by changing the order of its lines.
func (p *Policy) openNote(text, lines []byte) (signatures []signature, err error) {
	if len(lines) == 0 || lines[len(lines)-1] != '\n' {
		return nil, errors.New("checkpoint: want lines of signatures")
	}
	for n := 0; len(lines) > 0; n++ {
		var line []byte
		line, lines, _ = bytes.Cut(lines, []byte("\n"))
		if n == maxSignatures {
			return nil, fmt.Errorf("checkpoint: over %d signatures", maxSignatures)
		}
		name, sig, isStrict, err := readLine(line)
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %w", err)
		}
		by, err := p.verifiers.Verifier(name, binary.BigEndian.Uint32(sig))
		switch {
		case err != nil: // a stranger's
			continue
		case !isStrict:
			return nil, fmt.Errorf("checkpoint: the signature of %q is wrong: not base64 as it is written", name)
		case !by.Verify(text, sig[4:]):
			return nil, fmt.Errorf("checkpoint: the signature of %q is wrong", name)
		}
		signatures = append(signatures, signature{by, sig[4:]})
	}
	if len(signatures) == 0 {
		return nil, fmt.Errorf("checkpoint signed by nobody whom the policy names: %w", &note.UnverifiedNoteError{})
	}
	return signatures, nil
}

// readLine reads a signature line: the key's name, and its id with the signature. It reports
// whether the base64 is the one form of these octets.
func readLine(line []byte) (name string, sig []byte, isStrict bool, err error) {
	rest, ok := bytes.CutPrefix(line, signaturePrefix)
	before, encoded, _ := bytes.Cut(rest, []byte(" "))
	name = string(before)
	if !ok || name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < '!' || r == '+' || unicode.IsSpace(r) }) {
		return "", nil, false, fmt.Errorf("line %.60q: want a signature", line)
	}
	sig, err = base64.StdEncoding.Strict().AppendDecode(nil, encoded)
	isStrict = err == nil
	if !isStrict {
		sig, err = base64.StdEncoding.AppendDecode(nil, encoded)
	}
	// The decoder passes over carriage returns.
	if err != nil || len(sig) < 5 || base64.StdEncoding.EncodedLen(len(sig)) != len(encoded) {
		return "", nil, false, fmt.Errorf("signature of %.60q: want an id and a signature in base64", name)
	}
	return name, sig, isStrict, nil
}

// decodeStrictly decodes base64 of which there is only one form: the library ignores the last
// letter's spare bits, and carriage returns.
func decodeStrictly(encoded string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || base64.StdEncoding.EncodeToString(b) != encoded {
		return nil, fmt.Errorf("%.100q is not base64 as it is written", encoded)
	}
	return b, nil
}

// readLog finds the signature of a log whose origin the checkpoint names, and the time in it if
// there is one.
func (v *View) readLog(signatures []signature) error {
	found := false
	for _, l := range v.policy.logs {
		i := slices.IndexFunc(signatures, func(s signature) bool { return s.by == l.verifier })
		if i < 0 || l.Origin != v.Origin {
			continue
		}
		found = true
		if !l.timed {
			continue
		}
		t, err := signatures[i].time()
		if err != nil {
			return fmt.Errorf("signature of the log: %w", err)
		}
		v.Signed = t
	}
	if !found {
		return fmt.Errorf("not signed by a log of this origin in the policy")
	}
	return nil
}

func (v *View) readWitnesses(signatures []signature) error {
	for _, w := range v.policy.witnesses {
		c := Cosignature{Name: w.Name, KeyName: w.KeyName}
		for _, s := range signatures {
			if s.by != w.verifier {
				continue
			}
			t, err := s.time()
			if err == nil && t.IsZero() {
				err = fmt.Errorf("no time")
			}
			if err != nil {
				return fmt.Errorf("cosignature of %q: %w", w.Name, err)
			}
			c.add(t)
		}
		if !c.Time.IsZero() {
			v.Cosignatures = append(v.Cosignatures, c)
		}
	}
	return nil
}

func (c *Cosignature) add(t time.Time) {
	if c.Time.IsZero() || t.Before(c.First) {
		c.First = t
	}
	if t.After(c.Time) {
		c.Time = t
	}
}

// time reads the time with which a signature begins (tlog-cosignature): the zero time if it has
// none, which a log's ML-DSA-44 signature may and a witness's on a checkpoint may not. One from
// after the year 9999 cannot be.
func (s *signature) time() (time.Time, error) {
	n := binary.BigEndian.Uint64(s.sig) // it was verified, and so is longer
	t := time.Unix(int64(n), 0).UTC()
	switch {
	case n == 0:
		return time.Time{}, nil
	case int64(n) < 0 || t.Year() > 9999:
		return time.Time{}, fmt.Errorf("its time %d is none", n)
	}
	return t, nil
}

// satisfied reports whether cosignatures meet the witness or group of a name.
func (p *Policy) satisfied(name string, by []Cosignature) bool {
	if name == None {
		return true
	}
	if i := p.group(name); i >= 0 {
		n := 0
		for _, m := range p.groups[i].Members {
			if p.satisfied(m, by) {
				n++
			}
		}
		return n >= p.groups[i].Threshold
	}
	return slices.ContainsFunc(by, func(c Cosignature) bool { return c.Name == name })
}

// Satisfies reports whether the cosignatures meet a witness or group of the policy, or None. An
// unknown name is not met.
func (v *View) Satisfies(name string) bool { return v.policy.satisfied(name, v.Cosignatures) }

// NotBefore returns the greatest t such that the cosignatures timed at t or later meet the quorum:
// whatever contains the signed checkpoint was made after it, while dishonest witnesses cannot meet
// the quorum. It is false where no time is known: quorum None.
func (v *View) NotBefore() (time.Time, bool) {
	return v.bound(func(a, b Cosignature) int { return b.Time.Compare(a.Time) }, func(c Cosignature) time.Time { return c.Time })
}

// NotAfter returns the least t such that the cosignatures timed at t or earlier meet the quorum:
// whatever the checkpoint's tree contains was made before it. It is false where no time is known.
func (v *View) NotAfter() (time.Time, bool) {
	return v.bound(func(a, b Cosignature) int { return a.First.Compare(b.First) }, func(c Cosignature) time.Time { return c.First })
}

// bound takes cosignatures in an order until they meet the quorum, and returns the last one's time.
func (v *View) bound(order func(a, b Cosignature) int, at func(Cosignature) time.Time) (time.Time, bool) {
	if v.policy.quorum == None {
		return time.Time{}, false
	}
	sorted := slices.Clone(v.Cosignatures)
	slices.SortStableFunc(sorted, order)
	for i := range sorted {
		if v.policy.satisfied(v.policy.quorum, sorted[:i+1]) {
			return at(sorted[i]), true
		}
	}
	return time.Time{}, false
}
