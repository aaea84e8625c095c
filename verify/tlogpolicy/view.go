package tlogpolicy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	fnote "github.com/transparency-dev/formats/note"
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
	text, signatures := splitNote(string(signed))
	for _, line := range signatures {
		if !strings.HasPrefix(line, signaturePrefix) {
			return Checkpoint{}, fmt.Errorf("checkpoint: line %.60q after the last empty one: want a signature", line)
		}
	}
	return parseText(text)
}

const signaturePrefix = "— " // signed-note: em dash, space

// splitNote splits a signed note at its last empty line into text and signature lines. What has no
// empty line is all text.
func splitNote(signed string) (text string, signatures []string) {
	i := strings.LastIndex(signed, "\n\n")
	if i < 0 {
		return signed, nil
	}
	return signed[:i+1], strings.Split(strings.TrimSuffix(signed[i+2:], "\n"), "\n")
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
	n, err := note.Open(checkpoint, p.verifiers)
	if err != nil {
		return nil, fmt.Errorf("checkpoint signed by nobody whom the policy names: %w", err)
	}
	v := &View{policy: p}
	if v.Checkpoint, err = parseText(n.Text); err != nil {
		return nil, err
	}
	lines, err := p.signatureLines(string(checkpoint), n.Text)
	if err != nil {
		return nil, fmt.Errorf("checkpoint of %q: %w", v.Origin, err)
	}
	if err := v.readLog(n); err != nil {
		return nil, fmt.Errorf("checkpoint of %q: %w", v.Origin, err)
	}
	if err := v.readWitnesses(lines); err != nil {
		return nil, fmt.Errorf("checkpoint of %q: %w", v.Origin, err)
	}
	return v, nil
}

// signatureLines reads the signature lines of known keys. Of a key that signed more than once
// note.Open verifies the first one alone: the others have to be right as well, and count as much,
// so that whoever holds the note changes nothing by changing the order of its lines.
func (p *Policy) signatureLines(signed, text string) ([]note.Signature, error) {
	_, signatures := splitNote(signed)
	lines, seen := make([]note.Signature, 0, len(signatures)), make(map[string]bool)
	for _, line := range signatures {
		name, encoded, _ := strings.Cut(strings.TrimPrefix(line, signaturePrefix), " ")
		sig, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(sig) < 4 {
			return nil, fmt.Errorf("signature of %.60q: not in base64", name)
		}
		l := note.Signature{Name: name, Hash: binary.BigEndian.Uint32(sig), Base64: encoded}
		v, err := p.verifiers.Verifier(l.Name, l.Hash)
		if err != nil {
			continue // a stranger's
		}
		_, err = decodeStrictly(encoded)
		switch key := fmt.Sprintf("%s+%08x", l.Name, l.Hash); {
		case seen[key] && (err != nil || !v.Verify([]byte(text), sig[4:])):
			return nil, fmt.Errorf("a further signature of %.60q is wrong", name)
		case err != nil:
			return nil, fmt.Errorf("signature of %q: %w", name, err)
		default:
			seen[key] = true
		}
		lines = append(lines, l)
	}
	return lines, nil
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
func (v *View) readLog(n *note.Note) error {
	found := false
	for _, l := range v.policy.logs {
		sig := signed(n, l.verifier)
		if sig == nil || l.Origin != v.Origin {
			continue
		}
		found = true
		if !l.timed {
			continue
		}
		t, err := signatureTime(sig)
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

func (v *View) readWitnesses(lines []note.Signature) error {
	for _, w := range v.policy.witnesses {
		c := Cosignature{Name: w.Name, KeyName: w.KeyName}
		for i := range lines {
			if lines[i].Name != w.verifier.Name() || lines[i].Hash != w.verifier.KeyHash() {
				continue
			}
			t, err := signatureTime(&lines[i])
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

// signatureTime reads the time of a signature: the zero time if it has none, which a log's
// ML-DSA-44 signature may (tlog-cosignature) and a witness's on a checkpoint may not. One from
// after the year 9999 cannot be.
func signatureTime(sig *note.Signature) (time.Time, error) {
	t, err := fnote.CoSigV1Timestamp(*sig)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("read its time: %w", err)
	case t.Unix() == 0:
		return time.Time{}, nil
	case t.Unix() < 0 || t.UTC().Year() > 9999:
		return time.Time{}, fmt.Errorf("its time %d is none", uint64(t.Unix()))
	}
	return t.UTC(), nil
}

func signed(n *note.Note, v note.Verifier) *note.Signature {
	for i := range n.Sigs {
		if n.Sigs[i].Name == v.Name() && n.Sigs[i].Hash == v.KeyHash() {
			return &n.Sigs[i]
		}
	}
	return nil
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
func (v *View) NotBefore() (time.Time, bool) { return v.NotBeforeUnder(v.policy.quorum) }

// NotAfter returns the least t such that the cosignatures timed at t or earlier meet the quorum:
// whatever the checkpoint's tree contains was made before it. It is false where no time is known.
func (v *View) NotAfter() (time.Time, bool) { return v.NotAfterUnder(v.policy.quorum) }

// NotBeforeUnder is NotBefore for another witness or group of the policy.
func (v *View) NotBeforeUnder(name string) (time.Time, bool) {
	return v.bound(name, func(a, b Cosignature) int { return b.Time.Compare(a.Time) }, func(c Cosignature) time.Time { return c.Time })
}

// NotAfterUnder is NotAfter for another witness or group of the policy.
func (v *View) NotAfterUnder(name string) (time.Time, bool) {
	return v.bound(name, func(a, b Cosignature) int { return a.First.Compare(b.First) }, func(c Cosignature) time.Time { return c.First })
}

// bound takes cosignatures in an order until they meet a name, and returns the last one's time.
func (v *View) bound(name string, order func(a, b Cosignature) int, at func(Cosignature) time.Time) (time.Time, bool) {
	if name == None {
		return time.Time{}, false
	}
	sorted := slices.Clone(v.Cosignatures)
	slices.SortStableFunc(sorted, order)
	for i := range sorted {
		if v.policy.satisfied(name, sorted[:i+1]) {
			return at(sorted[i]), true
		}
	}
	return time.Time{}, false
}
