package registry_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/dsse"
	"github.com/poclog/poclog/verify/vouch/registry"
)

const (
	origin = "log.test/2026"
	dir    = "../../../testdata/statements"
)

var (
	chip = poclog.Identity("intel:tdx:ppid:" + strings.Repeat("1a", 16))
	day  = func(n int) time.Time { return time.Unix(1_800_000_000+int64(n)*86400, 0).UTC() }
	// beforeEnd is a time before the last that a file can have.
	beforeEnd = func(seconds int) time.Time { return time.Unix(253_402_300_799-int64(seconds), 0).UTC() }
	here      = &poclog.StatedPlace{Provider: "acme", Region: "eu", Zone: "eu-1"}
	there     = &poclog.StatedPlace{Provider: "acme", Region: "us", Zone: "us-1"}
	twelve    = registrar("alliance", 0, 12)
)

func member(i int) ed25519.PrivateKey {
	sum := poclog.Sum(fmt.Appendf(nil, "member %d", i))
	return ed25519.NewKeyFromSeed(sum[:])
}

func public(i int) *poclog.PublisherKey {
	k, err := poclog.NewPublisherKey(member(i).Public())
	if err != nil {
		panic(err) // of a kind that is taken
	}
	return k
}

// registrar has the members from a number on. Two thirds sign; two may freeze.
func registrar(name string, first, n int) poclog.Registrar {
	r := poclog.Registrar{Name: name, Thresholds: poclog.Thresholds{Endorse: n * 2 / 3, Revoke: n * 2 / 3, Move: n * 2 / 3, Freeze: 2, Commit: n * 2 / 3}}
	for i := range n {
		r.Keys = append(r.Keys, public(first+i).String())
	}
	slices.Sort(r.Keys)
	return r
}

// seal signs a statement by members.
func seal(s poclog.Statement, members ...int) *poclog.StatementEnvelope {
	if s.Origin == "" {
		s.Origin = origin
	}
	if s.Registrar == "" {
		s.Registrar = "alliance"
	}
	if s.Subject == "" && s.Type != poclog.Commit {
		s.Subject = chip
	}
	file, err := s.Marshal()
	if err != nil {
		panic(err) // the tests' statements are well-formed
	}
	v := &poclog.StatementEnvelope{Statement: s}
	for _, m := range members {
		id, err := dsse.KeyID(public(m))
		if err != nil {
			panic(err)
		}
		v.Signatures = append(v.Signatures, poclog.Signature{KeyID: id, Sig: ed25519.Sign(member(m), registry.Message(file))})
	}
	return v
}

var eight = []int{0, 1, 2, 3, 4, 5, 6, 7}

func endorse(serial uint32) poclog.Statement {
	return poclog.Statement{Type: poclog.Endorse, Serial: serial, Level: 1, Method: "visit", Label: "rack 7", Place: here, From: day(0), Until: day(365)}
}

func revoke(serial uint32, since int) poclog.Statement {
	return poclog.Statement{Type: poclog.Revoke, Serial: serial, Since: day(since), Reason: "machine-compromised"}
}

func freeze(serial uint32) poclog.Statement {
	return poclog.Statement{Type: poclog.Freeze, Serial: serial}
}

func thaw(serial uint32) poclog.Statement {
	return poclog.Statement{Type: poclog.Thaw, Serial: serial}
}

func move(serial uint32, from, until int) poclog.Statement {
	return poclog.Statement{Type: poclog.Move, Serial: serial, Source: here, Target: there, From: day(from), Until: day(until)}
}

// A vector is what a log holds of a subject, in order, what it is offered next, and what a reader
// then makes of all of it.
type vector struct {
	Desc       string             `json:"desc"`
	Registrars []poclog.Registrar `json:"registrars"`     // of the log
	Pins       []poclog.Registrar `json:"pins,omitempty"` // of the reader, where they are others
	Stated     []stated           `json:"stated"`
	Offered    string             `json:"offered,omitempty"` // an envelope
	Admit      string             `json:"admit,omitempty"`   // "ok", or the check that refuses what is offered
	Now        time.Time          `json:"now"`
	Size       uint64             `json:"size"`            // of the tree that the reader knows
	Proof      *time.Time         `json:"proof,omitempty"` // t2 of a proof; left out: unknown
	Level      uint32             `json:"level"`
	Vouches    bool               `json:"vouches"` // a pinned registrar vouches at that level for the proof
	Standing   json.RawMessage    `json:"standing"`
}

