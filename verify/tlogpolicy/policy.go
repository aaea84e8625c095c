// Package tlogpolicy is the C2SP tlog-policy language (https://c2sp.org/tlog-policy): which logs a
// reader accepts, and which witnesses must have cosigned their checkpoints. It parses strictly, for
// a policy that is read more kindly than it was written lets one witness count twice; and it
// evaluates quorums, and the times that a quorum of cosignatures proves.
//
// Signatures are C2SP signed-note and tlog-cosignature: Ed25519 and ML-DSA-44. The package is pure.
// testdata/tlogpolicy holds a policy for every rule that can be broken.
package tlogpolicy

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Limits of a policy.
const (
	MaxPolicy = 1 << 16 // bytes
	maxNames  = 256     // logs, witnesses and groups, each
)

// None is the quorum that every checkpoint meets.
const None = "none"

// A Log is a "log" line.
type Log struct {
	Origin string // the key's name: the first line of the log's checkpoints
	VKey   string
	URL    string // empty if the line has none

	verifier note.Verifier
	timed    bool // ML-DSA signatures carry a time, Ed25519 ones do not
}

// A Witness is a "witness" line.
type Witness struct {
	Name    string // the policy's
	VKey    string
	KeyName string // the name in the vkey, which stands on signature lines
	URL     string // empty if the line has none

	verifier note.Verifier
	alg      byte // type of the key: ed25519Cosignature or mldsa44
	public   []byte
}

// A Group is a "group" line: met if at least Threshold members are.
type Group struct {
	Name      string
	Threshold int      // 1 ≤ Threshold ≤ len(Members)
	Members   []string // names of witnesses and groups of earlier lines, each once
}

// A Policy is a parsed policy. It is not changed after Parse and may be used concurrently.
type Policy struct {
	logs      []Log
	witnesses []Witness
	groups    []Group
	quorum    string
	verifiers note.Verifiers
}

// Logs returns the logs, in order.
func (p *Policy) Logs() []Log { return slices.Clone(p.logs) }

// Witnesses returns the witnesses, in order.
func (p *Policy) Witnesses() []Witness { return slices.Clone(p.witnesses) }

// Groups returns the groups, in order.
func (p *Policy) Groups() []Group { return slices.Clone(p.groups) }

// Quorum returns the name of the witness or group whose cosignatures a checkpoint needs, or None.
func (p *Policy) Quorum() string { return p.quorum }

// Lists reports whether a log of this origin is in the policy.
func (p *Policy) Lists(origin string) bool {
	return slices.ContainsFunc(p.logs, func(l Log) bool { return l.Origin == origin })
}

// Has reports whether a witness or group has this name.
func (p *Policy) Has(name string) bool { return p.witness(name) >= 0 || p.group(name) >= 0 }

func (p *Policy) witness(name string) int {
	return slices.IndexFunc(p.witnesses, func(w Witness) bool { return w.Name == name })
}

func (p *Policy) group(name string) int {
	return slices.IndexFunc(p.groups, func(g Group) bool { return g.Name == name })
}

// Parse parses a policy. What it refuses is a [*Refusal].
func Parse(text []byte) (*Policy, error) {
	if len(text) > MaxPolicy {
		return nil, refuse(ruleSize, "tlog-policy: %d bytes: want at most %d", len(text), MaxPolicy)
	}
	p := new(Policy)
	keys := make(keyLines)
	for i, line := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		if err := p.line(string(line), keys, i+1); err != nil {
			return nil, in(fmt.Sprintf("tlog-policy: line %d", i+1), err)
		}
	}
	if p.quorum == "" {
		return nil, refuse(ruleNoQuorum, "tlog-policy: no quorum line")
	}
	if len(p.logs) == 0 {
		return nil, refuse(ruleNoLog, "tlog-policy: no log line: no checkpoint could ever be accepted")
	}
	var all []note.Verifier
	for _, l := range p.logs {
		all = append(all, l.verifier)
	}
	for _, w := range p.witnesses {
		all = append(all, w.verifier)
	}
	p.verifiers = note.VerifierList(all...)
	return p, nil
}

func (p *Policy) line(line string, keys keyLines, number int) error {
	for i := 0; i < len(line); i++ {
		if c := line[i]; c != '\t' && (c < 0x20 || c == 0x7f) {
			return refuse(ruleByte, "byte %#02x: want tab, or 20 to 7E and 80 to FF", c)
		}
	}
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	args := words[1:]
	switch words[0] {
	case "log":
		return p.logLine(args, keys, number)
	case "witness":
		return p.witnessLine(args, keys, number)
	case "group":
		return p.groupLine(args)
	case "quorum":
		return p.quorumLine(args)
	}
	return refuse(ruleKeyword, "keyword %.40q: want log, witness, group or quorum", words[0])
}

// keyLines are the lines on which keys stand, by public key and by name and id.
type keyLines map[string]int

