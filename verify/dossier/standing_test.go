package dossier_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// state logs a statement, whatever the log's policy would say of it, at a second.
func (b *book) state(v *poclog.StatementEnvelope, second int) uint64 {
	e := poclog.StatementEntry{Envelope: *v, Policy: poclog.BlobOf([]byte("policy")), Time: at(second)}
	for i := range v.Signatures {
		e.Signers = append(e.Signers, poclog.Digest{byte(i)})
	}
	return b.add(must(e.Marshal()))
}

// receipt is of a proof, with its first covering checkpoint.
func (b *book) receipt(number uint64) []byte {
	e := must(poclog.ParseEntry(b.log.Leaves[number]))
	second := int(e.Appraised.Sub(at(0)).Seconds())
	r := poclog.Receipt{Entry: b.log.Leaves[number], Index: number, Inclusion: b.log.Inclusion(number, number+1, b.log.Checkpoint(number+1, signed(second+10)...))}
	r.Challenge = b.log.Checkpoint(e.Fresh.Size, signed(second-30)...)
	return must(r.Marshal())
}

// A standingVector is a receipt, a dossier that is to clear it, and whom the reader believes.
type standingVector struct {
	Desc    string `json:"desc"`
	Receipt string `json:"receipt"`
	Dossier string `json:"dossier"`
	Policy  string `json:"policy"`
	Pins    string `json:"pins"` // a file of registrars
	Demands *struct {
		Place string `json:"place,omitempty"`
	} `json:"demands,omitempty"` // of the receipt. Left out: level 0. Given: level 2
	EndorsedBy []string        `json:"endorsed_by,omitempty"` // NAME@LEVEL
	Opening    string          `json:"opening,omitempty"`     // a file
	Time       time.Time       `json:"time"`
	Expect     string          `json:"expect"`   // "ok", or "refused: <step>"
	Subjects   json.RawMessage `json:"subjects"` // what the registrars say; null where the dossier is refused
}

func (v *standingVector) run(t *testing.T) (expect string, subjects []byte) {
	t.Helper()
	p := must(tlogpolicy.Parse([]byte(v.Policy)))
	demands := receipt.Demands{UnsafeLevel0: v.Demands == nil}
	if v.Demands != nil {
		demands.Place = v.Demands.Place
	}
	verdict, refused := receipt.Check([]byte(v.Receipt), p, v.Time, demands)
	d := dossier.Demands{Registrars: must(registry.New(must(poclog.ParsePins([]byte(v.Pins))).Registrars))}
	for _, by := range v.EndorsedBy {
		name, level, _ := strings.Cut(by, "@")
		d.EndorsedBy = append(d.EndorsedBy, dossier.Endorser{Name: name, Level: uint32(level[0] - '0')})
	}
	if v.Opening != "" {
		d.Openings = append(d.Openings, must(poclog.ParseOpening([]byte(v.Opening))))
	}
	a, err := dossier.Check([]byte(v.Dossier), p, v.Time, d)
	if err == nil {
		subjects = must(json.Marshal(a.Subjects))
		if err = refused; err == nil {
			err = a.Clears(verdict)
		}
	}
	if subjects == nil {
		subjects = []byte("null")
	}
	if err != nil {
		return "refused: " + string(stepOf(err)), subjects
	}
	return "ok", subjects
}

// A said is a statement in a story, by a registrar's first n members.
type said struct {
	by *endorser.Registrar
	s  poclog.Statement
	n  int
}

const longFrom, longUntil = 0, 400 * 86400

func endorsing(serial, level uint32) poclog.Statement {
	return poclog.Statement{Type: poclog.Endorse, Serial: serial, Level: level, Method: "visit", Label: "rack 7", From: at(longFrom), Until: at(longUntil),
		Place: &poclog.StatedPlace{Provider: "gce", Region: "us-east1"}}
}

func revoking(serial uint32, since int) poclog.Statement {
	return poclog.Statement{Type: poclog.Revoke, Serial: serial, Since: at(since), Reason: "machine-compromised"}
}

