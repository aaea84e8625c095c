package poclog

import (
	"fmt"
	"strings"
	"time"

	"github.com/poclog/poclog/internal/canon"
)

// StatementPayloadType is the payload type of envelopes over statements.
const StatementPayloadType = "application/vnd.poclog.statement+json"

// Limits of statements.
const (
	MaxStatement = 4 << 10 // a statement's file, in bytes
	MaxDocuments = 8       // of a statement
	MaxDocument  = 1 << 20 // a document that the log keeps, in bytes

	maxOrigin    = 255
	maxStatedURL = 512
	maxMediaType = 80
	maxPlacePart = 64
	maxOpening   = 8 << 10
)

// A StatementType says what a statement does.
type StatementType string

// The types of statements.
const (
	Endorse StatementType = "endorse" // the registrar vouches for the subject
	Revoke  StatementType = "revoke"  // it takes back one of its endorsements of the subject, or all
	Move    StatementType = "move"    // it announces that the subject moves
	Freeze  StatementType = "freeze"  // it investigates: its endorsements of the subject do not count for 14 days
	Thaw    StatementType = "thaw"    // it ends a freeze
	Commit  StatementType = "commit"  // it vouches for a private fleet by the root of a Merkle tree
)

var (
	statementTypes = []StatementType{Endorse, Revoke, Move, Freeze, Thaw, Commit}
	subjectKinds   = []string{IntelPPID, IntelPIID, AMDChipID, TPMEK, TPMAK, GCEInstance, AzureVM}
	reasonList     = []string{"key-compromise", "machine-compromised", "machine-retired", "machine-sold", "mistake", "superseded", "unspecified"}
)

// Reasons returns the reasons that a revocation can give.
func Reasons() []string { return append([]string(nil), reasonList...) }

// A Statement is what a registrar signs about an identity, docs/format.md §18. Its file is the
// payload of a DSSE envelope. Labels, methods, places and texts are the registrar's words: nothing
// here proves them.
type Statement struct {
	Type      StatementType
	Origin    string   // of the one log that it is for
	Registrar string   // its name, as policies list it
	Subject   Identity // what it is about; empty for Commit alone
	Serial    uint32   // above the registrar's last on that subject in that log; ≥ 1

	Level  uint32 // Endorse, Commit: 1 human-assisted, 2 automated, 3 continuous
	Method string // Endorse: how it was established
	Label  string // Endorse: the registrar's name of the machine
	Place  *StatedPlace
	From   time.Time // Endorse, Commit: valid from; Move: the window's begin
	Until  time.Time // and until, later than From

	Of     *Digest   // Revoke: of the endorsement's file; nil is all of the registrar's on the subject
	Since  time.Time // Revoke: proofs that were not certainly made before it do not count
	Reason string    // Revoke: one of Reasons
	Text   string    // Revoke, Freeze, Thaw: for people; may be empty

	Source, Target *StatedPlace // Move: from where, to where

	Root  Digest // Commit: of the tree of the fleet's leaves
	Count uint32 // Commit: how many machines; ≥ 1

	Documents []Document // Endorse, Revoke: what it rests on, ascending by digest
}

// A StatedPlace is where a registrar says that a machine stands. Each part is 1 to 64 of a–z, 0–9
// and "-"; region and zone may be empty.
type StatedPlace struct{ Provider, Region, Zone string }

// String is provider/region/zone, as far as they are stated.
func (p StatedPlace) String() string {
	return strings.TrimRight(p.Provider+"/"+p.Region+"/"+p.Zone, "/")
}

// A Document is a file that a statement rests on. It is never interpreted.
type Document struct {
	SHA256 Digest
	Size   uint32 // bytes; at most MaxDocument where the log keeps it
	Type   string // media type
	URL    string // where it is; empty: the log keeps it
}

// Marshal returns the statement's file. It fails if a member is out of its range.
func (s *Statement) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxStatement, s.code)
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	return file, nil
}

// ParseStatement parses a statement's file. Who signed it, and whether it may follow the
// registrar's others, is verify/vouch/registry's to say.
func ParseStatement(file []byte) (*Statement, error) {
	if len(file) > MaxStatement {
		return nil, fmt.Errorf("statement of %d bytes: want at most %d", len(file), MaxStatement)
	}
	s := new(Statement)
	if err := canon.Read(file, s.code); err != nil {
		return nil, fmt.Errorf("parse statement: %w", err)
	}
	return s, nil
}

