package profile

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/verify"
)

// endorsedWorld is one whose policy asks registry and owner, and who vouch for the honest machine's
// evidence.
func endorsedWorld(p poclog.Profile) (*world, *poclog.Bundle) {
	w := attack.NewWorldOf(p)
	w.AskAlliance()
	w.AskOwner(w.Owner())
	b := w.Honest()
	w.Bring(endorser.TokenItem(w.Token(b)), w.Owner().Endorse(w.Owner().Statement(platformOf(w).PIID[:], labNow.AddDate(0, -1, 0))))
	return w, b
}

func platformOf(w *world) *chip.Platform {
	if w.Machine != nil {
		return w.Machine.Chip
	}
	return w.VM.Platform()
}

func TestWhatOthersVouchForIsInTheEntry(t *testing.T) {
	for _, p := range []poclog.Profile{poclog.GCETDXvTPM, poclog.BareMetalTDXTPM} {
		w, b := endorsedWorld(p)
		a, err := Appraise(judging(t, w, b))
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		e := &a.Entry
		for _, c := range []verify.Check{verify.EndorseChip, verify.EndorseOwner} {
			if !slices.Contains(e.Checks, string(c)) || a.Notes[c] == "" {
				t.Errorf("%s: %s is not among %v, or has no note", p, c, e.Checks)
			}
		}
		ppid, _ := poclog.HexIdentity(poclog.IntelPPID, platformOf(w).PPID[:])
		piid, _ := poclog.HexIdentity(poclog.IntelPIID, platformOf(w).PIID[:])
		want := []poclog.Endorsement{
			{Kind: poclog.AllianceToken, By: w.Alliance().Key(), Of: ppid, Says: attack.Label, From: labNow.Add(-time.Minute)},
			{Kind: poclog.OwnerEndorsement, By: w.Owner().Policy().SHA256, Of: piid, Says: attack.OwnerName, From: labNow.AddDate(0, -1, 0), Until: labNow.AddDate(1, -1, 0)},
		}
		if !slices.Equal(e.Endorsements, want) {
			t.Errorf("%s: %+v, want %+v", p, e.Endorsements, want)
		}
		leaf, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := poclog.ParseEntry(leaf); err != nil || !slices.Equal(back.Endorsements, want) {
			t.Errorf("%s: read back as %+v (%v)", p, back.Endorsements, err)
		}
		if e.Place.Provider.Value == attack.OwnerName || slices.Contains(e.Place.Provider.By, string(poclog.OwnerEndorsement)) {
			t.Errorf("%s: an endorsement is taken for a place: %+v", p, e.Place)
		}
	}
}

// The alliance's servers of 2026 sign no time, over the quote with the padding of configfs. A fresh
// quote bounds the time; a historical one does not.
func TestTokenWithoutATimeNeedsAFreshQuote(t *testing.T) {
	w := attack.NewWorldOf(poclog.GCETDXvTPM)
	w.AskAlliance()
	b := w.Honest()
	padded := append(slices.Clone(teeQuote(b)), make([]byte, 8000-len(teeQuote(b)))...)
	item := endorser.TokenItem(w.Alliance().BareToken(padded, platformOf(w).PPID[:], attack.Label))
	w.Bring(item)
	_, err := Appraise(judging(t, w, b))
	wantCheck(t, "without the size of the quote that was shown", err, verify.EndorseChip)

	item.Shown = 8000
	w.Bring(item)
	a, err := Appraise(judging(t, w, b))
	if err != nil {
		t.Fatal(err)
	}
	if x := a.Entry.Endorsements; len(x) != 1 || !x[0].From.IsZero() || x[0].Says != attack.Label {
		t.Errorf("%+v", x)
	}
	leaf, err := a.Entry.Marshal()
	if err != nil || strings.Contains(string(leaf), `"from"`) {
		t.Errorf("%v: %s", err, leaf)
	}

	w.Policy.Admit = append(w.Policy.Admit[:0:0], poclog.Admission{Profile: poclog.GCETDXvTPM, Level: poclog.LevelChip, Historical: true})
	b.Set(poclog.ItemChallenge, nil)
	_, err = Appraise(judging(t, w, b))
	if wantCheck(t, "on a historical quote", err, verify.EndorseChip); !strings.Contains(err.Error(), "any time") {
		t.Error(err)
	}
}