type stated struct {
	Number   uint64    `json:"number"`
	Logged   time.Time `json:"logged"`
	Envelope string    `json:"envelope"`
}

func (v *vector) pins() []poclog.Registrar {
	if v.Pins != nil {
		return v.Pins
	}
	return v.Registrars
}

// run returns what admission and a reader say.
func (v *vector) run(t *testing.T) (admit string, vouches bool, standing []byte) {
	t.Helper()
	logs, pins := mustNew(t, v.Registrars), mustNew(t, v.pins())
	var list []registry.Stated
	h := new(registry.History)
	for _, s := range v.Stated {
		e := mustParse(t, s.Envelope)
		list = append(list, registry.Stated{Number: s.Number, Logged: s.Logged, Envelope: e})
		if _, err := h.Add(&e.Statement, s.Logged); err != nil {
			t.Fatal(err)
		}
	}
	if v.Offered != "" {
		admit = "ok"
		if _, err := logs.Admit(mustParse(t, v.Offered), origin, h); err != nil {
			check, _ := verify.CheckOf(err)
			admit = string(check)
		}
	}
	var t2 time.Time
	if v.Proof != nil {
		t2 = *v.Proof
	}
	all := pins.Of(list, origin, chip, v.Size, v.Now)
	for i := range all {
		vouches = vouches || all[i].Vouches(v.Level, t2, v.Now) == nil
	}
	standing, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return admit, vouches, standing
}