func (s *Statement) code(c *canon.Codec) {
	c.Lit(`{"v":1`)
	canon.OneOf(c.Member("type"), "type", &s.Type, statementTypes)
	canon.Word(c.Member("origin"), "origin", &s.Origin, maxOrigin)
	canon.Word(c.Member("registrar"), "registrar", &s.Registrar, maxName)
	if s.Type != Commit {
		codeSubject(c.Member("subject"), &s.Subject)
	} else {
		c.Check(s.Subject == "", "a commitment with subject %.80q: want none", s.Subject)
	}
	c.Member("serial").Uint32(&s.Serial)
	c.Check(s.Serial > 0, "serial 0: want at least 1")
	switch s.Type {
	case Endorse:
		s.codeEndorse(c)
	case Revoke:
		s.codeRevoke(c)
	case Move:
		s.Source.member(c, "source", &s.Source)
		s.Target.member(c, "target", &s.Target)
		s.codeSpan(c)
	case Freeze, Thaw:
		s.codeText(c)
	case Commit:
		c.Member("root").Hex(s.Root[:])
		c.Member("count").Uint32(&s.Count)
		c.Check(s.Count > 0, "count 0: want at least 1")
		s.codeLevel(c)
		s.codeSpan(c)
	}
	c.Lit("}")
}

// codeSubject says how an identity is written, for people write it by hand.
func codeSubject(c *canon.Codec, id *Identity) {
	canon.Str(c, id, maxIdentity)
	if err := CheckSubject(string(*id)); err != nil {
		c.Failf("subject: %w", err)
	}
}

// CheckSubject refuses what a statement cannot be about, and says the right form where it is known.
func CheckSubject(text string) error {
	if text != strings.ToLower(text) {
		return fmt.Errorf("%.170q has capitals: want %.170q", text, strings.ToLower(text))
	}
	switch {
	case len(text) == 32 && isLowerHex(text):
		return fmt.Errorf("%q has no kind: want %s:%s", text, IntelPPID, text)
	case len(text) == 128 && isLowerHex(text):
		return fmt.Errorf("%q has no kind: want %s:%s", text, AMDChipID, text)
	}
	id, err := ParseIdentity(text)
	if err != nil {
		return err
	}
	for _, k := range subjectKinds {
		if id.Kind() == k {
			return nil
		}
	}
	return fmt.Errorf("%s: want an identity of kind %s", id, strings.Join(subjectKinds, ", "))
}

func (s *Statement) codeEndorse(c *canon.Codec) {
	s.codeLevel(c)
	canon.Word(c.Member("method"), "method", &s.Method, maxName)
	canon.Word(c.Member("label"), "label", &s.Label, maxSays)
	if c.Optional("place", s.Place != nil) {
		s.Place.value(c, &s.Place)
	}
	s.codeSpan(c)
	s.codeDocuments(c)
}

func (s *Statement) codeRevoke(c *canon.Codec) {
	canon.OptionalOf(c, "of", &s.Of, func(d *Digest) { c.Hex(d[:]) })
	c.Member("since").Time(&s.Since)
	canon.OneOf(c.Member("reason"), "reason", &s.Reason, reasonList)
	s.codeText(c)
	s.codeDocuments(c)
}

func (s *Statement) codeText(c *canon.Codec) {
	if c.Optional("text", s.Text != "") {
		canon.Word(c, "text", &s.Text, maxSays)
	}
}

func (s *Statement) codeLevel(c *canon.Codec) {
	c.Member("level").Uint32(&s.Level)
	c.Check(s.Level >= 1 && s.Level <= 3, "level %d: want 1, 2 or 3", s.Level)
}

func (s *Statement) codeSpan(c *canon.Codec) {
	c.Member("from").Time(&s.From)
	c.Member("until").Time(&s.Until)
	c.Check(s.Until.After(s.From), "until %s is not after from %s", s.Until.UTC().Format(time.RFC3339), s.From.UTC().Format(time.RFC3339))
}

func (s *Statement) codeDocuments(c *canon.Codec) {
	canon.OptionalList(c, "documents", &s.Documents, MaxDocuments, func(d *Document) { d.code(c) })
	canon.Ascending(c, "documents", s.Documents, func(a, b Document) bool { return a.SHA256.String() < b.SHA256.String() })
}

func (d *Document) code(c *canon.Codec) {
	c.Object(func() {
		c.Member("sha256").Hex(d.SHA256[:])
		c.Member("size").Uint32(&d.Size)
		canon.Word(c.Member("type"), "type", &d.Type, maxMediaType)
		if c.Optional("url", d.URL != "") {
			canon.Word(c, "url", &d.URL, maxStatedURL)
			c.Check(strings.HasPrefix(d.URL, "https://"), "url %.80q: want one of https", d.URL)
		}
	})
	c.Check(d.Size > 0 && (d.URL != "" || d.Size <= MaxDocument), "document of %d bytes: want 1 to %d, or a url", d.Size, MaxDocument)
}