// With what is remembered an endorsement is as without, and it ends when it ends.
func TestKnownEndorsementEndsToo(t *testing.T) {
	w, b := endorsedWorld(poclog.GCETDXvTPM)
	w.Collateral = without(w.Collateral, poclog.OwnerEndorsement)
	s := w.Owner().Statement(platformOf(w).PIID[:], labNow.AddDate(0, -1, 0))
	s.Until = labNow.Add(2 * time.Second)
	w.Bring(w.Owner().Endorse(s))
	in := judging(t, w, b)
	k := NewKnown()
	for i, at := range []time.Time{labNow, labNow.Add(time.Second), labNow.Add(3 * time.Second)} {
		in.Appraised = at
		a, err := k.Appraise(in)
		if i == 2 {
			wantCheck(t, "after its end", err, verify.EndorseOwner)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		alone, err := Appraise(in)
		if err != nil || !slices.Equal(alone.Entry.Endorsements, a.Entry.Endorsements) {
			t.Errorf("%v: %+v, %+v", err, alone.Entry.Endorsements, a.Entry.Endorsements)
		}
	}
}

// Who does not ask for endorsements does not judge them, and the entry does not speak of them; who
// asks and gets none says so.
func TestEndorsementsAreThePolicysToAskFor(t *testing.T) {
	w, b := endorsedWorld(poclog.GCETDXvTPM)
	asking := w.Policy
	plain := *asking
	plain.Alliances = nil
	plain.Roots = slices.DeleteFunc(slices.Clone(asking.Roots), func(r poclog.Root) bool { return r.Use == poclog.RootPlatformOwner })
	w.Policy = &plain
	w.Bring(endorser.TokenItem([]byte("rubbish")))
	a, err := Appraise(judging(t, w, b))
	if err != nil || len(a.Entry.Endorsements) != 0 {
		t.Fatalf("a policy that asks nobody: %v", err)
	}
	for _, id := range slices.Concat(a.Entry.Checks, a.Entry.Absent) {
		if strings.HasPrefix(id, "endorse.") {
			t.Errorf("a policy that asks nobody: the entry speaks of %s", id)
		}
	}
	w.Policy = asking
	w.Collateral = without(without(w.Collateral, poclog.AllianceToken), poclog.OwnerEndorsement)
	a, err = Appraise(judging(t, w, b))
	if err != nil || a.Entry.Level != poclog.LevelBound || !slices.Equal(a.Entry.Absent, []string{"endorse.chip", "endorse.owner"}) {
		t.Errorf("nobody vouches: %v, absent %v", err, a.Entry.Absent)
	}
}

// Each attack is refused for its own reason: no rule within a check stands in for another.
func TestEndorsementsAreRefusedForTheirOwnReasons(t *testing.T) {
	reasons := map[string]string{
		"token-forged": "no signature by a key", "token-relabelled": "no signature by a key", "token-unsigned": "signature of 0 bytes",
		"token-of-another-quote": "on a quote with digest", "token-of-another-chip": "on machine", "token-old": "judged at", "token-of-the-future": "judged at",
		"owner-uncertified": "not signed by", "owner-forged": "not by the certified key", "owner-other-platform": "for platform instance",
		"owner-expired": "it is valid from", "owner-lie": "the policy lists its root for",
	}
	met := make(map[string]bool)
	for _, a := range attack.All() {
		why, ok := reasons[a.Name]
		if !ok {
			continue
		}
		w := a.NewWorld()
		_, err := Appraise(judging(t, w, a.Stage(w)))
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v: want %q", a.ID(), err, why)
		}
		met[a.Name] = true
	}
	if len(met) != len(reasons) {
		t.Errorf("%d attacks of %d", len(met), len(reasons))
	}
	// A root of one's own, which bears the owner's name.
	w := newWorld(t)
	w.AskOwner(w.Owner())
	own := endorser.NewOwner("a garage", attack.OwnerName, labNow.AddDate(0, -5, 0))
	w.Bring(own.Endorse(own.Statement(w.VM.Platform().PIID[:], labNow.AddDate(0, -1, 0))))
	_, err := Appraise(judging(t, w, w.Honest()))
	if check, _ := verify.CheckOf(err); check != verify.EndorseOwner || !strings.Contains(err.Error(), "not one that the policy lists") {
		t.Errorf("a root of one's own: %v", err)
	}
}