// A story is a log in which chip X proved at 1000 and at 3000: what was stated between, who reads
// it, and what comes of the proof at 3000 (or at 1000).
type story struct {
	desc     string
	said     []said
	pins     []*endorser.Registrar
	wants    []string
	first    bool     // the proof at 1000
	covers   []string // beside the machine's, and what is stated of them
	only     []string // covered, and nothing else
	signer   string   // of the machine's SEV-SNP reports; empty: its chip is chipX, of TDX
	subject  string   // of the statements; empty: the chip
	change   func(d *poclog.Dossier)
	opening  *poclog.Opening
	now      int
	second   int // at which the first statement is logged; 0: 1500
	expect   string
	moveFrom string // the zone of the first proof; empty: the same
	place    string // demanded of the receipt
	low      bool   // the proofs are of level 0, and level 2 is demanded
}

func stories() map[string]story {
	alliance, house, stranger := endorser.NewRegistrar("dossier", "alliance", 12), endorser.NewRegistrar("dossier", "house", 1), endorser.NewRegistrar("dossier", "stranger", 3)
	left := *alliance
	for i := range 5 {
		left.Leave()
		left.Join(fmt.Sprintf("new %d", i))
	}
	e, e2 := said{alliance, endorsing(1, 1), 8}, said{alliance, endorsing(1, 2), 8}
	frozen := said{alliance, poclog.Statement{Type: poclog.Freeze, Serial: 2}, 2}
	one, two := []*endorser.Registrar{alliance}, []*endorser.Registrar{alliance, house}
	x := func(level int) []string { return []string{fmt.Sprintf("alliance@%d", level)} }
	var fleet []registry.Machine
	for i := range 20 {
		fleet = append(fleet, registry.Machine{Identity: poclog.Identity("intel:tdx:ppid:" + poclog.Sum(fmt.Appendf(nil, "machine %d", i)).String()[:32]), Salt: poclog.Sum(fmt.Appendf(nil, "salt %d", i))})
	}
	without := must(registry.NewFleet(fleet))
	withAMD := must(registry.NewFleet(append(slices.Clone(fleet), registry.Machine{Identity: poclog.Identity(chipAMD), Salt: poclog.Sum([]byte("its own"))})))
	with := must(registry.NewFleet(append(slices.Clone(fleet), registry.Machine{Identity: poclog.Identity(chipX), Salt: poclog.Sum([]byte("its own"))})))
	commit := func(serial uint32, f *registry.Fleet, count uint32) said {
		return said{alliance, poclog.Statement{Type: poclog.Commit, Serial: serial, Root: f.Root(), Count: count, Level: 1, From: at(longFrom), Until: at(longUntil)}, 8}
	}
	opened, commitments := must(with.Open(poclog.Identity(chipX))), []string{index.RegistrarName("alliance")}
	elsewhere := e.s
	elsewhere.Origin = "other.test/2026"
	short := endorsing(2, 1)
	short.Until = at(2000)
	return map[string]story{
		"endorsed":           {desc: "eight of twelve endorse at level 1", said: []said{e}, pins: one, wants: x(1), expect: "ok"},
		"not-asked":          {desc: "a reader who pins and demands nothing more", said: []said{e}, pins: one, expect: "ok"},
		"silent":             {desc: "the registrar said nothing", pins: one, wants: x(1), expect: "refused: endorsed-by"},
		"level-too-low":      {desc: "endorsed at level 1, asked for 2", said: []said{e}, pins: one, wants: x(2), expect: "refused: endorsed-by"},
		"level-above":        {desc: "endorsed at level 2, asked for 1", said: []said{e2}, pins: one, wants: x(1), expect: "ok"},
		"not-pinned":         {desc: "a registrar of the log's that the reader never pinned", said: []said{{stranger, endorsing(1, 3), 2}}, pins: one, wants: []string{"stranger@1"}, expect: "refused: endorsed-by"},
		"not-pinned-revoked": {desc: "a registrar that the reader never pinned revokes its own", said: []said{e, {stranger, endorsing(1, 3), 2}, {stranger, revoking(2, 10), 2}}, pins: one, wants: x(1), expect: "ok"},
		"place-claimed":      {desc: "an endorsement says that the machine is elsewhere, and the reader demands that place", said: []said{e2}, pins: one, wants: x(2), place: "gce/us-east1", expect: "refused: place"},
		"level-claimed": {desc: "a proof of level 0, an endorsement at level 2, and a reader who demands a proof of level 2", said: []said{e2}, pins: one, wants: x(2), low: true,
			only: []string{index.Unproven + chipX, index.Unproven + akX, index.Unproven + vm, index.Statements + chipX, index.Statements + akX, index.Statements + vm}, expect: "refused: level"},
		"seven-sign":          {desc: "the log took a statement that too few signed", said: []said{{alliance, endorsing(1, 1), 7}}, pins: one, wants: x(1), expect: "refused: endorsed-by"},
		"members-left":        {desc: "five of the eight who signed left since, and the reader pins today's members", said: []said{e}, pins: []*endorser.Registrar{&left}, wants: x(1), expect: "refused: endorsed-by"},
		"another-log":         {desc: "a statement for another log", said: []said{{alliance, elsewhere, 8}}, pins: one, wants: x(1), expect: "refused: endorsed-by"},
		"revoked-after":       {desc: "the proof was made after the date of the revocation", said: []said{e, {alliance, revoking(2, 2000), 8}}, pins: one, wants: x(1), expect: "refused: standing"},
		"revoked-before":      {desc: "the proof was made before the date of the revocation", said: []said{e, {alliance, revoking(2, 2000), 8}}, pins: one, wants: x(1), first: true, expect: "ok"},
		"revoked-within-skew": {desc: "the proof's t2 is 60 seconds before that date", said: []said{e, {alliance, revoking(2, 1070), 8}}, pins: one, wants: x(1), first: true, expect: "refused: standing"},
		"revoked-past-skew":   {desc: "the proof's t2 is 61 seconds before that date", said: []said{e, {alliance, revoking(2, 1071), 8}}, pins: one, wants: x(1), first: true, expect: "ok"},
		"revoked-unasked":     {desc: "revoked, and the reader demands no endorsement", said: []said{e, {alliance, revoking(2, 2000), 8}}, pins: one, expect: "refused: standing"},
		"revoked-of-nobody":   {desc: "revoked by a registrar, and the reader pins none", said: []said{e, {alliance, revoking(2, 2000), 8}}, expect: "ok"},
		"revoked-longest": {desc: "the newest endorsement, which has ended, is revoked; an older one goes on", said: []said{e, {alliance, short, 8}, {alliance, func() poclog.Statement {
			r := revoking(3, 1500)
			of := poclog.Sum(must(alliance.State(withNames(short), 8).Statement.Marshal()))
			r.Of = &of
			return r
		}(), 8}}, pins: one, wants: x(1), expect: "refused: standing"},
		"old-endorsement-again": {desc: "the old endorsement is logged again after its revocation", said: []said{e, {alliance, revoking(2, 2000), 8}, e}, pins: one, wants: x(1), expect: "refused: standing"},
		"endorsed-anew":         {desc: "a new endorsement follows the revocation", said: []said{e, {alliance, revoking(2, 2000), 8}, {alliance, endorsing(3, 1), 8}}, pins: one, wants: x(1), expect: "ok"},
		"frozen":                {desc: "two members freeze", said: []said{e, frozen}, pins: one, wants: x(1), first: true, expect: "refused: standing"},
		"frozen-at-the-end":     {desc: "the log and its witness date a freeze to the last second of the year 9999", said: []said{{alliance, poclog.Statement{Type: poclog.Freeze, Serial: 1}, 2}}, pins: one, second: lastSecond, expect: "refused: standing"},
		"freeze-ended":          {desc: "after 14 days", said: []said{e, frozen}, pins: one, wants: x(1), now: 15 * 86400, expect: "ok"},
		"freeze-renewed": {desc: "two members freeze for ever: the log took it, no reader does", said: []said{e, frozen, {alliance, poclog.Statement{Type: poclog.Freeze, Serial: 3}, 2}}, pins: one, wants: x(1),
			now: 14*86400 + 1503, expect: "ok"},
		"thaw-again":         {desc: "an old thaw is logged again in a later freeze", said: []said{e, frozen, {alliance, poclog.Statement{Type: poclog.Thaw, Serial: 3}, 8}, {alliance, poclog.Statement{Type: poclog.Freeze, Serial: 4}, 2}, {alliance, poclog.Statement{Type: poclog.Thaw, Serial: 3}, 8}}, pins: one, wants: x(1), expect: "refused: standing"},
		"frozen-by-house":    {desc: "a freeze touches the statements of its registrar alone, and is an objection of a registrar that the reader pins", said: []said{e, {house, poclog.Statement{Type: poclog.Freeze, Serial: 1}, 1}}, pins: two, wants: x(1), expect: "refused: standing"},
		"disagree":           {desc: "the house revoked, the alliance endorses, and the reader believes both", said: []said{e, {house, endorsing(1, 1), 1}, {house, revoking(2, 2000), 1}}, pins: two, wants: x(1), expect: "refused: standing"},
		"disagree-one":       {desc: "the same, and the reader believes the alliance alone", said: []said{e, {house, endorsing(1, 1), 1}, {house, revoking(2, 2000), 1}}, pins: one, wants: x(1), expect: "ok"},
		"revocation-cut-off": {desc: "the number of the revocation is cut off", said: []said{e, {alliance, revoking(2, 2000), 8}}, pins: one, wants: x(1), change: cutLast, expect: "refused: numbers"},
		"first-cut-off":      {desc: "the list of statements does not begin with the first", said: []said{e, {alliance, revoking(2, 2000), 8}}, pins: one, wants: x(1), change: cutFirst, expect: "refused: numbers"},
		"not-covered":        {desc: "the dossier says nothing of statements", said: []said{e}, pins: one, wants: x(1), only: []string{chipX, akX, vm}, expect: "refused: standing"},
		"not-covered-key":    {desc: "the dossier says what is stated of the chip and the VM, and not of the attestation key", said: []said{e}, pins: one, wants: x(1), only: []string{chipX, akX, vm, index.Statements + chipX, index.Statements + vm}, expect: "refused: standing"},
		"another-vouches":    {desc: "the house endorses, and the reader asks for the alliance", said: []said{{house, endorsing(1, 3), 1}}, pins: two, wants: x(1), expect: "refused: endorsed-by"},
		"vcek":               {desc: "the endorsed chip signed its report with its own key", said: []said{e}, pins: one, wants: x(1), signer: "vcek", expect: "ok"},
		"vlek":               {desc: "under a cloud's key, whoever has it, the firmware says that it is the endorsed chip", said: []said{e}, pins: one, wants: x(1), signer: "vlek", expect: "refused: endorsed-by"},
		"vlek-key":           {desc: "under a cloud's key, and what is endorsed is the attestation key", said: []said{e}, pins: one, wants: x(1), signer: "vlek", subject: akX, expect: "ok"},
		"vlek-opened":        {desc: "under a cloud's key the firmware says that it is a chip of a private fleet", said: []said{commit(1, withAMD, 21)}, pins: one, wants: x(1), covers: commitments, opening: must(withAMD.Open(poclog.Identity(chipAMD))), signer: "vlek", expect: "refused: endorsed-by"},
		"vcek-opened":        {desc: "the chip of a private fleet signed its report with its own key", said: []said{commit(1, withAMD, 21)}, pins: one, wants: x(1), covers: commitments, opening: must(withAMD.Open(poclog.Identity(chipAMD))), signer: "vcek", expect: "ok"},
		"opened-another":     {desc: "another machine of the fleet is opened", said: []said{commit(1, with, 21)}, pins: one, wants: x(1), covers: commitments, opening: must(with.Open(fleet[3].Identity)), expect: "refused: endorsed-by"},
		"opened":             {desc: "an opened machine of a private fleet", said: []said{commit(1, with, 21)}, pins: one, wants: x(1), covers: commitments, opening: opened, expect: "ok"},
		"opened-level":       {desc: "an opened machine of a fleet at level 1, asked for 2", said: []said{commit(1, with, 21)}, pins: one, wants: x(2), covers: commitments, opening: opened, expect: "refused: endorsed-by"},
		"opened-not-covered": {desc: "an opening, and the dossier does not cover the registrar", said: []said{commit(1, with, 21)}, pins: one, wants: x(1), opening: opened, expect: "refused: endorsed-by"},
		"opened-other":       {desc: "an opening for another commitment", said: []said{commit(1, without, 20)}, pins: one, wants: x(1), covers: commitments, opening: opened, expect: "refused: endorsed-by"},
		"opened-replaced":    {desc: "the commitment was replaced by one without the machine", said: []said{commit(1, with, 21), commit(2, without, 20)}, pins: one, wants: x(1), covers: commitments, opening: opened, expect: "refused: endorsed-by"},
		"opened-frozen":      {desc: "an opened machine that two members froze", said: []said{commit(1, with, 21), {alliance, poclog.Statement{Type: poclog.Freeze, Serial: 1}, 2}}, pins: one, wants: x(1), covers: commitments, opening: opened, expect: "refused: standing"},
		"moved":              {desc: "a move is announced before its window, and made in it", said: []said{e, move(2, 1600, 3100)}, pins: one, wants: x(1), moveFrom: "us-central1-b", now: 200000, expect: "refused: dossier"},
		"moved-within":       {desc: "a move is announced within its window", said: []said{e, move(2, 1450, 3100)}, pins: one, wants: x(1), moveFrom: "us-central1-b", now: 200000, expect: "refused: dossier"},
		"moved-early":        {desc: "the machine is elsewhere before the window", said: []said{e, move(2, 2990, 3100)}, pins: one, wants: x(1), moveFrom: "us-central1-b", now: 200000, expect: "refused: dossier"},
		"moved-late":         {desc: "the machine is elsewhere after the window", said: []said{e, move(2, 1600, 2900)}, pins: one, wants: x(1), moveFrom: "us-central1-b", now: 200000, expect: "refused: dossier"},
	}
}