func (*StatedPlace) member(c *canon.Codec, name string, p **StatedPlace) {
	c.Check(c.Reading() || *p != nil, "no %s", name)
	(*p).value(c.Member(name), p)
}

func (*StatedPlace) value(c *canon.Codec, p **StatedPlace) {
	if c.Err() != nil {
		return
	}
	if c.Reading() {
		*p = new(StatedPlace)
	}
	x := *p
	c.Object(func() {
		codePlacePart(c.Member("provider"), "provider", &x.Provider)
		if c.Optional("region", x.Region != "") {
			codePlacePart(c, "region", &x.Region)
		}
		if c.Optional("zone", x.Zone != "") {
			codePlacePart(c, "zone", &x.Zone)
		}
	})
	c.Check(x.Zone == "" || x.Region != "", "a place with a zone and no region")
}

func codePlacePart(c *canon.Codec, what string, s *string) {
	canon.Word(c, what, s, maxPlacePart)
	c.Check(strings.Trim(*s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "", "%s %.80q: want 1 to %d of a-z, 0-9 and -", what, *s, maxPlacePart)
}

// An Opening shows that a machine is one of a fleet that a registrar committed to
// (`*.opening.json`, docs/format.md §18). Whoever has the file can pass it on.
type Opening struct {
	Root     Digest   // of the commitment
	Salt     Digest   // 32 random octets, this machine's own
	Identity Identity // of the machine
	Number   uint32   // of its leaf, from 0
	Hashes   [][32]byte
}

// Marshal returns the opening's file.
func (o *Opening) Marshal() ([]byte, error) {
	file, err := canon.Write(maxOpening, o.code)
	if err != nil {
		return nil, fmt.Errorf("encode opening: %w", err)
	}
	return file, nil
}

// ParseOpening parses an opening's file.
func ParseOpening(file []byte) (*Opening, error) {
	if len(file) > maxOpening {
		return nil, fmt.Errorf("opening of %d bytes: want at most %d", len(file), maxOpening)
	}
	o := new(Opening)
	if err := canon.Read(file, o.code); err != nil {
		return nil, fmt.Errorf("parse opening: %w", err)
	}
	return o, nil
}

func (o *Opening) code(c *canon.Codec) {
	c.Lit(`{"v":1`)
	c.Member("root").Hex(o.Root[:])
	c.Member("salt").Hex(o.Salt[:])
	codeSubject(c.Member("identity"), &o.Identity)
	c.Member("number").Uint32(&o.Number)
	canon.OptionalList(c, "hashes", &o.Hashes, 32, func(h *[32]byte) { c.Hex(h[:]) })
	c.Lit("}")
}

// A StatementEnvelope is a DSSE envelope over a statement, in the form of [Envelope].
type StatementEnvelope struct {
	Statement  Statement
	Signatures []Signature
}

// MaxStatementEnvelope is the largest envelope over a statement, in bytes.
const MaxStatementEnvelope = (MaxStatement+2)/3*4 + 6<<10

// Marshal returns the envelope's file.
func (v *StatementEnvelope) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxStatementEnvelope, v.code)
	if err != nil {
		return nil, fmt.Errorf("encode statement's envelope: %w", err)
	}
	return file, nil
}

// ParseStatementEnvelope parses an envelope over a statement. It verifies no signature.
func ParseStatementEnvelope(file []byte) (*StatementEnvelope, error) {
	if len(file) > MaxStatementEnvelope {
		return nil, fmt.Errorf("statement's envelope of %d bytes: want at most %d", len(file), MaxStatementEnvelope)
	}
	v := new(StatementEnvelope)
	if err := canon.Read(file, v.code); err != nil {
		return nil, fmt.Errorf("parse statement's envelope: %w", err)
	}
	return v, nil
}

func (v *StatementEnvelope) code(c *canon.Codec) {
	var payload []byte
	if !c.Reading() {
		var err error
		if payload, err = v.Statement.Marshal(); err != nil {
			c.Failf("%w", err)
			return
		}
	}
	kind := StatementPayloadType
	c.Object(func() {
		canon.OneOf(c.Member("payloadType"), "payloadType", &kind, []string{StatementPayloadType})
		c.Member("payload").PaddedBase64(&payload, MaxStatement)
		codeSignatures(c, &v.Signatures)
	})
	if !c.Reading() || c.Err() != nil {
		return
	}
	s, err := ParseStatement(payload)
	if err != nil {
		c.Failf("%w", err)
		return
	}
	v.Statement = *s
}
