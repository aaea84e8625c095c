package disclose_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/publish/disclose"
	"github.com/poclog/poclog/verify/profile"
)

var profiles = []poclog.Profile{poclog.TDX, poclog.SNP, poclog.GCETDXvTPM, poclog.BareMetalTDXTPM, poclog.AzureTDXvTPM, poclog.AzureSNPvTPM}

// unlisted are members of an entry that say nothing of the machine: the judge's own, and what is
// public of manufacturers.
var unlisted = []string{
	"v", "kind", "appraisal", "level", "realm", "checks", "absent", "evidence", "appraised", "by", "endorsed_by", "tcb", "endorsements", "technology", "alg",
}

// text is all that the facts say.
func text(t *testing.T, s *poclog.Submission) string {
	t.Helper()
	list, err := disclose.Of(s)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// walk calls each for every value of an entry's JSON.
func walk(path string, v any, each func(path, value string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			if !slices.Contains(unlisted, name) {
				walk(path+"."+name, x, each)
			}
		}
	case []any:
		for i, x := range v {
			walk(path+"["+strconv.Itoa(i)+"]", x, each)
		}
	default:
		each(path, fmt.Sprint(v))
	}
}

// Whatever an honest bundle's entry names stands in what was shown before it was published.
func TestEverythingInAnEntryIsDisclosed(t *testing.T) {
	for _, p := range profiles {
		t.Run(string(p), func(t *testing.T) {
			w := attack.NewWorldOf(p)
			b := w.Honest()
			file, col, policy, err := w.Files(b)
			if err != nil {
				t.Fatal(err)
			}
			a, err := profile.Appraise(profile.Input{Bundle: file, Collateral: col, Policy: policy, Appraised: attack.Now, Appraisal: poclog.Appraisal})
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := a.Entry.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			var entry map[string]any
			d := json.NewDecoder(strings.NewReader(string(leaf)))
			d.UseNumber()
			if err := d.Decode(&entry); err != nil {
				t.Fatal(err)
			}
			shown, values := text(t, &poclog.Submission{Bundle: file}), 0
			walk("", entry, func(path, value string) {
				if values++; !strings.Contains(shown, value) {
					t.Errorf("%s: %q becomes public and is not shown", path, value)
				}
			})
			if values < 8 || strings.Contains(shown, "cannot be read") {
				t.Errorf("%d values; shown\n%s", values, shown)
			}
		})
	}
}

// submissionOf returns an honest bundle of a world with collateral.
func submissionOf(t *testing.T, w *attack.World, items ...poclog.CollateralItem) *poclog.Submission {
	t.Helper()
	file, err := w.Honest().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	col, err := w.Collateral.With(items...).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &poclog.Submission{Bundle: file, Collateral: col}
}

func TestEndorsementsAndSignersAreDisclosed(t *testing.T) {
	w := attack.NewWorldOf(poclog.GCETDXvTPM)
	alliance := endorser.NewAlliance("disclose", "an alliance")
	owner := endorser.NewOwner("disclose", "owner.example", attack.Now.AddDate(-1, 0, 0))
	token := endorser.TokenItem(alliance.Token([]byte("quote"), make([]byte, 16), "rack 7 of Alice", attack.Now))
	s := submissionOf(t, w, token, owner.Endorse(owner.Statement(make([]byte, 16), attack.Now)))
	s.Judged = attack.Now
	list, err := disclose.Of(s, poclog.Sum([]byte("a key")))
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprint(list)
	for _, want := range []string{
		"rack 7 of Alice", strings.Repeat("00", 16), alliance.Key().String(), "owner.example", "tdx-tcb-info", "signed by key: " + poclog.Sum([]byte("a key")).String(), "judged at: 2026-06-01T12:00:00Z",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown in\n%s", want, shown)
		}
	}
}

// What cannot be read becomes public all the same, and nothing panics.
func TestUnreadableItemsAreDisclosed(t *testing.T) {
	for _, item := range poclog.Items() {
		for _, value := range [][]byte{{0}, []byte(strings.Repeat("x", 2000))} {
			var b poclog.Bundle
			b.Set(item, value)
			file, err := b.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if shown := text(t, &poclog.Submission{Bundle: file}); !strings.Contains(shown, fmt.Sprintf("%s: %d bytes that cannot be read", item, len(value))) {
				t.Errorf("%s: shown\n%s", item, shown)
			}
		}
	}
	if _, err := disclose.Of(&poclog.Submission{Bundle: []byte("no bundle")}); err == nil {
		t.Error("what is no bundle discloses nothing")
	}
	var b poclog.Bundle
	b.Set(poclog.ItemTDXQuote, []byte("x"))
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*poclog.Submission{
		"collateral": {Bundle: file, Collateral: []byte("x")}, "envelope": {Bundle: file, Envelope: []byte("x")},
	} {
		if _, err := disclose.Of(s); err == nil {
			t.Errorf("a malformed %s discloses nothing", name)
		}
	}
}

// A second bundle of the same machine asks for the same consent; another machine, another label and
// another key ask for another.
func TestConsentIsForAMachineAndNotForABundle(t *testing.T) {
	w := attack.NewWorldOf(poclog.GCETDXvTPM)
	digest := func(s *poclog.Submission, keys ...poclog.Digest) poclog.Digest {
		list, err := disclose.Of(s, keys...)
		if err != nil {
			t.Fatal(err)
		}
		return disclose.Digest(list)
	}
	first := submissionOf(t, w)
	again := *w.Challenge
	again.Salt, again.UserData = poclog.Sum([]byte("another salt")), poclog.Sum([]byte("another key of the VM"))
	w.Challenge = &again
	second := submissionOf(t, w)
	if string(first.Bundle) == string(second.Bundle) || digest(first) != digest(second) {
		t.Error("a second bundle of the same machine asks for another consent")
	}
	token := endorser.TokenItem(endorser.NewAlliance("disclose", "an alliance").Token([]byte("quote"), make([]byte, 16), "rack 7", attack.Now))
	for name, d := range map[string]poclog.Digest{
		"a label":         digest(submissionOf(t, w, token)),
		"a key":           digest(first, poclog.Sum(nil)),
		"another machine": digest(submissionOf(t, attack.NewWorldOf(poclog.BareMetalTDXTPM))),
	} {
		if d == digest(first) {
			t.Errorf("%s asks for no other consent", name)
		}
	}
}