func move(serial uint32, from, until int) said {
	return said{endorser.NewRegistrar("dossier", "alliance", 12), poclog.Statement{
		Type: poclog.Move, Serial: serial, Source: &poclog.StatedPlace{Provider: "gce", Region: "us-central1", Zone: "us-central1-b"},
		Target: &poclog.StatedPlace{Provider: "gce", Region: "us-central1", Zone: "us-central1-a"}, From: at(from), Until: at(until),
	}, 8}
}

func withNames(s poclog.Statement) poclog.Statement {
	s.Origin, s.Subject = origin, poclog.Identity(chipX)
	return s
}

func listOf(d *poclog.Dossier) *poclog.DossierName {
	return &d.Names[slices.IndexFunc(d.Names, func(n poclog.DossierName) bool { return n.Name == index.Statements+chipX })]
}

func drop(d *poclog.Dossier, number uint64) {
	for i := range d.Pages {
		p := &d.Pages[i]
		p.Entries = slices.DeleteFunc(p.Entries, func(e poclog.DossierEntry) bool { return e.Number == number })
	}
	d.Pages = slices.DeleteFunc(d.Pages, func(p poclog.DossierPage) bool { return len(p.Entries) == 0 })
}

func cutLast(d *poclog.Dossier) {
	n := listOf(d)
	drop(d, n.Numbers[len(n.Numbers)-1])
	n.Numbers = n.Numbers[:len(n.Numbers)-1]
}