func TestEndorsementsMustNotContradict(t *testing.T) {
	w, b := endorsedWorld(poclog.GCETDXvTPM)
	piid := platformOf(w).PIID[:]
	with := func(items ...poclog.CollateralItem) Input {
		for i := range items {
			items[i].URL = "https://second.test/" + string(rune('0'+i))
		}
		saved := w.Collateral
		defer func() { w.Collateral = saved }()
		w.Bring(items...)
		return judging(t, w, b)
	}
	_, err := Appraise(with(endorser.TokenItem(w.Alliance().Token(teeQuote(b), platformOf(w).PPID[:], "another label", labNow))))
	wantCheck(t, "two labels of one registry", err, verify.EndorseChip)

	_, err = Appraise(with(endorser.TokenItem([]byte("rubbish"))))
	wantCheck(t, "a good token, and one that is none", err, verify.EndorseChip)

	_, err = Appraise(with(w.Owner().Endorse(w.Owner().Statement(piid, labNow.AddDate(0, -2, 0)))))
	wantCheck(t, "two endorsements of one owner", err, verify.EndorseOwner)

	other := endorser.NewOwner("another owner", "other.lab.test", labStart)
	w.AskOwner(other)
	_, err = Appraise(with(other.Endorse(other.Statement(piid, labNow.AddDate(0, -2, 0)))))
	wantCheck(t, "two owners", err, verify.EndorseOwner)

	second := endorser.NewAlliance("profile test", "another")
	w.Policy.Alliances = append(w.Policy.Alliances, second.Policy())
	slices.SortFunc(w.Policy.Alliances, func(a, b poclog.Alliance) int { return strings.Compare(a.Key, b.Key) })
	a, err := Appraise(with(endorser.TokenItem(second.Token(teeQuote(b), platformOf(w).PPID[:], "another label", labNow))))
	if err != nil || len(a.Entry.Endorsements) != 3 {
		t.Errorf("two registries: %v", err)
	}
}

func teeQuote(b *poclog.Bundle) []byte { return b.Get(poclog.ItemTDXQuote) }

// A root for owners whose name no endorsement can give would speak for whomever it likes, or for
// nobody.
func TestOwnersRootNamesItsOwner(t *testing.T) {
	w := newWorld(t)
	w.AskOwner(endorser.NewOwner("nameless", "", labStart))
	_, err := Appraise(judging(t, w, w.Honest()))
	wantCheck(t, "a root without an owner's name", err, verify.Policy)
}

// A registry's token may be on a SEV-SNP report: its machine is the CHIP_ID.
func TestTokenOnAnSNPReport(t *testing.T) {
	m := amd.NewMaker("endorse test", "Milan", labStart)
	c := m.NewChip("chip", m.DefaultTCB())
	alliance := endorser.NewAlliance("profile test", attack.AllianceName)
	policy := &poclog.Policy{
		V: 1, Realm: poclog.Lab, MaxChallengeAge: 600, Roots: []poclog.Root{{Use: poclog.RootAMDARK, SHA256: poclog.Sum(m.Root()), Name: "ARK"}},
		Admit: []poclog.Admission{{Profile: poclog.SNP, Level: poclog.LevelChip, Historical: true}}, Alliances: []poclog.Alliance{alliance.Policy()},
	}
	k := m.NewCloudKey("a cloud", m.DefaultTCB())
	for _, s := range []struct {
		name          string
		report, certs []byte
		machine       []byte
		refused       bool
	}{
		{"its chip", c.Report(amd.Guest{}, nil), c.Certs(), c.ID[:], false},
		{"another chip", c.Report(amd.Guest{}, nil), c.Certs(), make([]byte, 64), true},
		{"a masked chip", c.Report(amd.Guest{Masked: true}, k), k.Certs(), make([]byte, 64), true},
	} {
		b := new(poclog.Bundle)
		b.Set(poclog.ItemSNPReport, s.report)
		b.Set(poclog.ItemSNPCerts, s.certs)
		w := &world{Policy: policy, Collateral: new(poclog.Collateral).With(endorser.TokenItem(alliance.Token(s.report, s.machine, "rack 8", labNow)))}
		a, err := Appraise(judging(t, w, b))
		if s.refused {
			wantCheck(t, s.name, err, verify.EndorseChip)
			continue
		}
		if err != nil || len(a.Entry.Endorsements) != 1 || a.Entry.Endorsements[0].Of != a.Entry.Chip() || a.Entry.Level != poclog.LevelChip {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}