// claim refuses a key that another line has. Duplicates are the same public key among logs or among
// witnesses, under whatever names: an Ed25519 cosignature does not cover its signer's name, so that
// one signature would count as two. Nor may two keys share name and id, between which a signature
// line could not tell.
func (k keyLines) claim(role string, v note.Verifier, public []byte, number int) error {
	byPublic, byName := role+"\n"+string(public), fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash())
	for _, id := range []string{byPublic, byName} {
		if other, ok := k[id]; ok {
			return refuse(ruleKeyRepeated, "key %.200s: line %d has it too", byName, other)
		}
		k[id] = number
	}
	return nil
}

func (p *Policy) logLine(args []string, keys keyLines, number int) error {
	if len(args) < 1 || len(args) > 2 {
		return refuse(ruleWords, "want log <vkey> [<url>]")
	}
	if len(p.logs) == maxNames {
		return refuse(ruleLines, "want at most %d lines log <vkey> [<url>]", maxNames)
	}
	v, public, err := verifier("log", args[0], ed25519Note)
	if err != nil {
		return err
	}
	if err := keys.claim("log", v, public, number); err != nil {
		return err
	}
	url, err := urlOf(args[1:])
	_, timed := v.(*fnote.SubtreeVerifier)
	p.logs = append(p.logs, Log{Origin: v.Name(), VKey: args[0], URL: url, verifier: v, timed: timed})
	return err
}

func (p *Policy) witnessLine(args []string, keys keyLines, number int) error {
	if len(args) < 2 || len(args) > 3 {
		return refuse(ruleWords, "want witness <name> <vkey> [<url>]")
	}
	if len(p.witnesses) == maxNames {
		return refuse(ruleLines, "want at most %d lines witness <name> <vkey> [<url>]", maxNames)
	}
	if err := p.newName(args[0]); err != nil {
		return err
	}
	v, public, err := verifier("witness", args[1], ed25519Cosignature)
	if err != nil {
		return in(fmt.Sprintf("witness %q", args[0]), err)
	}
	if err := keys.claim("witness", v, public, number); err != nil {
		return in(fmt.Sprintf("witness %q", args[0]), err)
	}
	url, err := urlOf(args[2:])
	p.witnesses = append(p.witnesses, Witness{Name: args[0], VKey: args[1], KeyName: v.Name(), URL: url, verifier: v, alg: algOf(v), public: public})
	return err
}

func urlOf(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	if !strings.HasPrefix(args[0], "https://") && !strings.HasPrefix(args[0], "http://") {
		return "", refuse(ruleURL, "URL %.200q: want https or http", args[0])
	}
	return args[0], nil
}

func (p *Policy) newName(name string) error {
	if name == None {
		return refuse(ruleName, "name %q is predefined", name)
	}
	if p.Has(name) {
		return refuse(ruleName, "name %q: an earlier line defines it", name)
	}
	return nil
}

func (p *Policy) groupLine(args []string) error {
	if len(args) < 3 {
		return refuse(ruleWords, "want group <name> <threshold> <member>…")
	}
	if len(p.groups) == maxNames {
		return refuse(ruleLines, "want at most %d lines group <name> <threshold> <member>…", maxNames)
	}
	if err := p.newName(args[0]); err != nil {
		return err
	}
	g := Group{Name: args[0], Members: args[2:]}
	for i, m := range g.Members {
		if !p.Has(m) { // nor does any line define None
			return refuse(ruleUndefined, "group %q: member %q: no earlier line defines it", g.Name, m)
		}
		if slices.Contains(g.Members[:i], m) {
			return refuse(ruleMemberRepeated, "group %q: member %q twice", g.Name, m)
		}
		if err := p.onlyOnce(m); err != nil {
			return in(fmt.Sprintf("group %q", g.Name), err)
		}
	}
	switch t := args[1]; t {
	case "all":
		g.Threshold = len(g.Members)
	case "any":
		g.Threshold = 1
	default:
		n, err := strconv.ParseUint(t, 10, 16)
		if err != nil || strconv.FormatUint(n, 10) != t || n < 1 || int(n) > len(g.Members) {
			return refuse(ruleThreshold, "group %q: threshold %.20q: want 1 to %d, any or all", g.Name, t, len(g.Members))
		}
		g.Threshold = int(n)
	}
	p.groups = append(p.groups, g)
	return nil
}

// onlyOnce refuses a member of two groups, as the specification does: it would count twice above
// them.
func (p *Policy) onlyOnce(member string) error {
	for _, g := range p.groups {
		if slices.Contains(g.Members, member) {
			return refuse(ruleMemberRepeated, "member %q is one of group %q already", member, g.Name)
		}
	}
	return nil
}

func (p *Policy) quorumLine(args []string) error {
	if len(args) != 1 {
		return refuse(ruleWords, "want quorum <name>")
	}
	if p.quorum != "" {
		return refuse(ruleSecondQuorum, "a second quorum line")
	}
	if args[0] != None && !p.Has(args[0]) {
		return refuse(ruleUndefined, "quorum %q: no earlier line defines it", args[0])
	}
	p.quorum = args[0]
	return nil
}

// Types of keys: signed-note and tlog-cosignature.
const (
	ed25519Note        = 0x01
	ed25519Cosignature = 0x04
	mldsa44            = 0x06
)