// cutFirst leaves out the first as a dossier since a time could: the chain's value stands for it.
func cutFirst(d *poclog.Dossier) {
	n := listOf(d)
	before := poclog.Digest(index.Value{}.Next(n.Numbers[0]))
	drop(d, n.Numbers[0])
	n.Before, n.Numbers = &before, n.Numbers[1:]
}

func (s *story) vector(t *testing.T) standingVector {
	b := newBook()
	b.config()
	chip, change := chipX, func(*poclog.Entry) {}
	if s.signer != "" {
		chip = chipAMD
		change = func(e *poclog.Entry) {
			e.Profile, e.CVM = poclog.AzureSNPvTPM, poclog.CVM{Technology: "snp", Measurement: e.CVM.Measurement, EndorsedBy: "policy", SNP: &poclog.SNPReport{Product: "Genoa", Signer: s.signer}}
		}
	}
	if s.low {
		change = func(e *poclog.Entry) { e.Level = poclog.LevelChip }
	}
	b.proof(chip, akX, "us-central1-a", 1000, func(e *poclog.Entry) {
		if change(e); s.moveFrom != "" {
			e.Place.Zone.Value = s.moveFrom
		}
	})
	for i, x := range s.said {
		st := x.s
		if st.Origin == "" {
			st.Origin = origin
		}
		if st.Type != poclog.Commit {
			st.Subject = poclog.Identity(cmp.Or(s.subject, chip))
		}
		b.state(x.by.State(st, x.n), cmp.Or(s.second, 1500)+i)
	}
	number := b.proof(chip, akX, "us-central1-a", 3000, change)
	names := s.only
	if names == nil {
		names = append([]string{chip, akX, vm, index.Statements + chip, index.Statements + akX, index.Statements + vm}, s.covers...)
	}
	d := b.bind(3100, order{names: names, intervals: true, paged: 1})
	if s.change != nil {
		s.change(d)
	}
	if s.first {
		number = 1
	}
	pins := &poclog.Pins{V: 1}
	for _, r := range s.pins {
		pins.Registrars = append(pins.Registrars, r.Policy())
	}
	v := standingVector{
		Desc: s.desc, Receipt: string(b.receipt(number)), Dossier: string(must(d.Marshal())), Policy: policyText, Pins: string(must(pins.Marshal())),
		EndorsedBy: s.wants, Time: at(max(s.now, 4000)), Expect: s.expect,
	}
	if s.place != "" || s.low {
		v.Demands = &struct {
			Place string `json:"place,omitempty"`
		}{s.place}
	}
	if s.opening != nil {
		v.Opening = string(must(s.opening.Marshal()))
	}
	var got string
	if got, v.Subjects = v.run(t); got != s.expect {
		t.Errorf("%s: %s, want %s", s.desc, got, s.expect)
	}
	return v
}