func mustNew(t *testing.T, list []poclog.Registrar) *registry.Registrars {
	t.Helper()
	r, err := registry.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustParse(t *testing.T, file string) *poclog.StatementEnvelope {
	t.Helper()
	v, err := poclog.ParseStatementEnvelope([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	again, err := v.Marshal()
	if err != nil || string(again) != file {
		t.Fatalf("written again: %s, %v", again, err)
	}
	return v
}

func fileOf(t *testing.T, v *poclog.StatementEnvelope) string {
	t.Helper()
	b, err := v.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A situation is a vector as a test writes it.
type situation struct {
	desc    string
	log     []*poclog.StatementEnvelope // logged on day 1, 2, …
	last    [2]int                      // other than {}: the one statement is logged, and read, so many seconds before the year 9999 ends
	offered *poclog.StatementEnvelope
	admit   string // of what is offered
	pins    []poclog.Registrar
	now     int
	size    uint64 // 0: all
	proof   int    // day of t2; 0: unknown
	level   uint32 // 0: 1
	vouches bool
}

func situations() map[string]situation {
	good := seal(endorse(1), eight...)
	wrong := seal(endorse(1), eight...)
	wrong.Signatures[3].Sig = slices.Clone(wrong.Signatures[3].Sig)
	wrong.Signatures[3].Sig[5] ^= 1
	twice := seal(endorse(1), 0, 1, 2, 3, 4, 5, 6, 6)
	frozen := seal(freeze(2), 0, 1)
	other := seal(poclog.Statement{Type: poclog.Endorse, Registrar: "stranger", Serial: 1, Level: 3, Method: "none", Label: "best machine", From: day(0), Until: day(900)}, 20, 21, 22)
	elsewhere := endorse(1)
	elsewhere.Origin = "other.test/2026"
	type list = []*poclog.StatementEnvelope
	const fortnight = 14 * 86400
	return map[string]situation{
		"endorsed":                  {desc: "eight of twelve members endorse", offered: good, admit: "ok", log: nil, now: 10},
		"endorsement-counts":        {desc: "the reader pins the same members", log: list{good}, now: 10, proof: 9, vouches: true},
		"level-above":               {desc: "endorsed at level 1, asked for 2", log: list{good}, now: 10, proof: 9, level: 2},
		"expired":                   {desc: "an endorsement that ended before the proof", log: list{good}, now: 400, proof: 380},
		"expired-since":             {desc: "an endorsement that ended after the proof", log: list{good}, now: 400, proof: 300, vouches: true},
		"renewed":                   {desc: "a second endorsement follows the first", log: list{good}, offered: seal(endorse(2), eight...), admit: "ok", now: 10, vouches: true},
		"seven-sign":                {desc: "one signature too few", offered: seal(endorse(2), eight[:7]...), admit: "statement.signature", log: list{seal(endorse(1), eight[:7]...)}, now: 10, proof: 9},
		"one-member-twice":          {desc: "seven members, of whom one signs twice", offered: twice, admit: "statement.signature", log: list{twice}, now: 10, proof: 9},
		"signature-wrong":           {desc: "a signature is altered", offered: wrong, admit: "statement.signature", log: list{wrong}, now: 10, proof: 9},
		"signed-by-a-stranger":      {desc: "eight members and one who is none", offered: seal(endorse(1), 0, 1, 2, 3, 4, 5, 6, 7, 20), admit: "statement.signature", now: 10},
		"keys-of-who-left":          {desc: "the reader no longer pins four of the eight who signed", log: list{good}, pins: []poclog.Registrar{registrar("alliance", 4, 12)}, now: 10, proof: 9},
		"not-pinned":                {desc: "a registrar of the log's that the reader never pinned", log: list{good}, pins: []poclog.Registrar{registrar("house", 30, 3)}, now: 10, proof: 9},
		"not-listed":                {desc: "a registrar that the log does not list", offered: other, admit: "statement.registrar", log: list{other}, now: 10, proof: 9},
		"another-log":               {desc: "a statement for another log", offered: seal(elsewhere, eight...), admit: "statement.origin", log: list{seal(elsewhere, eight...)}, now: 10, proof: 9},
		"serial-used":               {desc: "a serial that was used", log: list{good}, offered: seal(revoke(1, 3), eight...), admit: "statement.serial", now: 10, proof: 9, vouches: true},
		"serial-far-ahead":          {desc: "two members use up the serials", log: list{good}, offered: seal(freeze(4294967295), 0, 1), admit: "statement.serial", now: 10, proof: 9, vouches: true},
		"endorsement-again":         {desc: "the old endorsement is sent again after its revocation", log: list{good, seal(revoke(2, 5), eight...), good}, offered: good, admit: "statement.serial", now: 10, proof: 9},
		"thaw-again":                {desc: "an old thaw is sent again in a later freeze", log: list{good, frozen, seal(thaw(3), eight...), seal(freeze(4), 0, 1), seal(thaw(3), eight...)}, offered: seal(thaw(3), eight...), admit: "statement.serial", now: 10, proof: 9},
		"revoked-before":            {desc: "a proof that was made before the date of the revocation", log: list{good, seal(revoke(2, 5), eight...)}, now: 10, proof: 4, vouches: true},
		"revoked-after":             {desc: "a proof that was made after it", log: list{good, seal(revoke(2, 5), eight...)}, now: 10, proof: 6},
		"revoked-at":                {desc: "a proof that was made at that time", log: list{good, seal(revoke(2, 5), eight...)}, now: 10, proof: 5},
		"revoked-time-unknown":      {desc: "a proof of unknown time", log: list{good, seal(revoke(2, 5), eight...)}, now: 10},
		"revocation-cut-off":        {desc: "a reader of a smaller tree does not see the revocation: its age tells", log: list{good, seal(revoke(2, 5), eight...)}, size: 101, now: 10, proof: 6, vouches: true},
		"revoked-nothing":           {desc: "a revocation of what is not there", offered: seal(revoke(1, 3), eight...), admit: "statement.subject", now: 10},
		"revoked-twice":             {desc: "a revocation of what was revoked", log: list{good, seal(revoke(2, 5), eight...)}, offered: seal(revoke(3, 5), eight...), admit: "statement.subject", now: 10},
		"endorsed-anew":             {desc: "endorsed again after a revocation", log: list{good, seal(revoke(2, 5), eight...), seal(endorse(3), eight...)}, now: 10, proof: 9, vouches: true},
		"frozen":                    {desc: "two members freeze", log: list{good}, offered: frozen, admit: "ok", now: 10, proof: 9, vouches: true},
		"frozen-now":                {desc: "within 14 days of a freeze", log: list{good, frozen}, now: 10, proof: 1},
		"frozen-ended":              {desc: "after 14 days", log: list{good, frozen}, now: 16, proof: 15, vouches: true},
		"freeze-renewed":            {desc: "two members freeze again after 14 days", log: list{good, frozen}, offered: seal(freeze(3), 2, 3), admit: "statement.signature", now: 20, vouches: true},
		"freeze-renewed-and-logged": {desc: "a log that admits this convinces no reader", log: list{good, frozen, seal(freeze(3), 2, 3)}, now: 16, proof: 15, vouches: true},
		"freeze-renewed-by-all":     {desc: "eight members freeze again", log: list{good, frozen}, offered: seal(freeze(3), eight...), admit: "ok", now: 20, proof: 19, vouches: true},
		"thawed":                    {desc: "eight members end the freeze", log: list{good, frozen, seal(thaw(3), eight...)}, now: 5, proof: 4, vouches: true},
		"thaw-by-two":               {desc: "the two who froze cannot end it", log: list{good, frozen}, offered: seal(thaw(3), 0, 1), admit: "statement.signature", now: 5},
		"thaw-of-nothing":           {desc: "a thaw without a freeze", log: list{good}, offered: seal(thaw(2), eight...), admit: "statement.subject", now: 5, proof: 4, vouches: true},
		"frozen-at-the-end":         {desc: "a freeze that a log dates to the last second of the year 9999, an hour before", log: list{seal(freeze(1), 0, 1)}, last: [2]int{0, 3600}},
		"frozen-past-the-end":       {desc: "a freeze that goes on after the year 9999 is in force in its last second, and says no later time", log: list{seal(freeze(1), 0, 1)}, last: [2]int{fortnight - 1, 0}},
		"frozen-to-the-end":         {desc: "a freeze of which the year 9999 has the last second, a second before", log: list{seal(freeze(1), 0, 1)}, last: [2]int{fortnight, 1}},
		"frozen-until-the-end":      {desc: "a freeze has ended in that second", log: list{seal(freeze(1), 0, 1)}, last: [2]int{fortnight, 0}},
		"two-disagree":              {desc: "one registrar revoked, another endorses: each has its own standing", log: list{good, seal(revoke(2, 5), eight...), other}, pins: []poclog.Registrar{twelve, registrar("stranger", 20, 3)}, now: 10, proof: 9, vouches: true},
	}
}

func makeVectors(t *testing.T) map[string]vector {
	t.Helper()
	out := make(map[string]vector)
	for name, s := range situations() {
		v := vector{Desc: s.desc, Registrars: []poclog.Registrar{twelve}, Pins: s.pins, Admit: s.admit, Now: day(s.now), Level: max(s.level, 1), Vouches: s.vouches, Size: 1000, Stated: []stated{}}
		if s.size > 0 {
			v.Size = s.size
		}
		if s.proof > 0 {
			at := day(s.proof)
			v.Proof = &at
		}
		for i, e := range s.log {
			v.Stated = append(v.Stated, stated{Number: 100 + uint64(i), Logged: day(1 + i), Envelope: fileOf(t, e)})
		}
		if s.last != [2]int{} {
			v.Stated[0].Logged, v.Now = beforeEnd(s.last[0]), beforeEnd(s.last[1])
		}
		if s.offered != nil {
			v.Offered = fileOf(t, s.offered)
		}
		_, _, v.Standing = v.run(t)
		out[name] = v
	}
	return out
}

// TestVectors holds admission and standing to the situations of the table, which are the attacks on
// a registry and what honest registrars do.
func TestVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, dir, makeVectors(t))
	}
	seen := 0
	vectors.Each(t, dir, func(t *testing.T, v vector) {
		seen++
		admit, vouches, standing := v.run(t)
		var want, have any
		if json.Unmarshal(v.Standing, &want) != nil || json.Unmarshal(standing, &have) != nil || fmt.Sprint(want) != fmt.Sprint(have) {
			t.Errorf("standing %s: want %s", standing, v.Standing)
		}
		if admit != v.Admit || vouches != v.Vouches {
			t.Errorf("%s: admission says %q, the reader %v: want %q, %v", v.Desc, admit, vouches, v.Admit, v.Vouches)
		}
	})
	if seen != len(situations()) {
		t.Errorf("%d vectors: want %d", seen, len(situations()))
	}
}

func TestMissingSignaturesAreCounted(t *testing.T) {
	_, err := mustNew(t, []poclog.Registrar{twelve}).Admit(seal(endorse(1), 0, 1, 2), origin, new(registry.History))
	if err == nil || !strings.Contains(err.Error(), "5 signatures are missing, of 8") {
		t.Error(err)
	}
}

func TestAMoveExplainsOnlyWhatWasAnnounced(t *testing.T) {
	r := mustNew(t, []poclog.Registrar{twelve})
	explain := func(s poclog.Statement, logged, moved, last int, target *poclog.StatedPlace) bool {
		list := []registry.Stated{{Number: 1, Logged: day(1), Bounded: true, Envelope: seal(endorse(1), eight...)}, {Number: 2, Logged: day(logged), Bounded: true, Envelope: seal(s, eight...)}}
		all := r.Of(list, origin, chip, 10, day(30))
		return all[0].Explains(*here, *target, day(moved), day(last)) != nil
	}
	if !explain(move(2, 10, 12), 5, 11, 9, there) {
		t.Error("a move that was announced, and made in its window, is not explained")
	}
	if !explain(move(2, 10, 12), 5, 10, 10, there) {
		t.Error("a move at the begin of its window is not explained")
	}
	for desc, got := range map[string]bool{
		"before its window":              explain(move(2, 10, 12), 5, 9, 8, there),
		"at the end of its window":       explain(move(2, 10, 12), 5, 12, 9, there),
		"after its window":               explain(move(2, 10, 12), 5, 13, 9, there),
		"announced within its window":    explain(move(2, 10, 12), 11, 11, 9, there),
		"announced after the move":       explain(move(2, 10, 12), 13, 11, 9, there),
		"another place":                  explain(move(2, 10, 12), 5, 11, 9, here),
		"a later proof at the old place": explain(move(2, 10, 12), 5, 11, 11, there),
	} {
		if got {
			t.Errorf("a clone is explained away: %s", desc)
		}
	}
	elsewhere := move(2, 10, 12)
	elsewhere.Source = there
	if explain(elsewhere, 5, 11, 9, there) {
		t.Error("a move from another place explains")
	}
	list := []registry.Stated{{Number: 1, Logged: day(5), Bounded: true, Envelope: seal(move(1, 10, 12), eight...)}}
	if all := r.Of(list, origin, chip, 10, day(30)); all[0].Explains(*here, *there, day(11), day(9)) != nil {
		t.Error("a registrar that does not endorse the machine explains its move")
	}
}

func TestRegistrarsAreRefused(t *testing.T) {
	change := func(f func(*poclog.Registrar)) []poclog.Registrar {
		r := registrar("alliance", 0, 3)
		f(&r)
		return []poclog.Registrar{r}
	}
	for desc, list := range map[string][]poclog.Registrar{
		"no name":             change(func(r *poclog.Registrar) { r.Name = "" }),
		"one name twice":      {registrar("a", 0, 3), registrar("a", 3, 3)},
		"one key twice":       change(func(r *poclog.Registrar) { r.Keys[1] = r.Keys[0] }),
		"no key":              change(func(r *poclog.Registrar) { r.Keys = nil }),
		"a key that is none":  change(func(r *poclog.Registrar) { r.Keys[0] = "x" }),
		"threshold 0":         change(func(r *poclog.Registrar) { r.Thresholds.Revoke = 0 }),
		"more than the keys":  change(func(r *poclog.Registrar) { r.Thresholds.Freeze = 4 }),
		"no move's threshold": change(func(r *poclog.Registrar) { r.Thresholds.Move = 0 }),
	} {
		if _, err := registry.New(list); err == nil {
			t.Errorf("%s is taken", desc)
		}
	}
}

func fleet(t testing.TB, n int) (*registry.Fleet, []registry.Machine) {
	t.Helper()
	var list []registry.Machine
	for i := range n {
		sum := poclog.Sum(fmt.Appendf(nil, "machine %d", i))
		list = append(list, registry.Machine{Identity: poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%x", sum[:16])), Salt: poclog.Sum(fmt.Appendf(nil, "salt %d", i))})
	}
	f, err := registry.NewFleet(list)
	if err != nil {
		t.Fatal(err)
	}
	return f, list
}

func commitment(f *registry.Fleet, serial uint32, n int) poclog.Statement {
	return poclog.Statement{Type: poclog.Commit, Serial: serial, Level: 2, Root: f.Root(), Count: uint32(n), From: day(0), Until: day(100)}
}

func TestAFleetIsCommittedAndOneMachineOpened(t *testing.T) {
	const n = 10000
	f, list := fleet(t, n)
	r := mustNew(t, []poclog.Registrar{twelve})
	logged := []registry.Stated{{Number: 5, Envelope: seal(commitment(f, 1, n), eight...)}}
	committed := r.Commitment(logged, origin, "alliance", 10)
	o, err := f.Open(list[4711].Identity)
	if err != nil {
		t.Fatal(err)
	}
	file, err := o.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if o, err = poclog.ParseOpening(file); err != nil {
		t.Fatal(err)
	}
	if err := registry.CheckOpened(o, committed); err != nil {
		t.Fatal(err)
	}
	smaller, _ := fleet(t, 100)
	logged = append(logged, registry.Stated{Number: 6, Envelope: seal(commitment(smaller, 2, 100), eight...)})
	newest := r.Commitment(logged, origin, "alliance", 10)
	if err := registry.CheckOpened(o, newest); err == nil {
		t.Error("a machine that the newest commitment left out still counts")
	}
	for desc, change := range map[string]func(*poclog.Opening){
		"another machine": func(o *poclog.Opening) { o.Identity = chip },
		"another salt":    func(o *poclog.Opening) { o.Salt[0] ^= 1 },
		"another number":  func(o *poclog.Opening) { o.Number ^= 1 },
		"a hash less":     func(o *poclog.Opening) { o.Hashes = o.Hashes[1:] },
		"another hash":    func(o *poclog.Opening) { o.Hashes = slices.Clone(o.Hashes); o.Hashes[2][0] ^= 1 },
		"other root":      func(o *poclog.Opening) { o.Root[0] ^= 1 },
	} {
		bad := *o
		change(&bad)
		if registry.CheckOpened(&bad, committed) == nil {
			t.Errorf("an opening with %s passes", desc)
		}
	}
	if registry.CheckOpened(o, nil) == nil || registry.CheckOpened(o, &poclog.Statement{Type: poclog.Endorse, Root: o.Root, Count: n}) == nil {
		t.Error("an opening of no commitment passes")
	}
}

func TestSmallFleetsOpenWhole(t *testing.T) {
	for n := 1; n <= 17; n++ {
		f, list := fleet(t, n)
		s := commitment(f, 1, n)
		for _, m := range list {
			if o, err := f.Open(m.Identity); err != nil || registry.CheckOpened(o, &s) != nil {
				t.Errorf("machine %s of %d: %v", m.Identity, n, err)
			}
		}
	}
	if _, err := registry.NewFleet(nil); err == nil {
		t.Error("a fleet of none")
	}
	_, list := fleet(t, 3)
	if _, err := registry.NewFleet(append(list, list[0])); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a fleet with a machine twice: %v", err)
	}
}

func TestOneEndorsementOfTwoIsRevoked(t *testing.T) {
	r := mustNew(t, []poclog.Registrar{twelve})
	second := endorse(2)
	second.From = day(20)
	first := seal(endorse(1), eight...)
	file, err := first.Statement.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	of := revoke(3, 1)
	digest := poclog.Sum(file)
	of.Of = &digest
	var h registry.History
	for _, s := range []poclog.Statement{first.Statement, seal(second, eight...).Statement} {
		if _, err := h.Add(&s, day(1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Admit(seal(of, eight...), origin, &h); err != nil {
		t.Error(err)
	}
	unknown, none := of, poclog.Digest{1}
	unknown.Of = &none
	if _, err := r.Admit(seal(unknown, eight...), origin, &h); err == nil {
		t.Error("a revocation of a statement that is not there is taken")
	}
	list := []registry.Stated{{Number: 3, Envelope: seal(of, eight...)}, {Number: 1, Envelope: first}, {Number: 2, Envelope: seal(second, eight...)}}
	s := r.Of(list, origin, chip, 10, day(30))[0]
	if s.Vouches(1, day(10), day(30)) == nil {
		t.Error("the revoked endorsement counts")
	}
	if err := s.Vouches(1, day(25), day(30)); err != nil {
		t.Error("the other one does not count:", err)
	}
}

func TestStatementsOfOthersCountForNothing(t *testing.T) {
	twin := twelve
	twin.Name = "twin"
	r := mustNew(t, []poclog.Registrar{twelve, twin})
	about := endorse(1)
	about.Subject = "intel:tdx:ppid:" + poclog.Identity(strings.Repeat("2b", 16))
	for desc, s := range map[string]poclog.Statement{"another subject": about, "another registrar": {Type: poclog.Endorse, Registrar: "twin", Serial: 1, Level: 1, Method: "visit", Label: "x", From: day(0), Until: day(365)}} {
		for _, got := range r.Of([]registry.Stated{{Number: 1, Envelope: seal(s, eight...)}}, origin, chip, 10, day(5)) {
			if got.Registrar == "alliance" {
				t.Errorf("a statement of %s counts", desc)
			}
		}
	}
}

func TestEndorsementsBeginAndSerialsAreBounded(t *testing.T) {
	r := mustNew(t, []poclog.Registrar{twelve})
	late := endorse(1)
	late.From = day(10)
	s := r.Of([]registry.Stated{{Number: 1, Envelope: seal(late, eight...)}}, origin, chip, 10, day(20))[0]
	if s.Vouches(1, day(9), day(20)) == nil || s.Vouches(1, day(10), day(20)) != nil {
		t.Error("an endorsement counts from another time on than it says")
	}
	if _, err := r.Admit(seal(endorse(registry.MaxGap+1), eight...), origin, new(registry.History)); err != nil {
		t.Error(err)
	}
	if _, err := r.Admit(seal(endorse(registry.MaxGap+2), eight...), origin, new(registry.History)); err == nil {
		t.Error("a serial too far ahead is taken")
	}
}

func TestErrorsNameTheSubject(t *testing.T) {
	r := mustNew(t, []poclog.Registrar{twelve})
	f, _ := fleet(t, 3)
	for want, s := range map[string]poclog.Statement{"on commitments": commitment(f, 1, 3), "on " + string(chip): endorse(1)} {
		v := seal(s, eight...)
		var h registry.History
		if _, err := h.Add(&v.Statement, day(1)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Admit(v, origin, &h); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}

func TestThresholdsReachFromOneToAll(t *testing.T) {
	for _, n := range []int{1, 3} {
		one := registrar("house", 30, 3)
		one.Thresholds = poclog.Thresholds{Endorse: n, Revoke: n, Move: n, Freeze: n, Commit: n}
		mustNew(t, []poclog.Registrar{one})
	}
}

// An entry says what its envelope, the policy in force and the order give: else it is the log's
// invention, be it a policy that was not in force, signers who did not sign, or a time before the
// last.
func TestEntriesOfStatementsSayWhatTheirEnvelopesGive(t *testing.T) {
	r := mustNew(t, []poclog.Registrar{twelve})
	inForce := poclog.BlobOf([]byte("the policy in force"))
	h := new(registry.History)
	first := endorse(1)
	first.Origin, first.Registrar, first.Subject = origin, "alliance", chip
	if _, err := h.Add(&first, day(1)); err != nil {
		t.Fatal(err)
	}
	v := seal(endorse(2), eight...)
	signers, err := r.Admit(v, origin, h)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(e *poclog.StatementEntry)
		check  verify.Check
		say    string
	}{
		"as it is":                      {change: func(*poclog.StatementEntry) {}},
		"at the time of the one before": {change: func(e *poclog.StatementEntry) { e.Time = day(1) }},
		"before the one before":         {func(e *poclog.StatementEntry) { e.Time = day(1).Add(-time.Second) }, registry.CheckStated, "the statement before it"},
		"by another policy":             {func(e *poclog.StatementEntry) { e.Policy = poclog.BlobOf([]byte("another")) }, registry.CheckStated, "was in force"},
		"without a signer":              {func(e *poclog.StatementEntry) { e.Signers = e.Signers[1:] }, registry.CheckStated, "other signers"},
		"signed by too few":             {func(e *poclog.StatementEntry) { e.Envelope = *seal(endorse(2), 0, 1) }, registry.CheckSignature, "signatures are missing"},
	} {
		e := &poclog.StatementEntry{Envelope: *v, Signers: slices.Clone(signers), Policy: inForce, Time: day(2)}
		c.change(e)
		err := r.CheckEntry(e, inForce, origin, h)
		if got, _ := verify.CheckOf(err); got != c.check || (err == nil) != (c.check == "") || err != nil && !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v: want %q, %q", name, err, c.check, c.say)
		}
	}
}