// maxSignedName is the length of the longest name that an ML-DSA-44 signature covers
// (tlog-cosignature, opaque<1..2^8-1>); the library would wrap the length of a longer one.
const maxSignedName = 255

// WitnessVerifier parses a witness's key: Ed25519 or ML-DSA-44 for cosignatures
// (https://c2sp.org/tlog-cosignature).
func WitnessVerifier(vkey string) (note.Verifier, error) {
	v, _, err := verifier("witness", vkey, ed25519Cosignature)
	return v, err
}

// verifier parses a key of one of two types and checks its id, which not all of the libraries do.
// It also returns the public key.
func verifier(role, vkey string, ed25519Type byte) (v note.Verifier, public []byte, err error) {
	name, rest, _ := strings.Cut(vkey, "+")
	id, encoded, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, nil, refuse(ruleKey, "%s key %.60q: want <name>+<id>+<base64>", role, vkey)
	}
	switch {
	case key[0] == mldsa44 && len(name) > maxSignedName:
		return nil, nil, refuse(ruleKey, "%s key %.60q: name of %d bytes: want at most %d", role, vkey, len(name), maxSignedName)
	case key[0] == mldsa44:
		v, err = fnote.NewMLDSAVerifier(vkey)
	case key[0] == ed25519Note && ed25519Type == ed25519Note:
		v, err = note.NewVerifier(vkey)
	case key[0] == ed25519Cosignature && ed25519Type == ed25519Cosignature:
		v, err = fnote.NewVerifierForCosignatureV1(vkey)
	default:
		return nil, nil, refuse(ruleKeyType, "%s key %.60q: type %#02x: want %#02x (Ed25519) or %#02x (ML-DSA-44)", role, vkey, key[0], ed25519Type, mldsa44)
	}
	if err != nil {
		return nil, nil, refuse(ruleKey, "%s key %.60q: %w", role, vkey, err)
	}
	if fmt.Sprintf("%08x", v.KeyHash()) != id {
		return nil, nil, refuse(ruleKey, "%s key %.60q: id %q: the key's is %08x", role, vkey, id, v.KeyHash())
	}
	return v, key[1:], nil
}

// Satisfied reports whether cosignatures of some witnesses, by name, meet a witness or group of the
// policy, or None. An unknown name is not met.
func (p *Policy) Satisfied(name string, witnesses ...string) bool {
	var by []Cosignature
	for _, w := range witnesses {
		by = append(by, Cosignature{Name: w})
	}
	return p.satisfied(name, by)
}

// Contains reports whether a witness or group is a member, over however many groups, of a name, or
// is of that name.
func (p *Policy) Contains(of, name string) bool {
	if of == name {
		return true
	}
	i := p.group(of)
	return i >= 0 && slices.ContainsFunc(p.groups[i].Members, func(m string) bool { return p.Contains(m, name) })
}

// A DoubleCount is a group whose threshold counts two keys of one witness as two witnesses.
type DoubleCount struct {
	Group     string
	Threshold int
	KeyName   string   // the name that the keys share
	Members   []string // those that this one witness meets by itself
}

// DoubleCounts returns the groups that count one witness twice: those with a threshold above one of
// which the keys of one name meet two members or more. The language allows them, and they seldom
// mean what they say: put the keys of one witness into a group of their own, of which any one is
// enough.
func (p *Policy) DoubleCounts() []DoubleCount {
	var found []DoubleCount
	for _, g := range p.groups {
		if g.Threshold < 2 {
			continue
		}
		asked := make(map[string]bool)
		for _, w := range p.witnesses {
			if asked[w.KeyName] {
				continue
			}
			asked[w.KeyName] = true
			if met := p.metBy(g.Members, w.KeyName); len(met) > 1 {
				found = append(found, DoubleCount{g.Name, g.Threshold, w.KeyName, met})
			}
		}
	}
	return found
}

// metBy returns the members that the keys of one name meet.
func (p *Policy) metBy(members []string, keyName string) (met []string) {
	var by []Cosignature
	for _, w := range p.witnesses {
		if w.KeyName == keyName {
			by = append(by, Cosignature{Name: w.Name})
		}
	}
	for _, m := range members {
		if p.satisfied(m, by) {
			met = append(met, m)
		}
	}
	return met
}

// SinglePointsOfFailure returns the witnesses without which no checkpoint meets the quorum: an
// outage of one stops a log that waits for it. A witness with several keys counts as one.
func (p *Policy) SinglePointsOfFailure() []string {
	var all []Cosignature
	for _, w := range p.witnesses {
		all = append(all, Cosignature{Name: w.Name, KeyName: w.KeyName})
	}
	var single []string
	for _, w := range p.witnesses {
		rest := slices.DeleteFunc(slices.Clone(all), func(c Cosignature) bool { return c.KeyName == w.KeyName })
		if !p.satisfied(p.quorum, rest) && !slices.Contains(single, w.KeyName) {
			single = append(single, w.KeyName)
		}
	}
	return single
}