const standingDir = "../../testdata/standing"

// TestStandingVectors: what a reader makes of statements, offline, by a dossier.
func TestStandingVectors(t *testing.T) {
	if vectors.Updating() {
		all := make(map[string]standingVector)
		for name, s := range stories() {
			all[name] = s.vector(t)
		}
		vectors.Write(t, standingDir, all)
	}
	vectors.Each(t, standingDir, func(t *testing.T, v standingVector) {
		expect, subjects := v.run(t)
		if expect != v.Expect || string(subjects) != compact(t, v.Subjects) {
			t.Errorf("%s: %s, want %s; %s, want %s", v.Desc, expect, v.Expect, subjects, v.Subjects)
		}
	})
}

func compact(t *testing.T, b json.RawMessage) string {
	t.Helper()
	var buf bytes.Buffer
	if err := json.Compact(&buf, b); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// TestAnAnnouncedMoveExplainsAndChangesNothing: only one that was logged before its window.
func TestAnAnnouncedMoveExplainsAndChangesNothing(t *testing.T) {
	for name, s := range stories() {
		if s.moveFrom == "" {
			continue
		}
		v := s.vector(t)
		d := dossier.Demands{Registrars: must(registry.New(must(poclog.ParsePins([]byte(v.Pins))).Registrars))}
		a := must(dossier.Check([]byte(v.Dossier), policy(t), v.Time, d))
		if f := a.Gravest(); f == nil || f.Rule != "chip-in-two-places" {
			t.Errorf("%s: finding %+v", name, f)
		}
		i := slices.IndexFunc(a.Subjects, func(s dossier.Subject) bool { return s.Identity == poclog.Identity(chipX) })
		if got := a.Subjects[i].Moves; (len(got) == 1) != (name == "moved") {
			t.Errorf("%s: explained by %+v", name, got)
		}
	}
}

// A sighting is a proof of a chip in a zone.
type sighting struct {
	chip, zone string
	second     int
	unknown    bool // the dossier does not show when it was made
}

// TestOnlyAMoveThatEveryProofFitsIsExplained: attacks that whitewash a clone as a move that the
// alliance announced (a to b, from 1600 to 3100), and what an honest machine may do beside it.
func TestOnlyAMoveThatEveryProofFitsIsExplained(t *testing.T) {
	const a, b, c = "us-central1-a", "us-central1-b", "us-central1-c"
	in := func(region, zone string) *poclog.StatedPlace {
		return &poclog.StatedPlace{Provider: "gce", Region: region, Zone: zone}
	}
	honest := []sighting{{chipX, b, 1000, false}, {chipX, a, 3000, false}}
	for _, x := range []struct {
		name           string
		source, target *poclog.StatedPlace // nil: zone b to zone a
		seen           []sighting
		explained      bool
	}{
		{"as announced", nil, nil, honest, true},
		{"to a region's zone, from somewhere of the provider's", in("", ""), nil, honest, true},
		{"from a zone to somewhere of a region's", nil, in("us-central1", ""), []sighting{{chipX, b, 1000, false}, {chipX, a, 3000, false}}, false},
		{"from another provider's zone of that name", &poclog.StatedPlace{Provider: "azure", Region: "us-central1", Zone: b}, nil, honest, false},
		{"from another region's zone of that name", in("us-east1", b), nil, honest, false},
		{"from another zone", in("us-central1", c), nil, honest, false},
		{"it was never where it is said to have left", nil, nil, []sighting{{chipX, c, 1000, false}, {chipX, a, 3000, false}}, false},
		{"it never came", nil, nil, []sighting{{chipX, b, 1000, false}, {chipX, c, 3000, false}}, false},
		{"another chip stays there", nil, nil, append([]sighting{{chipY, b, 2500, false}}, honest...), true},
		{"it is there still", nil, nil, append([]sighting{{chipX, b, 2500, false}}, honest...), false},
		{"it came before the window, as a proof shows that is logged later", nil, nil, []sighting{{chipX, b, 1000, false}, {chipX, a, 3000, false}, {chipX, a, 1590, false}}, false},
		{"when it came first is unknown", nil, nil, []sighting{{chipX, b, 1000, false}, {chipX, a, 2900, true}, {chipX, a, 3000, false}}, false},
		{"when it came later is unknown", nil, nil, []sighting{{chipX, b, 1000, false}, {chipX, a, 2900, false}, {chipX, a, 3000, true}}, false},
		{"until when it was there is unknown", nil, nil, []sighting{{chipX, b, 900, true}, {chipX, b, 1000, false}, {chipX, a, 3000, false}}, false},
		{"until when it was there at last is unknown", nil, nil, []sighting{{chipX, b, 900, false}, {chipX, b, 1000, true}, {chipX, a, 3000, false}}, false},
	} {
		log := newBook()
		log.config()
		alliance := endorser.NewRegistrar("dossier", "alliance", 12)
		log.state(alliance.State(withNames(endorsing(1, 1)), 8), 1500)
		m := move(2, 1600, 3100).s
		if x.source != nil {
			m.Source = x.source
		}
		if x.target != nil {
			m.Target = x.target
		}
		log.state(alliance.State(withNames(m), 8), 1501)
		unknown := make(map[uint64]bool)
		for _, p := range x.seen {
			unknown[log.proof(p.chip, akX, p.zone, p.second, nil)] = p.unknown
		}
		d := log.bind(3200, order{names: []string{chipX, chipY, akX, vm, index.Statements + chipX}, intervals: true, paged: 20})
		for i := range d.Pages[0].Entries {
			if e := &d.Pages[0].Entries[i]; unknown[e.Number] {
				e.Challenge, e.First = 0, 0
			}
		}
		answer, err := dossier.Check(must(d.Marshal()), policy(t), at(200000), dossier.Demands{Registrars: must(registry.New([]poclog.Registrar{alliance.Policy()}))})
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		got := answer.Subjects[0].Moves
		if len(got) == 1 != x.explained {
			t.Errorf("%s: explained by %+v", x.name, got)
		}
	}
}

// TestWhoPinsNobodyCannotDemandAnEndorsement: without registrars nobody is asked, and what would
// have to be asked is refused.
func TestWhoPinsNobodyCannotDemandAnEndorsement(t *testing.T) {
	s := stories()["endorsed"]
	v := s.vector(t)
	verdict := must(receipt.Open([]byte(v.Receipt), policy(t)))
	for _, c := range []struct {
		demands dossier.Demands
		expect  verify.Check
	}{
		{dossier.Demands{}, ""},
		{dossier.Demands{EndorsedBy: []dossier.Endorser{{Name: "alliance", Level: 1}}}, dossier.StepEndorsedBy},
	} {
		a := must(dossier.Check([]byte(v.Dossier), policy(t), v.Time, c.demands))
		if err := a.Clears(verdict); stepOf(err) != c.expect {
			t.Errorf("%+v: %v, want %q", c.demands, err, c.expect)
		}
	}
}

// TestAnOpeningNeedsTheCommitments: who asks is told what the dossier has to cover.
func TestAnOpeningNeedsTheCommitments(t *testing.T) {
	for name, want := range map[string]string{"opened-not-covered": "needs a dossier that covers " + index.RegistrarName("alliance"), "opened-other": "opening of " + chipX} {
		s := stories()[name]
		v := s.vector(t)
		d := dossier.Demands{
			Registrars: must(registry.New(must(poclog.ParsePins([]byte(v.Pins))).Registrars)), EndorsedBy: []dossier.Endorser{{Name: "alliance", Level: 1}},
			Openings: []*poclog.Opening{must(poclog.ParseOpening([]byte(v.Opening)))},
		}
		a := must(dossier.Check([]byte(v.Dossier), policy(t), v.Time, d))
		if err := a.Clears(must(receipt.Open([]byte(v.Receipt), policy(t)))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// BenchmarkStatements checks a dossier with 500 statements of an alliance, eight of whose members
// signed each, and holds a receipt to it. signatures/op is how many are verified.
func BenchmarkStatements(b *testing.B) {
	const n = 500
	a := endorser.NewRegistrar("dossier", "alliance", 12)
	log := newBook()
	log.config()
	for i := range uint32(n) {
		s := withNames(endorsing(i+1, 1))
		log.state(a.State(s, 8), 1500)
	}
	number := log.proof(chipX, akX, "us-central1-a", 3000, nil)
	d := log.bind(3100, order{names: []string{chipX, akX, vm, index.Statements + chipX, index.Statements + akX, index.Statements + vm}, paged: 1000})
	file, p := must(d.Marshal()), must(tlogpolicy.Parse([]byte(policyText)))
	v := must(receipt.Open(log.receipt(number), p))
	demands := dossier.Demands{Registrars: must(registry.New([]poclog.Registrar{a.Policy()})), EndorsedBy: []dossier.Endorser{{Name: "alliance", Level: 1}}}
	for b.Loop() {
		answer, err := dossier.Check(file, p, at(4000), demands)
		if err == nil {
			err = answer.Clears(v)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(file)), "bytes")
	b.ReportMetric(8*n, "signatures/op")
}
