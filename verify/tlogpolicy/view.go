package tlogpolicy

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// MaxCheckpoint is the size of the largest signed checkpoint, in bytes: 16 ML-DSA-44 signature lines fit.
const MaxCheckpoint = 1 << 17

// A Checkpoint is the text of a checkpoint (https://c2sp.org/tlog-checkpoint) without extension lines, which ML-DSA cosignatures do not
// cover and we do not write.
type Checkpoint struct {
	Origin string
	Size   uint64            // leaves
	Root   [sha256.Size]byte // SHA-256 of nothing for size 0
}

// ParseCheckpoint parses the text of a checkpoint, or of a signed one up to its blank line. Nothing is authenticated.
func ParseCheckpoint(signed []byte) (c Checkpoint, err error) {
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(signed) > MaxCheckpoint || len(lines) != 3 {
		return c, fmt.Errorf("checkpoint of %d bytes and %d lines: want origin, size and root", len(signed), len(lines))
	}
	c.Origin = lines[0]
	if c.Origin == "" || len(c.Origin) > 255 {
		return c, fmt.Errorf("checkpoint: origin of %d bytes: want 1 to 255", len(c.Origin))
	}
	n, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != lines[1] {
		return c, fmt.Errorf("checkpoint: size %.30q: want a decimal number without leading zeros", lines[1])
	}
	c.Size = n
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(c.Root) {
		return c, fmt.Errorf("checkpoint: root %.60q: want %d bytes in base64", lines[2], len(c.Root))
	}
	copy(c.Root[:], root)
	if c.Size == 0 && c.Root != sha256.Sum256(nil) {
		return c, fmt.Errorf("checkpoint: size 0 with root %x: want that of the empty tree", c.Root)
	}
	return c, nil
}

// A Cosignature is a witness's statement that it saw the checkpoint's log consistent, and when.
type Cosignature struct {
	Name    string    // of the witness, in the policy
	KeyName string    // in its key
	Time    time.Time // whole seconds, UTC
}

// A View is a checkpoint whose signatures were verified under a policy.
type View struct {
	Checkpoint
	Cosignatures []Cosignature // of the policy's witnesses, in the policy's order

	// Signed is when the log itself says that it signed, in its ML-DSA signature; zero if it has none. It is worth what the log's
	// word is worth, and no quorum counts it.
	Signed time.Time

	policy *Policy
}

// Open verifies a signed checkpoint: it has the signature of a listed log whose origin it names, no signature of a known key is wrong, and
// the cosignatures meet the quorum.
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
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	v := &View{policy: p}
	if v.Checkpoint, err = ParseCheckpoint([]byte(n.Text)); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(p.logs, func(l Log) bool { return l.Origin == v.Origin && signed(n, l.verifier) != nil }) {
		return nil, fmt.Errorf("checkpoint of %.100q: not signed by a log of this origin in the policy", v.Origin)
	}
	for i := range p.logs {
		if sig := signed(n, p.logs[i].verifier); sig != nil && p.logs[i].timed && p.logs[i].Origin == v.Origin {
			if v.Signed, err = timeOf(sig); err != nil {
				return nil, fmt.Errorf("checkpoint of %q: signature of the log: %w", v.Origin, err)
			}
		}
	}
	for i := range p.witnesses {
		w := &p.witnesses[i]
		sig := signed(n, w.verifier)
		if sig == nil {
			continue
		}
		t, err := timeOf(sig)
		if err != nil {
			return nil, fmt.Errorf("checkpoint of %q: cosignature of %q: %w", v.Origin, w.Name, err)
		}
		v.Cosignatures = append(v.Cosignatures, Cosignature{Name: w.Name, KeyName: w.KeyName, Time: t})
	}
	return v, nil
}

// timeOf reads the time of a cosignature. One without time says nothing of when; one from after the year 9999 does not either.
func timeOf(sig *note.Signature) (time.Time, error) {
	t, err := fnote.CoSigV1Timestamp(*sig)
	if err != nil || t.Unix() <= 0 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("no possible time")
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

// Satisfies reports whether the cosignatures meet a witness or group of the policy, or None. An unknown name is not met.
func (v *View) Satisfies(name string) bool { return v.policy.satisfied(name, v.Cosignatures) }

// NotBefore returns the greatest t such that the cosignatures timed at t or later meet the quorum: whatever contains the signed
// checkpoint was made after it, while dishonest witnesses cannot meet the quorum. It is false where no time is known: quorum None.
func (v *View) NotBefore() (time.Time, bool) { return v.NotBeforeUnder(v.policy.quorum) }

// NotAfter returns the least t such that the cosignatures timed at t or earlier meet the quorum: whatever the checkpoint's tree contains
// was made before it. It is false where no time is known.
func (v *View) NotAfter() (time.Time, bool) { return v.NotAfterUnder(v.policy.quorum) }

// NotBeforeUnder is NotBefore for another witness or group of the policy.
func (v *View) NotBeforeUnder(name string) (time.Time, bool) {
	return v.bound(name, func(a, b Cosignature) int { return b.Time.Compare(a.Time) })
}

// NotAfterUnder is NotAfter for another witness or group of the policy.
func (v *View) NotAfterUnder(name string) (time.Time, bool) {
	return v.bound(name, func(a, b Cosignature) int { return a.Time.Compare(b.Time) })
}

// bound takes cosignatures in an order until they meet a name, and returns the last one's time.
func (v *View) bound(name string, order func(a, b Cosignature) int) (time.Time, bool) {
	if name == None {
		return time.Time{}, false
	}
	sorted := slices.Clone(v.Cosignatures)
	slices.SortStableFunc(sorted, order)
	for i := range sorted {
		if v.policy.satisfied(name, sorted[:i+1]) {
			return sorted[i].Time, true
		}
	}
	return time.Time{}, false
}
